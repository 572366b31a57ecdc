"""Tells which top-level blocks are servers, which only look like one, and what references lead to."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.keys import RESERVED_KEYS, SERVER_TYPES
from nemo_gym_lite.config.masking import mask_secrets
from nemo_gym_lite.config.wording import complaints, did_you_mean
from nemo_gym_lite.config_types import DatasetConfig, Domain
from nemo_gym_lite.errors import AlmostServerError, ServerRefNotFoundError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Block:
    """A server as configured: `<name>: {<server_type>: {<implementation>: config}}`.

    `config` is the tree's own mapping, so what is written into it is written into the tree.
    """

    name: str
    server_type: str
    implementation: str
    config: Json


class _Fields(BaseModel, extra="allow"):
    """What every server block may hold; the rest belongs to its implementation."""

    entrypoint: str
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    num_workers: int | None = Field(default=None, ge=1)
    domain: Domain | None = None
    placement: Literal["near", "far"] | None = None
    isolate: bool | None = None
    datasets: list[DatasetConfig] | None = None


def server_blocks(tree: Mapping[str, Any]) -> list[Block]:
    """Return the servers of a resolved tree.

    Raises:
        AlmostServerError: A block has the shape of a server and does not validate as one. With the top-level
            key `error_on_almost_servers: false` that is a warning, and the block is no server.
    """
    blocks: list[Block] = []
    faults: list[str] = []
    lookalikes: Json = {}
    for name, value in tree.items():
        if name in RESERVED_KEYS or not isinstance(value, dict):
            continue
        complaint = _complaint(value)
        if complaint:
            faults += [f"{name}.{line}" for line in complaint]
            lookalikes[name] = value
        elif complaint is not None:
            server_type, implementations = next(_typed(value))
            implementation, config = next(iter(implementations.items()))
            blocks.append(Block(name, server_type, str(implementation), config))
    if faults:
        fatal = tree.get("error_on_almost_servers") is not False
        _report(faults, lookalikes, [block.name for block in blocks], fatal=fatal)
    return blocks


def _typed(block: Json) -> Iterator[tuple[str, Json]]:
    """Yield the server types of a block with their implementations; what directives emptied is not there."""
    for key, value in block.items():
        if key in SERVER_TYPES and isinstance(value, dict) and value:
            # `dummy_model`, the stand-in of commands that need no model, gives way to the real one beside it
            yield key, {name: config for name, config in value.items() if len(value) == 1 or name != "dummy_model"}


def _complaint(block: Json) -> list[str] | None:
    """Return None for no server, an empty list for a valid one, else what is wrong, each with its place."""
    typed = list(_typed(block))
    if not typed:
        return _misspelled_type(block)
    if len(typed) > 1:
        return [f"{typed[1][0]}: a server has one type, this one has also {typed[0][0]}"]
    server_type, implementations = typed[0]
    if len(implementations) > 1:
        names = ", ".join(map(str, implementations))
        return [f"{server_type}: a server has one implementation under its type, this one has {names}"]
    implementation, config = next(iter(implementations.items()))
    place = f"{server_type}.{implementation}"
    if not isinstance(config, dict):
        return [f"{place}: the implementation's settings are {config!r}, not a mapping with an `entrypoint`"]
    try:
        _Fields.model_validate(config)
    except ValidationError as error:
        return complaints(error, place)
    return []


def _misspelled_type(block: Json) -> list[str] | None:
    """Look for `<something>: {<implementation>: {entrypoint: ...}}` whose something is no server type."""
    for key, value in block.items():
        inside = value.values() if isinstance(value, dict) else ()
        if any(isinstance(config, dict) and "entrypoint" in config for config in inside):
            return [f"{key}: no server type of this name; {did_you_mean(str(key), SERVER_TYPES, _ALL_TYPES)}"]
    return None


_ALL_TYPES = f"there are {', '.join(SERVER_TYPES)}"


def _report(faults: list[str], lookalikes: Json, servers: list[str], *, fatal: bool) -> None:
    lines = "\n".join(f"  {fault}" for fault in faults)
    message = f"these blocks look like servers, and are not valid ones\n{lines}"
    if not fatal:
        log.warning("%s\nthey are not started", message)
        return
    shown = yaml.safe_dump(mask_secrets(lookalikes), sort_keys=False).rstrip()
    near = [did_you_mean(name, servers) for name in lookalikes]
    advice = "correct them, or set `error_on_almost_servers: false` to go on without them"
    raise AlmostServerError(f"{message}\n\n{shown}", " ".join([*filter(None, near), advice]))


def check_references(blocks: Iterable[Block]) -> None:
    """Check that every `{type, name}` field of a server names another one.

    Raises:
        ServerRefNotFoundError: Some do not; the message lists all of them with near matches.
    """
    blocks = list(blocks)
    known = {(block.server_type, block.name) for block in blocks}
    faults = [
        f"{block.name}.{field}: no {kind} named `{name}`; {_alternatives(kind, name, blocks)}"
        for block in blocks
        for field, kind, name in references(block.config)
        if (kind, name) not in known
    ]
    if faults:
        raise ServerRefNotFoundError(
            "these references lead to no server\n" + "\n".join(f"  {fault}" for fault in faults),
            "correct the name, or add the file that defines the server to `config_paths`",
        )


def references(config: Json) -> Iterator[tuple[str, str, str]]:
    """Yield field, server type and name of the references among a block's direct fields."""
    for field, value in config.items():
        if isinstance(value, dict) and value.get("type") in SERVER_TYPES and isinstance(value.get("name"), str):
            yield str(field), value["type"], value["name"]


def _alternatives(kind: str, name: str, blocks: list[Block]) -> str:
    if other := next((block.server_type for block in blocks if block.name == name), None):
        return f"`{name}` is one of the {other}"
    available = [block.name for block in blocks if block.server_type == kind]
    return did_you_mean(name, available, f"there are {', '.join(available)}" if available else "there is none at all")
