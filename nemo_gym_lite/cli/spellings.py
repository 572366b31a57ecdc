"""How `gym GROUP VERB` spells each command, and what its flags stand for."""

from dataclasses import dataclass
from typing import Literal, get_args

from nemo_gym_lite.config.catalogue import Kind
from nemo_gym_lite.config.selectors import SELECTORS


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        names: As typed, the short one first.
        kind: `value` takes one and sets the key to it, `switch` sets it to true, `config` adds a file to
            `config_paths`, `ignored` takes a value that is not needed here.
        key: The option that it stands for; with `{}` in it, the whole token.
    """

    names: tuple[str, ...]
    kind: Literal["value", "switch", "config", "ignored"]
    key: str = ""

    @property
    def name(self) -> str:
        """The long name."""
        return self.names[-1]


@dataclass(frozen=True, slots=True)
class Spelling:
    """One `gym` command.

    Attributes:
        command: The command's name without `ng_`.
        flags: Its own; those of every command come on top.
        word: Option that the words after it give, as in `gym list environments NAME`.
        fixed: Tokens that it always adds.
    """

    command: str
    flags: tuple[Flag, ...] = ()
    word: str = ""
    fixed: tuple[str, ...] = ()


_KINDS: dict[str, Literal["value", "switch", "config", "ignored"]] = {"=": "value", "?": "switch", "!": "ignored"}


def _flags(text: str) -> tuple[Flag, ...]:
    """Read `--name=key` (a value), `--name?key` (a switch), `--name` (a file) and `--name!` (ignored)."""
    found = []
    for word in text.split():
        sign = next((sign for sign in _KINDS if sign in word), " ")
        names, _, key = word.partition(sign)
        found.append(Flag(tuple(names.split("/")), _KINDS.get(sign, "config"), key))
    return tuple(found)


OF_EVERY_COMMAND = _flags("--json?json -v/--verbose?verbose --search-dir!")

_CONFIGS = f"--config {' '.join(SELECTORS)} "
_MODEL = "-m/--model=policy_model_name --model-url=policy_base_url --model-api-key=policy_api_key "
_ENTRYPOINT = "--resources-server=+entrypoint=resources_servers/{} "
_IN_AND_OUT = "-i/--input=input_jsonl_fpath -o/--output=output_jsonl_fpath "
_COLLECT = f"""
    {_CONFIGS} {_MODEL} {_IN_AND_OUT} -a/--agent=agent_name --limit=limit --num-repeats=num_repeats
    --prompt-config=prompt_config --concurrency=num_samples_in_parallel --resume?resume_from_cache
    --temperature=responses_create_params.temperature --top-p=responses_create_params.top_p
    --max-output-tokens=responses_create_params.max_output_tokens --disable-aggregation?disable_aggregation
    """

SPELLINGS: dict[str, Spelling] = {
    "env start": Spelling("run", _flags(_CONFIGS + _MODEL)),
    "env status": Spelling("status"),
    "env resolve": Spelling("dump_config", _flags(_CONFIGS + _MODEL)),
    "env validate": Spelling("validate", _flags(_CONFIGS + _MODEL)),
    "env init": Spelling("init_resources_server", _flags(_ENTRYPOINT)),
    "env test": Spelling("test", _flags(_ENTRYPOINT)),
    "env test --all": Spelling("test_all"),
    "eval run": Spelling("e2e_collect_rollouts", _flags(f"{_COLLECT} --split=split")),
    "eval run --no-serve": Spelling("collect_rollouts", _flags(_COLLECT)),
    "eval aggregate": Spelling(
        "aggregate_rollouts", _flags("--config -i/--input-glob=input_glob -o/--output=output_jsonl_fpath")
    ),
    "eval profile": Spelling(
        "reward_profile", _flags("--inputs=materialized_inputs_jsonl_fpath --rollouts=rollouts_jsonl_fpath")
    ),
    "eval reverify": Spelling(
        "verify_rollouts",
        _flags(
            f"""{_CONFIGS} {_MODEL} --rollouts=input_jsonl_fpath -o/--output=output_jsonl_fpath --inputs!
            --concurrency=concurrency --overwrite?overwrite"""
        ),
    ),
    "eval estimate": Spelling("estimate_cost", _flags(_CONFIGS + _MODEL + _IN_AND_OUT + "-a/--agent=agent_name")),
    "dataset collate": Spelling(
        "prepare_data", _flags(_CONFIGS + "--mode=mode --output-dir=output_dirpath --download?should_download")
    ),
    "dataset make": Spelling("make_tasks", _flags("-o/--output=output_jsonl_fpath --size=size --seed=seed")),
    "dataset export": Spelling(
        "export_rollouts",
        _flags("--rollouts=rollouts_jsonl_fpath -o/--output=output_fpath --format=format --overwrite?overwrite"),
    ),
    "dataset render": Spelling("materialize_prompts", _flags(_IN_AND_OUT + "--prompt-config=prompt_config")),
    "list": Spelling("list"),
    "search": Spelling("list", word="query"),
    "help": Spelling("help"),
    "version": Spelling("version"),
}
for _kind in get_args(Kind):
    SPELLINGS[f"list {_kind}"] = Spelling("list", word="component_name", fixed=(f"+kind={_kind}",))
    SPELLINGS[f"search {_kind}"] = Spelling("list", word="query", fixed=(f"+kind={_kind}",))

NOT_HERE = {
    "env packages": "an environment's packages are its requirements.txt; see docs/guides/dependencies.md",
    "env prefetch": "`ng_run +isolate=true +dry_run=true` builds environments and starts each server once",
    "env publish": "there is no catalogue to publish to",
    "dataset upload": "data sets are uploaded with the tools of where they are kept",
    "dataset download": "data sets are downloaded with the tools of where they are kept",
    "dataset rm": "data sets are deleted with the tools of where they are kept",
    "dataset migrate": "data sets are moved with the tools of where they are kept",
    "eval prepare": "run the benchmark's prepare script, then `gym dataset collate`",
    "eval submit": "jobs are submitted with the scheduler's own tools; see docs/guides/scale.md",
    "dev test": "`make test` runs the tests of this package, `gym env test --all` those of environments",
}
"""Commands of NeMo Gym that have no counterpart, each with what to do instead."""
