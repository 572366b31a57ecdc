"""Composes the configuration of a command: files, `env.yaml` and the command line become one checked tree.

    config_paths → env.yaml → command line → directives → short forms → ??? → ${...} → servers → ports

What is further right wins. Every check reports all that it finds, and nothing is written anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.addresses import fill_addresses
from nemo_gym_lite.config.blocks import Block, check_references, server_blocks
from nemo_gym_lite.config.checks import check_known, check_missing
from nemo_gym_lite.config.directives import apply_directives, normalise_directives
from nemo_gym_lite.config.files import ENVIRONMENT_FILE, ConfigFiles, listed_paths, read_environment
from nemo_gym_lite.config.interpolation import interpolatable
from nemo_gym_lite.config.merging import merge
from nemo_gym_lite.config.options import OptionsT, canonical, option_names, read_options
from nemo_gym_lite.config.overrides import Override, apply_overrides, parse_overrides
from nemo_gym_lite.config.servers import ServerInstance, server_instances
from nemo_gym_lite.config.short_forms import expand_short_forms
from nemo_gym_lite.config.wording import complaints, did_you_mean
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.errors import ConfigError, NoServerInstancesError


@dataclass(frozen=True, slots=True)
class Composed(Generic[OptionsT]):
    """A command's configuration.

    Attributes:
        tree: Everything, merged and checked; servers have host and port; interpolations can be resolved.
        options: The command's own options.
        servers: The servers that the tree configures, in its order.
        head_server: Where the head server listens.
        config_paths: The files, included ones too, in the order in which they were merged.
    """

    tree: DictConfig
    options: OptionsT
    servers: tuple[ServerInstance, ...]
    head_server: HeadServerConfig
    config_paths: tuple[Path, ...]


def compose(
    argv: Sequence[str], options: type[OptionsT], *, needs_servers: bool = True
) -> Composed[OptionsT]:
    """Compose the configuration of a command line.

    Args:
        argv: Hydra's override tokens, such as `+limit=5` and `+config_paths=[a.yaml]`.
        options: The command's options; their values may come from any source.
        needs_servers: Whether the command has nothing to do without servers.

    Raises:
        ConfigError: Anything is wrong; the class says what, the message where, and the hint what to do.
    """
    names = option_names(options)
    overrides = parse_overrides(argv)
    files, tree = _merged(overrides, names)
    tree = expand_short_forms(apply_directives(normalise_directives(tree)))
    check_missing(tree)
    config = interpolatable(tree)
    head = _head_server(config)
    blocks = server_blocks(config)
    if needs_servers and not blocks:
        raise _no_servers(files)
    check_references(blocks)
    given: Any = OmegaConf.to_container(config, resolve=True)
    read = read_options({key: given[key] for key in names.values() if key in given}, options)
    _complete(config, blocks, head, files)
    return Composed(config, read, server_instances(config), head, tuple(files.paths))


def _merged(overrides: list[Override], names: dict[str, str]) -> tuple[ConfigFiles, Json]:
    """Merge the three sources; `config_paths` is followed, not merged."""
    environment = read_environment()
    paths = [override for override in overrides if override.path == ("config_paths",)]
    files = ConfigFiles()
    for override in paths:  # several of them add up, as NeMo Gym's selectors do
        files.add(listed_paths(override.value, "the command line"), "the command line")
    inherited = listed_paths(environment.pop("config_paths", None), ENVIRONMENT_FILE)
    if not paths:
        files.add(inherited, ENVIRONMENT_FILE)
    rest = [override for override in overrides if override.path != ("config_paths",)]
    layer = canonical(environment, names, ENVIRONMENT_FILE)
    tree = merge(canonical(files.tree, names, "config_paths"), layer)
    check_known(rest, names, tree)
    apply_overrides(tree, _renamed(rest, names), may_set=lambda key: key in names.values())
    return files, tree


def _renamed(overrides: list[Override], names: dict[str, str]) -> list[Override]:
    return [
        Override(one.token, one.kind, (names.get(one.path[0], one.path[0]), *one.path[1:]), one.value)
        for one in overrides
    ]


def _head_server(config: DictConfig) -> HeadServerConfig:
    given: Any = OmegaConf.to_container(config, resolve=True)
    block = given.get("head_server") or {}
    fields = HeadServerConfig.model_fields
    try:
        for key in block:
            if key not in fields:
                raise ConfigError(
                    f"head_server has no key `{key}`", did_you_mean(key, fields, "it has host and port")
                )
        return HeadServerConfig.model_validate({"host": given.get("default_host") or "127.0.0.1", **block})
    except (ValidationError, TypeError) as error:
        lines = (
            complaints(error, "head_server")
            if isinstance(error, ValidationError)
            else [f"head_server: {block!r}"]
        )
        raise ConfigError("\n".join(lines), "write `+head_server.port=11000`") from None


def _no_servers(files: ConfigFiles) -> NoServerInstancesError:
    listed = ", ".join(map(str, files.paths)) or "no file at all"
    return NoServerInstancesError(
        f"nothing to start: no server is configured in {listed}",
        "name the servers' files, for instance +config_paths=[resources_servers/gsm8k/configs/gsm8k.yaml,"
        "responses_api_models/vllm_model/configs/vllm_model.yaml]",
    )


def _complete(config: DictConfig, blocks: list[Block], head: HeadServerConfig, files: ConfigFiles) -> None:
    """Write into the tree what was found out: addresses, the head server, the files that were read."""
    config["config_paths"] = [str(path) for path in files.paths]
    config["head_server"] = head.model_dump(exclude_none=True)
    for block in blocks:
        target = config[block.name][block.server_type][block.implementation]
        for key in ("skip_verification", "skip_verification_reward"):
            if block.server_type == "responses_api_agents" and key in config and key not in block.config:
                target[key] = config[key]
    fill_addresses(config, blocks, head)
