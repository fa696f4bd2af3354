"""
What a forward and backward pass takes at its peak, on the host or on a CUDA device.
"""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import torch

from finetuned.telemetry.free_memory import free_memory_bytes

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
"""Writing 5 to it makes VmHWM begin anew: proc_pid_clear_refs(5)."""


HOST_RESERVE_BYTES = 2**28
"""
What is left alone on the host, 256 MiB: a run loads more libraries after its rehearsal, and what
the allocator frees piece by piece it cannot always use again.
"""


class MemoryMeter:
    """
    Measures from begin() on.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0
        self.free_bytes = 0
        """What was free at begin(), without the reserve."""
        self.times = 0
        """How often it was begun."""

    def begin(self) -> bool:
        """
        Start measuring; return False if the peak cannot be measured on this device.
        """
        self.times += 1
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            cached = torch.cuda.memory_reserved(self._device) - self._before
            self.free_bytes = torch.cuda.mem_get_info(self._device)[0] + cached
            return True
        if self._device.type != "cpu":
            return False
        _give_back()
        try:
            _RESET.write_text("5")
            self._before = _kib("VmRSS") << 10
        except (OSError, StopIteration):
            return False
        self.free_bytes = max(0, free_memory_bytes() - HOST_RESERVE_BYTES)
        return True

    def peak_bytes(self) -> int:
        """
        Return how far the memory rose above that at begin().
        """
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return max(0, (_kib("VmHWM") << 10) - self._before)


def _give_back() -> None:
    """
    Return freed memory to the kernel: what the allocator keeps for later would hide a peak.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)


def _kib(name: str) -> int:
    """Return a line of the kernel's account of this process, in KiB."""
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
