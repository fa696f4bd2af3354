"""
Energy of processor and GPUs, from their own counters: RAPL in sysfs, and NVML.

Both count energy since some moment in the past, so that a reading is worth something only
as a difference. Neither creates a CUDA context. A counter that cannot be read is None, never 0.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import psutil

from finetuned.telemetry.gpu import working_gpus

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the counters of Intel's and AMD's processors; often for root alone."""


@dataclass(frozen=True, slots=True)
class _Domain:
    """
    One energy counter of a processor: a package, or the memory beside it.
    """

    file: Path
    wrap: int
    """Microjoules at which it begins at 0 again."""


def _domains(folder: Path) -> list[_Domain]:
    """Return the packages and their memory; what lies inside a package would count twice."""
    found = []
    for path in sorted(folder.glob("intel-rapl:*")):
        try:
            name = (path / "name").read_text().strip()
            wrap = int((path / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            continue
        if name.startswith("package") or name == "dram":
            found.append(_Domain(path / "energy_uj", wrap))
    return found


class ProcessorEnergy:
    """
    The energy of all processors of the machine between two looks.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        self._domains = _domains(folder)
        self._last = self._read()

    def _read(self) -> list[int] | None:
        try:
            return [int(domain.file.read_text()) for domain in self._domains] or None
        except (OSError, ValueError):
            return None

    def joules(self) -> float | None:
        """
        Return the energy since the last look (the first: since the start), None if unreadable.
        """
        before, now = self._last, self._read()
        self._last = now
        if before is None or now is None:
            return None
        # A counter that fell has begun again; more than once it does not between two looks.
        deltas = [
            new - old if new >= old else new - old + domain.wrap
            for old, new, domain in zip(before, now, self._domains, strict=True)
        ]
        return max(0, sum(deltas)) / 1e6


@dataclass(frozen=True, slots=True)
class Spent:
    """
    What some processes used between two looks.
    """

    cpu_seconds: float
    cpu_joules: float | None
    """Of the processors, by the processes' share of all busy processor time."""
    gpu_joules: float | None
    """Of the GPUs they work on; None if there is none, or one does not report it."""
    gpus: int


def _cpu_seconds(process: psutil.Process) -> float | None:
    """Return the processor time of a process and its children; None if it is gone."""
    try:
        if not process.is_running():  # its number may belong to another process by now
            return None
        times = process.cpu_times()
    except psutil.Error:
        return None
    total = times.user + times.system + times.children_user + times.children_system
    for child in _children(process):
        try:
            own = child.cpu_times()
        except psutil.Error:
            continue
        total += own.user + own.system
    return float(total)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))


class RunMeter:
    """
    What the processes of one run use, from the moment it is made. Costs about a millisecond a look.
    """

    def __init__(self, pid: int, *, powercap: Path = POWERCAP) -> None:
        """
        Args:
            pid: The worker; its children are counted with it.
            powercap: The folder of the processors' counters.
        """
        self.pid = pid
        self._process = _process(pid)
        self._processor = ProcessorEnergy(powercap)
        self._cpu = self._seconds()
        self._busy = _busy_seconds()
        self._gpus: dict[int, float | None] = self._counters()

    def _seconds(self) -> float | None:
        return None if self._process is None else _cpu_seconds(self._process)

    def _pids(self) -> Collection[int]:
        below = [] if self._process is None else _children(self._process)
        return [self.pid, *(child.pid for child in below)]

    def _counters(self) -> dict[int, float | None]:
        """Return the joules so far of each GPU that the run works on, by index."""
        return working_gpus(self._pids)

    def look(self) -> Spent:
        """
        Return what was used since the last look; nothing if the process is gone.
        """
        before, self._cpu = self._cpu, self._seconds()
        busy_before, self._busy = self._busy, _busy_seconds()
        package = self._processor.joules()
        if before is None or self._cpu is None:
            return Spent(0.0, None if package is None else 0.0, None, 0)
        cpu_seconds = max(0.0, self._cpu - before)
        busy = max(self._busy - busy_before, cpu_seconds)
        share = cpu_seconds / busy if busy else 0.0
        gpu_joules, gpus = self._gpu_joules()
        return Spent(cpu_seconds, None if package is None else package * share, gpu_joules, gpus)

    def _gpu_joules(self) -> tuple[float | None, int]:
        before, now = self._gpus, self._counters()
        self._gpus = now
        if not now:
            return None, 0
        spent = 0.0
        for index, joules in now.items():
            if joules is None:
                return None, len(now)
            last = before.get(index)  # it works only since this look: counted from now on
            spent += 0.0 if last is None else max(0.0, joules - last)
        return spent, len(now)
