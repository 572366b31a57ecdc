"""Writes a host and a free port into every server of a tree."""

from collections.abc import Sequence

from omegaconf import DictConfig

from nemo_gym_lite.config.blocks import Block
from nemo_gym_lite.config.ports import LOCAL_HOST, PORT_RANGE, free_port, machine_ip
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.errors import ConfigError


def fill_addresses(config: DictConfig, blocks: Sequence[Block], head: HeadServerConfig) -> None:
    """Give every server the host and port that its block lacks; `disallowed_ports` then lists all of them.

    Raises:
        ConfigError: Two servers ask for one port, or no port is free.
    """
    default_host = config.get("default_host") or (
        machine_ip() if config.get("use_absolute_ip") else LOCAL_HOST
    )
    low, high = _port_range(config)
    owners = {(head.host, head.port): "head_server"}
    for block in blocks:
        if (port := block.config.get("port")) is not None:
            _claim(owners, block.config.get("host") or default_host, int(port), block.name)
    taken = {port for _, port in owners} | {int(port) for port in config.get("disallowed_ports") or ()}
    for block in blocks:
        target = config[block.name][block.server_type][block.implementation]
        target["host"] = host = block.config.get("host") or default_host
        if block.config.get("port") is None:
            target["port"] = free_port(host, taken, low, high)
        taken.add(int(target["port"]))
    config["disallowed_ports"] = sorted(taken)


def _port_range(config: DictConfig) -> tuple[int, int]:
    low, high = config.get("port_range_low", PORT_RANGE[0]), config.get("port_range_high", PORT_RANGE[1])
    if not (isinstance(low, int) and isinstance(high, int) and 1 <= low <= high <= 65535):
        raise ConfigError(
            f"port_range_low {low!r} and port_range_high {high!r} are no range of ports",
            "give two numbers from 1 to 65535, the lower one first",
        )
    return low, high


def _claim(owners: dict[tuple[str, int], str], host: str, port: int, name: str) -> None:
    everywhere = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    for (other_host, other_port), owner in owners.items():
        if port == other_port and (host == other_host or {host, other_host} & everywhere):
            raise ConfigError(
                f"port {port} on {host} is given twice: to `{owner}` and to `{name}`",
                f"change one of them, or leave out `port:` of `{name}` to get a free one",
            )
    owners[host, port] = name
