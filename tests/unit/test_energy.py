"""
Energy counters are read as they are: they wrap, they may be forbidden, and runs share them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finetuned.telemetry.energy import ProcessorEnergy, RunMeter
from finetuned.telemetry.gpu import working_gpus


def domain(folder: Path, number: str, name: str, microjoules: int, wrap: int = 1000) -> Path:
    """
    Make one counter, as the kernel shows it.
    """
    path = folder / f"intel-rapl:{number}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{wrap}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path / "energy_uj"


def test_packages_and_memory_are_added_and_what_lies_inside_is_not(tmp_path):
    """
    The cores are part of their package; the whole board holds the packages.
    """
    package = domain(tmp_path, "0", "package-0", 100)
    domain(tmp_path, "0:0", "core", 50)
    memory = domain(tmp_path, "0:1", "dram", 10)
    domain(tmp_path, "1", "psys", 500)
    counters = ProcessorEnergy(tmp_path)
    package.write_text("300")
    memory.write_text("15")

    assert 205e-6 == counters.joules()
    assert 0.0 == counters.joules()


def test_a_counter_that_begins_again_goes_on(tmp_path):
    """
    At 100 W a package counter of 2^32 microjoules is full after 43 seconds.
    """
    file = domain(tmp_path, "0", "package-0", 900)
    counters = ProcessorEnergy(tmp_path)
    file.write_text("50")

    assert 150e-6 == pytest.approx(counters.joules())


def test_what_cannot_be_read_is_unknown_and_not_zero(tmp_path):
    """
    Since 2020 the counters are for root alone; in a virtual machine there are none.
    """
    assert ProcessorEnergy(tmp_path / "absent").joules() is None
    file = domain(tmp_path, "0", "package-0", 900)
    counters = ProcessorEnergy(tmp_path)
    file.write_text("not a number")
    assert counters.joules() is None
    file.write_text("950")
    assert counters.joules() is None  # there is nothing to subtract from
    file.write_text("960")
    assert 10e-6 == pytest.approx(counters.joules())


def test_a_run_is_charged_its_processor_time_and_its_share(tmp_path):
    """
    A real process that computes, measured while it does; when it is gone it uses nothing.
    """
    file = domain(tmp_path, "0", "package-0", 0, wrap=10**12)
    work = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    wait = "import sys\nsys.stdin.read(1)\n"
    child = subprocess.Popen([sys.executable, "-c", work + wait], stdin=subprocess.PIPE)
    try:
        meter = RunMeter(child.pid, powercap=tmp_path)
        deadline, used = time.monotonic() + 60, 0.0
        while used < 0.25 and time.monotonic() < deadline:
            time.sleep(0.02)
            file.write_text(str(int(file.read_text()) + 1_000_000))  # a joule for the machine
            spent = meter.look()
            used += spent.cpu_seconds
            assert spent.cpu_joules is not None
            assert 0 <= spent.cpu_joules <= 1.0
    finally:
        child.communicate(b"x")

    assert 0.25 <= used <= 5
    gone = meter.look()
    assert (0.0, 0.0) == (gone.cpu_seconds, gone.cpu_joules)


def test_without_a_gpu_nobody_is_asked_for_processes():
    """
    Listing the children of a worker costs more than all the rest.
    """
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU")

    def never() -> list[int]:
        raise AssertionError

    assert {} == working_gpus(never)
    assert 0 == RunMeter(os.getpid()).look().gpus
