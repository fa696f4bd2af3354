"""
What the NVIDIA GPUs are doing right now, through NVML. Knows pynvml, not CUDA.

NVML asks the driver and creates no CUDA context, so the supervisor may use it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

Reading = dict[str, str | int | float | None]
"""One table of the status."""


@lru_cache(maxsize=1)
def _nvml() -> Any | None:
    """
    Return the initialised pynvml module, or None if there is no driver. The result is cached.
    """
    try:
        # The driver is looked for first, so that a machine without a GPU does not need pynvml.
        ctypes.CDLL("libnvidia-ml.so.1")
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # a missing, mismatched or broken driver: the status shows no GPU
        return None
    return pynvml


def _ask(question: Callable[..., Any], *arguments: object) -> Any | None:
    try:
        return question(*arguments)
    except Exception:  # not every card reports every number, and a card may fail
        return None


def gpu_readings() -> list[Reading]:
    """
    Return one table per GPU, in the driver's order; empty without a driver. Never raises.

    Returns:
        ``index``, ``name``, ``utilisation_pct`` (0 to 100), ``memory_used_bytes``,
        ``memory_total_bytes``, ``temperature_celsius``, ``power_watts``; None for
        a number that the card does not report.
    """
    nvml = _nvml()
    if nvml is None:
        return []
    found = (_reading(nvml, index) for index in range(_ask(nvml.nvmlDeviceGetCount) or 0))
    return [reading for reading in found if reading is not None]


def _reading(nvml: Any, index: int) -> Reading | None:
    """Return the table of one GPU, or None if the driver cannot reach it."""
    handle = _ask(nvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return None
    name = _ask(nvml.nvmlDeviceGetName, handle)
    memory = _ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    busy = _ask(nvml.nvmlDeviceGetUtilizationRates, handle)
    milliwatts = _ask(nvml.nvmlDeviceGetPowerUsage, handle)
    return {
        "index": index,
        "name": name.decode("utf-8", "replace") if isinstance(name, bytes) else name,
        "utilisation_pct": None if busy is None else int(busy.gpu),
        "memory_used_bytes": None if memory is None else int(memory.used),
        "memory_total_bytes": None if memory is None else int(memory.total),
        "temperature_celsius": _ask(
            nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
        ),
        "power_watts": None if milliwatts is None else milliwatts / 1000,
    }


def working_gpus(pids: Callable[[], Collection[int]]) -> dict[int, float | None]:
    """
    Return the energy counter of each GPU that some processes work on. Never raises.

    Args:
        pids: Returns the processes; asked only if there is a GPU.

    Returns:
        By the driver's index: joules since the driver was loaded, None if the card does not
        count them. In a container the driver names other process ids: then every GPU counts
        that any process works on.
    """
    nvml = _nvml()
    if nvml is None:
        return {}
    busy: dict[int, set[int]] = {}
    for index in range(_ask(nvml.nvmlDeviceGetCount) or 0):
        handle = _ask(nvml.nvmlDeviceGetHandleByIndex, index)
        found = None if handle is None else _ask(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
        if found:
            busy[index] = {int(process.pid) for process in found}
    if not busy:
        return {}
    ours = set(pids())
    chosen = [index for index, theirs in busy.items() if theirs & ours] or list(busy)
    return {index: _joules(nvml, index) for index in chosen}


def _joules(nvml: Any, index: int) -> float | None:
    handle = _ask(nvml.nvmlDeviceGetHandleByIndex, index)
    millijoules = None if handle is None else _ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    return None if millijoules is None else millijoules / 1000
