"""Writes engine arguments as words of `vllm serve`, and finds those that the installed vLLM does not know."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError

HELP_S = 300.0
"""Seconds that `vllm serve --help=all` may take; it imports all of vLLM."""

_FLAG = re.compile(r"(?<![\w-])--([a-z][\w-]*)")

_OURS = ("host", "port", "model", "api_key")

_GONE = {"swap_space": "newer versions of vLLM compute again what they once swapped to the CPU's memory"}


def words(arguments: Mapping[str, Any]) -> list[str]:
    """The arguments as vLLM's command line reads them; a value of null leaves the argument out."""
    found: list[str] = []
    for key, value in arguments.items():
        found += _flag(_dashed(key), value)
    return found


def _dashed(key: object) -> str:
    return str(key).replace("_", "-")


def _flag(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if value is None:
        return []
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}", json.dumps(value) if isinstance(value, dict) else str(value)]


def find_vllm(executable: str | None, variables: Mapping[str, str]) -> str:
    """Path of the `vllm` program: the configured one, else that beside this Python, else that on PATH.

    Raises:
        ConfigError: There is none.
    """
    beside = Path(sys.executable).parent / "vllm"
    if executable is None and beside.is_file():
        return str(beside)
    found = shutil.which(Path(executable or "vllm").expanduser(), path=variables.get("PATH"))
    if found is None:
        what = f"executable {executable!r} is no program" if executable else "no program `vllm` was found"
        raise ConfigError(
            what,
            "pip install vllm, or name another environment's with `executable: /path/to/venv/bin/vllm`; "
            "an engine that runs already needs no local_vllm_model but vllm_model and `policy_base_url`",
        )
    return str(Path(found).absolute())


async def check_arguments(vllm: str, arguments: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Make sure that this vLLM knows every argument, before an engine is started.

    Returns:
        What to write on its command line: all but those that are false and that it can only be told to do, as older
        versions can.

    Raises:
        ConfigError: It does not know some; the message names them. Or the arguments say what is said elsewhere.
    """
    if clash := [key for key in arguments if str(key).replace("-", "_") in _OURS]:
        raise ConfigError(
            f"engine_args names {', '.join(map(str, clash))}, which nemo_gym_lite chooses",
            "write `model:`, `host:` and `api_key:` beside engine_args, and `engine_ports:` for fixed ports",
        )
    known = await known_flags(vllm, variables)
    if not known:
        return {**arguments}
    refuse_unknown(arguments, known)
    return without_needless(arguments, known)


def without_needless(arguments: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The arguments without those that are false and that this vLLM can only be told to do."""
    return {key: value for key, value in arguments.items() if value is not False or f"no-{_dashed(key)}" in known}


def unknown_arguments(arguments: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Names of the arguments that are no flags; `a.b` is a field of the flag `a`."""
    return [str(key) for key in arguments if _dashed(key).partition(".")[0] not in known]


def refuse_unknown(arguments: Mapping[str, Any], known: Collection[str]) -> None:
    """Make sure that every argument is one of the `known` flags.

    Raises:
        ConfigError: Some are not; the message names them.
    """
    if unknown := unknown_arguments(arguments, known):
        names = ", ".join(f"`{name}`" for name in unknown)
        gone = [_GONE[key] for name in unknown if (key := name.replace("-", "_")) in _GONE]
        otherwise = "; ".join(["take them out of engine_args", *gone, "`vllm serve --help=all` lists what there is"])
        guess = did_you_mean(unknown[0], {flag.replace("-", "_") for flag in known}, otherwise)
        raise ConfigError(f"engine_args: this version of vLLM does not know {names}", otherwise if gone else guess)


async def known_flags(vllm: str, variables: Mapping[str, str]) -> set[str]:
    """Every flag of `vllm serve`, remembered for as long as the program's file does not change; none if it fails."""
    kept = _file_of_flags(vllm, variables)
    with suppress(OSError):
        return set(kept.read_text().split())
    flags = set(_FLAG.findall(await _help(vllm, variables)))
    if "tensor-parallel-size" not in flags:  # not a page of help
        return set()
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        new = kept.with_suffix(f".{os.getpid()}")
        new.write_text("\n".join(sorted(flags)))
        new.replace(kept)  # at once: another run that reads half of it would refuse the other half
    return flags


def _file_of_flags(vllm: str, variables: Mapping[str, str]) -> Path:
    """Where this program's flags are kept; an upgrade writes the program anew."""
    stat = Path(vllm).stat()
    key = hashlib.sha256(f"{vllm} {stat.st_mtime_ns} {stat.st_size}".encode()).hexdigest()[:16]
    cache = Path(variables.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "nemo_gym_lite" / f"vllm_flags_{key}.txt"


async def _help(vllm: str, variables: Mapping[str, str]) -> str:
    child = await asyncio.create_subprocess_exec(
        *(vllm, "serve", "--help=all"),
        env=dict(variables),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        out, _ = await asyncio.wait_for(child.communicate(), HELP_S)
    except TimeoutError:
        return ""
    finally:
        with suppress(ProcessLookupError):
            child.kill()
    return out.decode(errors="replace") if child.returncode == 0 else ""
