"""Writes engine arguments as words of `vllm serve`, and finds those that the installed vLLM does not know."""

import asyncio
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nemo_gym_lite.config.wording import did_you_mean
from nemo_gym_lite.errors import ConfigError

HELP_S = 300.0
"""Seconds that `vllm serve --help=all` may take; it imports all of vLLM."""

_FLAG = re.compile(r"(?<![\w-])--([a-z][\w-]*)")

_OURS = ("host", "port", "model")


def words(arguments: Mapping[str, Any]) -> list[str]:
    """The arguments as vLLM's command line reads them; a value of null leaves the argument out."""
    found: list[str] = []
    for key, value in arguments.items():
        found += _flag(str(key).replace("_", "-"), value)
    return found


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


async def check_arguments(vllm: str, arguments: Mapping[str, Any], variables: Mapping[str, str]) -> None:
    """Make sure that this vLLM knows every argument, before an engine is started.

    Raises:
        ConfigError: It does not know some; the message names them. Or the arguments say what is said elsewhere.
    """
    if clash := [key for key in arguments if str(key).replace("-", "_") in _OURS]:
        raise ConfigError(
            f"engine_args names {', '.join(map(str, clash))}, which nemo_gym_lite chooses",
            "write `model:` and `host:` beside engine_args, and `engine_ports:` for fixed ports",
        )
    known = await known_flags(vllm, variables)
    if known:
        _refuse(unknown_arguments(arguments, known), known)


def unknown_arguments(arguments: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """Names of the arguments that are no flags; `a.b` is a field of the flag `a`."""
    return [str(key) for key in arguments if str(key).replace("_", "-").partition(".")[0] not in known]


def _refuse(unknown: Sequence[str], known: Collection[str]) -> None:
    if unknown:
        names = ", ".join(f"`{name}`" for name in unknown)
        otherwise = "take them out of engine_args; `vllm serve --help=all` lists what there is"
        guess = did_you_mean(unknown[0], {flag.replace("-", "_") for flag in known}, otherwise)
        raise ConfigError(f"engine_args: this version of vLLM does not know {names}", guess)


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
        kept.write_text("\n".join(sorted(flags)))
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
