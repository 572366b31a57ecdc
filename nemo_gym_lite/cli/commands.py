"""Every command in one table: its name, what it does in a line, and how `gym` spells it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        name: Its name without `ng_`; also that of its module here, whose `main` runs it.
        spelled: The same as `gym GROUP VERB`.
        purpose: What it does.
    """

    name: str
    spelled: str
    purpose: str

    @property
    def script(self) -> str:
        """What is typed."""
        return f"ng_{self.name}"

    @property
    def module(self) -> str:
        """Where its `main` is."""
        return f"nemo_gym_lite.cli.{self.name}"


COMMANDS = tuple(
    Command(*row)
    for row in (
        ("run", "env start", "start all servers of a configuration and keep them until Ctrl-C"),
        ("status", "env status", "show the servers that run, and whether they answer"),
        ("collect_rollouts", "eval run --no-serve", "play the tasks of a file and score them, every one exactly once"),
        ("e2e_collect_rollouts", "eval run", "prepare an agent's data sets and collect rollouts of them"),
        ("verify_rollouts", "eval reverify", "score stored rollouts, again or for the first time"),
        ("aggregate_rollouts", "eval aggregate", "make one output of the outputs of several machines"),
        ("reward_profile", "eval profile", "say for each task how often and how well it was solved"),
        ("export_rollouts", "dataset export", "write scored rollouts as data to train on"),
        ("estimate_cost", "eval estimate", "say what an input will take in tokens, dollars and time, from a few rows"),
        ("prepare_data", "dataset collate", "check, count and put together the data files of agents"),
        ("make_tasks", "dataset make", "write seeded tasks of a reasoning-gym data set"),
        ("materialize_prompts", "dataset render", "make the prompts of rows that have none, to look at them"),
        ("init_resources_server", "env init", "write a new environment that runs and whose tests pass"),
        ("test", "env test", "run the tests of one environment"),
        ("test_all", "env test --all", "run the tests of all environments, each in a process of its own"),
        ("list", "list environments", "list environments, agents, models or benchmarks"),
        ("validate", "env validate", "check a configuration without starting anything"),
        ("dump_config", "env resolve", "print a configuration, merged and resolved, with secrets masked"),
        ("help", "--help", "print this list"),
        ("version", "--version", "print versions and what they run on"),
    )
)
