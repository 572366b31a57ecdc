"""`ng_version`: versions, and the machine that they run on."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import orjson
from pydantic import AliasChoices, BaseModel, Field

from nemo_gym_lite.cli.common import EXIT_OK, command, with_flags
from nemo_gym_lite.clients import Json
from nemo_gym_lite.config.compose import compose
from nemo_gym_lite.config.roots import INSTALL_ROOT

_DEPENDENCIES = ("openai", "ray", "aiohttp", "fastapi", "pydantic", "uvicorn", "vllm")


class VersionOptions(BaseModel, frozen=True, extra="forbid"):
    """Print the version of nemo_gym_lite, of Python and of what both stand on."""

    as_json: bool = Field(
        default=False, validation_alias=AliasChoices("json"), description="print it as JSON; the same as --json"
    )


def versions() -> Json:
    """Versions and the machine, under the names that `gym --version --json` has; null for what is not installed."""
    own = _version("nemo-gym-lite")
    return {
        "nemo_gym": own,  # `import nemo_gym` means this package in the processes that it starts
        "nemo_gym_lite": own,
        "python": platform.python_version(),
        "python_path": sys.executable,
        "installation_path": str(INSTALL_ROOT),
        "dependencies": {name: _version(name) for name in _DEPENDENCIES},
        "system": {
            "os": f"{platform.system()} {platform.release()}",
            "platform": platform.platform(),
            "architecture": platform.machine(),
            "processor": platform.processor() or platform.machine(),
            "cpus": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        },
    }


@command("ng_version", VersionOptions)
def main(argv: Sequence[str]) -> int:
    """Print the versions; returns the exit code."""
    options = compose(with_flags(argv), VersionOptions, needs_servers=False, environment={}).options
    found = versions()
    if options.as_json:
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return EXIT_OK
    system, dependencies = found["system"], found["dependencies"]
    installed = ", ".join(f"{name} {each}" for name, each in dependencies.items() if each)
    print(f"nemo_gym_lite {found['nemo_gym_lite']} in {found['installation_path']}")
    print(f"Python {found['python']}: {found['python_path']}")
    print(f"with {installed}")
    print(f"on {system['os']}, {system['architecture']}, {system['cpus']} cores, {system['memory_gb']} GB")
    return EXIT_OK


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
