"""Says where everything listens: the head server, and every server of a tree."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.blocks import Block
from nemo_gym_lite.config.files import read_yaml
from nemo_gym_lite.config.ports import LOCAL_HOST, PORT_RANGE, free_port, machine_ip
from nemo_gym_lite.config.roots import find
from nemo_gym_lite.config.wording import complaints, did_you_mean
from nemo_gym_lite.config_types import HeadServerConfig
from nemo_gym_lite.errors import ConfigError

PORTS_FILE = "ports.yaml"
"""Beside the code of a server that starts others: which of its settings hold their ports."""


def read_head_server(tree: Json) -> HeadServerConfig:
    """Read `head_server`, whose host is `default_host` unless it has its own.

    Raises:
        ConfigError: It is no mapping of host and port.
    """
    block = {} if tree.get("head_server") is None else tree["head_server"]
    if not isinstance(block, dict):
        raise ConfigError(f"head_server is {block!r}, not a mapping", "write `+head_server.port=11000`")
    known = HeadServerConfig.model_fields
    if unknown := [key for key in block if key not in known]:
        hint = did_you_mean(str(unknown[0]), known, "it has host and port")
        raise ConfigError(f"head_server has no key `{unknown[0]}`", hint)
    try:
        return HeadServerConfig.model_validate({"host": tree.get("default_host") or LOCAL_HOST, **block})
    except ValidationError as error:
        raise ConfigError("\n".join(complaints(error, "head_server")), "write `+head_server.port=11000`") from None


def fill_addresses(tree: Json, blocks: Sequence[Block], head: HeadServerConfig) -> None:
    """Give every server the host and port that its block lacks; `disallowed_ports` then lists all of them.

    Raises:
        ConfigError: Two servers ask for one port, or no port is free.
    """
    default_host = tree.get("default_host") or (machine_ip() if tree.get("use_absolute_ip") else LOCAL_HOST)
    low, high = _port_range(tree)
    owners = {(head.host, head.port): "head_server"}
    for block in blocks:
        if (port := block.config.get("port")) is not None:
            _claim(owners, block.config.get("host") or default_host, int(port), block.name)
    taken = {port for _, port in owners} | {int(port) for port in tree.get("disallowed_ports") or ()}
    further = {block.name: _further_ports(block) for block in blocks}
    given = (block.config.get(setting) for block in blocks for setting in further[block.name])
    taken |= {port for ports in given if isinstance(ports, list) for port in ports if isinstance(port, int)}
    for block in blocks:
        block.config["host"] = host = block.config.get("host") or default_host
        port = block.config.get("port")
        block.config["port"] = free_port(host, taken, low, high) if port is None else int(port)
        taken.add(block.config["port"])
        for setting, count in further[block.name].items():
            if not block.config.get(setting):
                block.config[setting] = _free_ports(host, block.config.get(count, 1), taken, low, high)
    tree["disallowed_ports"] = sorted(taken)


def _further_ports(block: Block) -> Json:
    """Settings of a server that are lists of ports, each with the one that counts them; no server is imported here."""
    path = find(Path(block.server_type, block.implementation, PORTS_FILE))
    settings = {} if path is None else read_yaml(path)
    for setting, count in settings.items():
        if not isinstance(count, str):
            hint = "it is for `list of ports: setting that counts them`; give a file of your own another name"
            raise ConfigError(f"{path} says `{setting}: {count}`, which are not names of two settings", hint)
    return settings


def _free_ports(host: str, count: Any, taken: set[int], low: int, high: int) -> list[int]:
    ports = []
    for _ in range(count if isinstance(count, int) else 0):
        ports.append(free_port(host, taken, low, high))
        taken.add(ports[-1])
    return ports


def _port_range(tree: Json) -> tuple[int, int]:
    low, high = tree.get("port_range_low", PORT_RANGE[0]), tree.get("port_range_high", PORT_RANGE[1])
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
