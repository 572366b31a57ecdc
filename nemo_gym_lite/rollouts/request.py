"""Checks everything that a user asked before anything starts: input, prompt, agent names, output."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from nemo_gym_lite.arms.file import in_flight, load_arms
from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.roots import find, locations
from nemo_gym_lite.config.servers import ServerInstance
from nemo_gym_lite.errors import ConfigError
from nemo_gym_lite.prompt import load_prompt_config
from nemo_gym_lite.rollouts.files import OutputFiles
from nemo_gym_lite.rollouts.manifest import flatten, what_decides
from nemo_gym_lite.rollouts.options import CollectOptions
from nemo_gym_lite.rollouts.plan import PlanSettings
from nemo_gym_lite.rollouts.source import InputSummary, check_input, check_params


@dataclass(frozen=True, slots=True)
class Request:
    """A run, checked and ready to start, with the tasks as they were found in the search roots."""

    options: CollectOptions
    input: Path
    summary: InputSummary
    settings: PlanSettings

    @property
    def files(self) -> OutputFiles:
        """The files of the output, or of this machine's part of it."""
        return _files(self.options)

    @property
    def agent_names(self) -> list[str]:
        """The agents that the input needs."""
        return list(self.tasks_by_agent)

    @property
    def tasks_by_agent(self) -> dict[str, int]:
        """Number of input rows that each agent plays."""
        rows: dict[str, int] = {}
        for name, count in self.summary.rows_by_agent.items():
            agent_name = name or self.settings.agent_name or ""
            rows[agent_name] = rows.get(agent_name, 0) + count
        return rows

    @property
    def rollouts(self) -> int:
        """Number of rollouts that the input asks for."""
        repeats = sum(rows * self.settings.repeats_of(name) for name, rows in self.tasks_by_agent.items())
        return repeats * max(1, len(self.settings.arms))

    def asked(self, servers: Sequence[ServerInstance]) -> Json:
        """What decides how rollouts come out with these servers, flat; a later run with another answer is told so."""
        asked = {
            "agent_name": self.options.agent_name,
            "responses_create_params": self.options.responses_create_params,
            "num_repeats_add_seed": self.settings.add_seed,
            "prompt": self.settings.prompt,
            "verify": None if self.options.verify == "inline" else self.options.verify,
            "servers": {server.name: what_decides(server.config) for server in servers},
        }
        read_back: Json = orjson.loads(orjson.dumps(flatten(asked), option=orjson.OPT_NON_STR_KEYS))
        return read_back  # YAML knows keys and numbers that JSON does not; a manifest is compared as it is read


def make_request(options: CollectOptions) -> Request:
    """Check the options against the files that they name.

    Raises:
        ConfigError: A file is missing or malformed, or rows have no agent.
    """
    check_params(options.responses_create_params, "responses_create_params")
    settings = _plan_settings(options)
    parallel = in_flight(options.question_batch_size, options.num_samples_in_parallel, settings)
    options = options.model_copy(update={"num_samples_in_parallel": parallel})
    tasks = _input_path(options)
    _check_output(options)
    return Request(options, tasks, _check(tasks, options, settings), settings)


def _files(options: CollectOptions) -> OutputFiles:
    shard, whole = options.shard, options.output_jsonl_fpath
    return OutputFiles(shard.path(whole) if shard else whole)


def _plan_settings(options: CollectOptions) -> PlanSettings:
    prompt = options.prompt_config
    return PlanSettings(
        agent_name=options.agent_name,
        repeats=options.num_repeats,
        params=options.responses_create_params,
        add_seed=options.num_repeats_add_seed,
        prompt=load_prompt_config(str(prompt)).model_dump(exclude_none=True) if prompt else None,
        shard=options.shard,
        arms=load_arms(options.arms_fpath) if options.arms_fpath else (),
    )


def _input_path(options: CollectOptions) -> Path:
    found = find(options.input_jsonl_fpath)
    if found is None:
        places = "\n".join(f"  {place}" for place in locations(options.input_jsonl_fpath))
        raise ConfigError(f"input_jsonl_fpath: no such file: {options.input_jsonl_fpath}; searched\n{places}")
    if found.resolve() == options.output_jsonl_fpath.resolve():
        raise ConfigError(f"output_jsonl_fpath is the input itself: {found}", "give the rollouts a file of their own")
    if found.resolve() in (file.resolve() for file in _files(options).all()):
        raise ConfigError(
            f"input_jsonl_fpath is a file that this run writes: {found}",
            "give the input of the earlier run: what failed is tried again by itself",
        )
    return found


def _check_output(options: CollectOptions) -> None:
    path = _files(options).rollouts
    if path.suffix != ".jsonl":
        raise ConfigError(
            f"output_jsonl_fpath: {path} does not end in .jsonl", "the names of the other files are made from it"
        )
    if not options.resume_from_cache and not options.overwrite and path.is_file() and path.stat().st_size:
        raise ConfigError(
            f"output_jsonl_fpath: {path} has rollouts already, and resume_from_cache is false",
            "leave resume_from_cache out to finish that run, or delete its files with +overwrite=true",
        )
    if path.is_dir():
        raise ConfigError(f"output_jsonl_fpath: {path} is a folder", "name a file in it")
    for file in _files(options).all():
        if file.exists() and not file.is_file():
            raise ConfigError(
                f"output_jsonl_fpath: {file} is no regular file", "rows are read again; name a file on a disk"
            )


def _check(tasks: Path, options: CollectOptions, settings: PlanSettings) -> InputSummary:
    summary = check_input(tasks, settings, options.limit)
    if None in summary.rows_by_agent and options.agent_name is None:
        raise ConfigError(
            f"rows of {tasks} name no agent, and no agent_name is given",
            "add +agent_name= with the name of an agent of the configuration, for instance gsm8k_simple_agent",
        )
    return summary
