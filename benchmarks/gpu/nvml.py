"""Watches the first GPU while something runs, if `pynvml` is installed; else says nothing."""

import importlib
import threading
import time
from statistics import fmean
from types import TracebackType
from typing import Any, Self

_EVERY_S = 0.25


class GpuWatch:
    """Looks at the GPU four times a second for as long as it is open."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._looks: list[tuple[float, float, float, float]] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        try:
            self._nvml: Any = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            self._gpu = self._nvml.nvmlDeviceGetHandleByIndex(0)
            name = self._nvml.nvmlDeviceGetName(self._gpu)
            self.name = name.decode() if isinstance(name, bytes) else str(name)
        except Exception:  # not installed, no driver, no GPU: its errors are classes of its own
            return

    def __enter__(self) -> Self:
        if self.name is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closed.set()

    def means(self, from_s: float, to_s: float) -> dict[str, float] | None:
        """Power, share of time with work and memory between two times in seconds since the epoch."""
        looks = [look[1:] for look in self._looks if from_s <= look[0] <= to_s]
        if not looks:
            return None
        power_w, busy_pct, memory_gib = (round(fmean(column), 1) for column in zip(*looks, strict=True))
        return {"power_w": power_w, "busy_pct": busy_pct, "memory_gib": memory_gib}

    def _watch(self) -> None:
        nvml, gpu = self._nvml, self._gpu
        while not self._closed.wait(_EVERY_S):
            power_w = nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3
            busy_pct = nvml.nvmlDeviceGetUtilizationRates(gpu).gpu
            memory_gib = nvml.nvmlDeviceGetMemoryInfo(gpu).used / 2**30
            self._looks.append((time.time(), power_w, busy_pct, memory_gib))
