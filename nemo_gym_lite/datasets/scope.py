"""Which data files a configuration names for its agents, and where they are; needs neither models nor judges."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.blocks import Block, server_blocks
from nemo_gym_lite.config.files import ENVIRONMENT_FILE, read_environment
from nemo_gym_lite.config.interpolation import interpolatable, resolved
from nemo_gym_lite.config.options import OptionsT, option_names, read_options
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.config.sources import merged_tree
from nemo_gym_lite.config_types import DatasetConfig, GitlabSource, HuggingFaceSource
from nemo_gym_lite.errors import ConfigError

Mode = Literal["train_preparation", "example_validation"]

TYPES: dict[Mode, tuple[str, ...]] = {
    "train_preparation": ("train", "validation", "benchmark"),
    "example_validation": ("example",),
}
"""Types of data files that are in scope, in the order in which they are told."""

_NOT_NEEDED = [f"{role}_{key}" for role in ("policy", "judge") for key in ("base_url", "api_key", "model_name")]
"""Keys that models' files interpolate; a user's real values go first."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data file of an agent.

    Attributes:
        agent_name: The instance that plays its rows.
        config: Its entry in the agent's block.
        path: Where it is.
    """

    agent_name: str
    config: DatasetConfig
    path: Path

    def beside(self, suffix: str) -> Path:
        """The path of a file that is made from this one: `X_metrics.json`, `X_prepare.jsonl`.

        It is as the entry writes it, so that nothing is written into another search root than the working directory.
        """
        written = Path(self.config.jsonl_fpath).expanduser()
        return written.with_name(written.stem + suffix)


def read_blocks(argv: Sequence[str], options: type[OptionsT]) -> tuple[OptionsT, list[Block]]:
    """Read a command's options and the servers of its configuration, whose references may lead nowhere.

    Raises:
        ConfigError: Anything is wrong with the command line or the files.
    """
    names = option_names(options)
    layers: dict[str, Json] = {
        "the defaults": dict.fromkeys(_NOT_NEEDED, "not needed"),
        ENVIRONMENT_FILE: read_environment(),
    }
    tree, _ = merged_tree(argv, layers, names)
    plain = resolved(interpolatable(tree))
    values = {key: plain[key] for key in names.values() if key in plain}
    return read_options(values, options), server_blocks(plain)


def datasets_in_scope(blocks: Iterable[Block], types: Sequence[str], otherwise: str) -> list[Dataset]:
    """The data files of the agents, as far as they are of these types; `otherwise` is the option that chooses others.

    Raises:
        ConfigError: There are none, or some are not there; the message lists all of them.
    """
    known = [
        (block.name, DatasetConfig.model_validate(entry))
        for block in blocks
        if block.server_type == "responses_api_agents"
        for entry in block.config.get("datasets") or ()
    ]
    wanted = [(agent, config) for agent, config in known if config.type in types]
    if not wanted:
        raise _nothing(known, types, otherwise)
    places = [find(config.jsonl_fpath) for _, config in wanted]
    if missing := [config for (_, config), place in zip(wanted, places, strict=True) if place is None]:
        listed = "\n".join(f"  {config.jsonl_fpath} ({config.name}): {_origin(config)}" for config in missing)
        raise ConfigError(f"these data files are not there\n{listed}", "get them, and run the same command again")
    pairs = zip(wanted, places, strict=True)
    return [Dataset(agent, config, place) for (agent, config), place in pairs if place is not None]


def _nothing(known: Sequence[tuple[str, DatasetConfig]], types: Sequence[str], otherwise: str) -> ConfigError:
    if not known:
        return ConfigError(
            "no agent of the configuration has `datasets`", "name the environments' files in config_paths"
        )
    there = "\n".join(f"  {agent}: {config.name} ({config.type})" for agent, config in known)
    return ConfigError(
        f"no data file of the types {', '.join(types)}; there are\n{there}",
        f"perhaps you mean {otherwise.format(known[0][1].type)}",
    )


def _origin(config: DatasetConfig) -> str:
    if config.prepare_script:
        return f"made by {config.prepare_script}"
    if isinstance(config.source, HuggingFaceSource):
        file = f", file {config.source.artifact_fpath}" if config.source.artifact_fpath else ""
        return f"on Hugging Face as the data set {config.source.repo_id}{file}; nothing is downloaded here"
    if isinstance(config.source, GitlabSource):
        return (
            f"in a GitLab registry as {config.source.dataset_name} {config.source.version}; nothing is downloaded here"
        )
    return "the configuration does not say where it comes from"
