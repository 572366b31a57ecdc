"""Composes the configuration of a command: files, `env.yaml` and the command line become one checked tree.

    sources merged → ${...} resolved → servers found → references checked → options read → addresses given

Every check reports all that it finds, and nothing is written anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from omegaconf import DictConfig, OmegaConf

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.addresses import fill_addresses, read_head_server
from nemo_gym_lite.config.blocks import check_references, server_blocks
from nemo_gym_lite.config.files import ENVIRONMENT_FILE, read_environment
from nemo_gym_lite.config.interpolation import interpolatable, literal, resolved
from nemo_gym_lite.config.options import OptionsT, option_names, read_options
from nemo_gym_lite.config.requirements import isolate_all
from nemo_gym_lite.config.servers import ServerInstance, instances_of
from nemo_gym_lite.config.sources import merged_tree
from nemo_gym_lite.config.theirs import USE_INSTALLED_KEY, prefer_nemo_gym
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.errors import NoServerInstancesError

_AGENT_DEFAULTS = ("skip_verification", "skip_verification_reward")
"""Top-level keys that agents take over unless they have their own."""


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
    argv: Sequence[str],
    options: type[OptionsT],
    *,
    needs_servers: bool = True,
    initial: Json | None = None,
    environment: Json | None = None,
) -> Composed[OptionsT]:
    """Compose the configuration of a command line.

    Args:
        argv: Hydra's override tokens, such as `+limit=5` and `+config_paths=[a.yaml]`.
        options: The command's options; their values may come from any source.
        needs_servers: Whether the command has nothing to do without servers.
        initial: A library caller's own settings, above `env.yaml` and below the command line.
        environment: Stands for `env.yaml`; by default the file is read.

    Raises:
        ConfigError: Anything is wrong; the class says what, the message where, and the hint what to do.
    """
    names = option_names(options)
    layers: dict[str, Json] = {
        ENVIRONMENT_FILE: read_environment() if environment is None else environment,
        "the caller": initial or {},
    }
    tree, paths = merged_tree(argv, layers, names)
    plain = resolved(interpolatable(tree))
    head = read_head_server(plain)
    plain |= {"config_paths": [*map(str, paths)], "head_server": head.model_dump(exclude_none=True)}
    blocks = server_blocks(plain)
    if needs_servers and not blocks:
        raise _no_servers(paths)
    check_references(blocks)
    read = read_options({key: plain[key] for key in names.values() if key in plain}, options)
    agent_defaults: Json = {key: plain[key] for key in _AGENT_DEFAULTS if key in plain}
    for block in blocks:
        if block.server_type == "responses_api_agents":
            block.config.update(agent_defaults | block.config)
    if plain.get("observability_enabled"):
        for block in (each for each in blocks if each.server_type != "resources_servers"):
            block.config["placement"] = "far"  # model calls are captured where they are served
    if plain.get("isolate"):
        isolate_all(blocks)
    if plain.get(USE_INSTALLED_KEY):
        prefer_nemo_gym(blocks)
    fill_addresses(plain, blocks, head)
    return Composed(OmegaConf.create(literal(plain)), read, instances_of(blocks), head, tuple(paths))


def _no_servers(paths: Sequence[Path]) -> NoServerInstancesError:
    where = (
        f"no server is configured in {', '.join(map(str, paths))}"
        if paths
        else "no server is configured without config_paths"
    )
    return NoServerInstancesError(
        f"nothing to start: {where}",
        "name the servers' files, for instance +config_paths=[resources_servers/gsm8k/configs/gsm8k.yaml,"
        "responses_api_models/vllm_model/configs/vllm_model.yaml]",
    )
