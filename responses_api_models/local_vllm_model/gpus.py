"""Divides the machine's GPUs among the replicas of an engine."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemo_gym_lite.errors import ConfigError

DEVICES_VARIABLE = "CUDA_VISIBLE_DEVICES"

_LIST_S = 60.0

_PARALLEL_SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")


def visible_gpus(variables: Mapping[str, str]) -> list[str]:
    """The GPUs that may be used: those that CUDA_VISIBLE_DEVICES names, else all of the machine, none without any."""
    if DEVICES_VARIABLE in variables:
        return [part.strip() for part in variables[DEVICES_VARIABLE].split(",") if part.strip()]
    if not Path("/dev/nvidiactl").exists():
        return []
    try:
        program = shutil.which("nvidia-smi") or "nvidia-smi"
        done = subprocess.run([program, "-L"], capture_output=True, text=True, check=True, timeout=_LIST_S)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [
        str(number) for number, _ in enumerate(line for line in done.stdout.splitlines() if line.startswith("GPU "))
    ]


def gpus_per_replica(arguments: Mapping[str, Any]) -> int:
    """GPUs that one replica works on: the product of its parallel sizes."""
    count = 1
    for name in _PARALLEL_SIZES:
        count *= int(arguments.get(name) or 1)
    return count


def divide(gpus: list[str], replicas: int, each: int) -> list[list[str]]:
    """Give every replica its GPUs; without GPUs, as on a CPU build of vLLM, nobody gets any.

    Raises:
        ConfigError: There are fewer than the replicas need.
    """
    if not gpus:
        return [[] for _ in range(replicas)]
    if len(gpus) < replicas * each:
        raise ConfigError(
            f"{replicas} x {each} GPUs are needed (num_replicas x parallel sizes), "
            f"and {len(gpus)} can be used: {','.join(gpus)}",
            f"lower num_replicas or tensor_parallel_size, or name more GPUs in {DEVICES_VARIABLE}",
        )
    return [gpus[number * each : (number + 1) * each] for number in range(replicas)]
