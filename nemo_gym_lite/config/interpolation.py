"""Finds every `${...}` that cannot be resolved, and says which key it wants."""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.merging import leaves
from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigInterpolationError

_REFERENCE = re.compile(r"\$\{\s*(?:oc\.select:\s*)?([A-Za-z_]\w*)")
_KEY_NOT_FOUND = re.compile(r"Interpolation key '([^']+)' not found")
_VARIABLE_NOT_FOUND = re.compile(r"Environment variable '([^']+)' not found")


def interpolated_keys(tree: Json) -> set[str]:
    """Return the top-level keys that some value of the tree reads by `${key}`."""
    return {name for _, value in leaves(tree) if isinstance(value, str) for name in _REFERENCE.findall(value)}


def interpolatable(tree: Json) -> DictConfig:
    """Return the tree as OmegaConf, in which every interpolation can be resolved.

    Raises:
        ConfigInterpolationError: Some cannot; the message lists all of them with the key that is not there.
    """
    try:
        config = OmegaConf.create(tree)
    except OmegaConfBaseException:
        broken = [f"  {place}: {value!r}" for place, value in leaves(tree) if not _parses(value)]
        raise ConfigInterpolationError(
            "these interpolations are malformed\n" + "\n".join(broken), r"write `${key}`, or `\${` for the text itself"
        ) from None
    if faults := list(_unresolved(config, "")):
        settable = [key for key, value in tree.items() if not isinstance(value, dict)]
        lines = "\n".join(f"  {place}: {reason}{_similar(key, settable)}" for place, reason, key in faults)
        wanted = list(dict.fromkeys(key for _, _, key in faults if key))
        raise ConfigInterpolationError(f"these interpolations cannot be resolved\n{lines}", _hint(wanted))
    return config


def resolved(config: DictConfig) -> Json:
    """Return the tree as plain data."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return dict(plain)


def literal(node: Any) -> Any:
    """Return resolved data such that OmegaConf reads it as it is: a `${` that is still there is mere text."""
    if isinstance(node, dict):
        return {key: literal(value) for key, value in node.items()}
    if isinstance(node, list):
        return [literal(item) for item in node]
    return node.replace("${", "\\${") if isinstance(node, str) else node


def _parses(value: Any) -> bool:
    try:
        OmegaConf.create({"value": value})
    except OmegaConfBaseException:
        return False
    return True


def _similar(key: str, known: list[str]) -> str:
    text = did_you_mean(key, known, cutoff=0.8) if key else ""
    return f" ({text})" if text else ""


def _hint(wanted: list[str]) -> str:
    if not wanted:
        return "set the environment variables they name, or give a default: `${oc.env:NAME,default}`"
    lines = ", ".join(f"`{key}: <value>`" for key in wanted)
    options = " ".join(f"++{key}=<value>" for key in wanted)
    return f"put {lines} into env.yaml, or add {options} to the command line"


def _unresolved(node: DictConfig | ListConfig, place: str) -> Iterator[tuple[str, str, str]]:
    """Yield place, reason and wanted key of every value that cannot be read."""
    is_list = isinstance(node, ListConfig)
    for key in range(len(node)) if is_list else list(node):
        here = f"{place}[{key}]" if is_list else f"{place}.{key}" if place else str(key)
        try:
            value = node[key]
        except OmegaConfBaseException as error:
            raw: Any = OmegaConf.to_container(node, resolve=False)
            yield here, f"{raw[key]!r}, {_reason(error)}", _wanted(error)
            continue
        if isinstance(value, DictConfig | ListConfig) and not OmegaConf.is_interpolation(node, key):
            yield from _unresolved(value, here)


def _reason(error: Exception) -> str:
    if match := _KEY_NOT_FOUND.search(str(error)):
        return f"but `{match[1]}` is not set"
    if match := _VARIABLE_NOT_FOUND.search(str(error)):
        return f"but the environment variable {match[1]} is not set"
    text = str(error).splitlines()[0]
    return text[:1].lower() + text[1:]


def _wanted(error: Exception) -> str:
    match = _KEY_NOT_FOUND.search(str(error))
    return match[1] if match else ""
