"""
A run of several processes: the real launcher, real ranks, and how they end together.

The ranks' work is planted (see launched/): these are the laws of processes and
folders; that two of them train what one would is tested with the trainer.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from finetuned.core.action import StopCause
from finetuned.core.run import RunKind
from finetuned.core.run_end import is_over, run_status
from finetuned.errors import EXIT_CONFIG
from finetuned.files.run import OUTPUT, read_exit, read_json
from finetuned.files.spec import create_run
from finetuned.process.child import WorkerProcess
from finetuned.process.launch import Launch
from finetuned.process.orphans import end_orphan, processes_of
from finetuned.supervisor.runs.run import SupervisedRun
from integration.launched.launched_spec import LaunchedSpec
from support.daemon import Daemon, make_root

PLANTED = Path(__file__).with_name("launched")

TWO_PROCESSES = """
compute_environment: LOCAL_MACHINE
debug: false
distributed_type: MULTI_GPU
machine_rank: 0
main_process_port: 0
mixed_precision: 'no'
num_machines: 1
num_processes: 2
use_cpu: true
"""

pytestmark = pytest.mark.slow


def is_alive(process: psutil.Process) -> bool:
    """
    Tell whether a process still runs; a dead one that nobody has reaped does not.
    """
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Launched:
    """
    One launched run, as the supervisor holds it.
    """

    def __init__(self, folder: Path, *, checkpoint_seconds: tuple[float, float]) -> None:
        self.notes = folder / "notes"
        self.notes.mkdir(parents=True)
        run_dir = folder / "r000001"
        spec = LaunchedSpec(
            kind=RunKind.TRAINING,
            run_id="r000001",
            notes=self.notes,
            checkpoint_seconds=checkpoint_seconds,
        )
        create_run(run_dir, spec)
        config = folder / "two.yaml"
        config.write_text(TWO_PROCESSES)
        self.worker = WorkerProcess(
            RunKind.TRAINING,
            cwd=folder,
            log=run_dir / OUTPUT,
            launch=Launch(config, run_dir, grace_seconds=40),
        )
        self.run = SupervisedRun("r000001", RunKind.TRAINING, run_dir, self.worker)
        self.wait(lambda: (self.notes / "pid-0").exists() and (self.notes / "pid-1").exists())
        self.ranks = [psutil.Process(int((self.notes / f"pid-{n}").read_text())) for n in (0, 1)]

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 90
        while not condition():
            assert time.monotonic() < deadline, (self.run.folder / OUTPUT).read_text()[-3000:]
            time.sleep(0.05)

    def status(self) -> int:
        """
        Wait for the end; return how the run ended. Nothing of it may live then.
        """
        self.wait(lambda: is_over(self.run.observe()))
        assert [] == processes_of(self.run.folder)
        assert not any(is_alive(rank) for rank in self.ranks)
        return run_status(self.run.observe())

    def checkpoints(self) -> dict[str, str]:
        return {p.name: p.read_text() for p in self.notes.glob("checkpoint-*")}


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Launched]]:
    monkeypatch.setenv("PYTHONPATH", str(PLANTED))
    started: list[Launched] = []

    def start(checkpoint_seconds: tuple[float, float] = (0.0, 0.0)) -> Launched:
        started.append(Launched(tmp_path, checkpoint_seconds=checkpoint_seconds))
        return started[-1]

    yield start
    for one in started:
        one.worker.kill()
        one.worker.close()


def test_a_stop_lets_the_slowest_rank_checkpoint(launch: Callable[..., Launched]) -> None:
    """
    Each rank is told once, and the first that leaves does not cut the others short.
    """
    one = launch((4.0, 0.0))
    one.run.asked = StopCause.PAUSE
    one.worker.stop()

    assert 75 == one.status()
    assert {"checkpoint-0": "SIGTERM", "checkpoint-1": "SIGTERM"} == one.checkpoints()


def test_a_finished_run_ends_with_the_word_of_rank_0(launch: Callable[..., Launched]) -> None:
    """
    0, one heartbeat, one author.
    """
    one = launch()
    (one.notes / "finish").touch()

    assert 0 == one.status()
    beat = read_json(one.run.folder / "heartbeat.json") or {}
    assert one.ranks[0].pid == beat["pid"]
    word = read_exit(one.run.folder)
    assert word is not None
    assert not word.stays


def test_a_rank_that_is_killed_is_a_crash_of_the_run(launch: Callable[..., Launched]) -> None:
    """
    The rest is stopped and leaves a checkpoint; the job pays an attempt all the same.
    """
    one = launch()
    one.ranks[1].kill()

    assert 70 == one.status()
    assert {"checkpoint-0": "SIGTERM"} == one.checkpoints()


def test_ranks_outlive_their_launcher_only_to_checkpoint(launch: Callable[..., Launched]) -> None:
    """
    Without launcher the end of the pipe reaches them, and until then the run is not over.
    """
    one = launch((2.0, 0.0))
    os.kill(one.worker.pid, signal.SIGKILL)
    one.wait(lambda: one.worker.orphaned or one.worker.poll() is not None)
    assert one.worker.orphaned

    assert 70 == one.status()
    assert {"checkpoint-0", "checkpoint-1"} == set(one.checkpoints())


def test_a_kill_leaves_no_rank(launch: Callable[..., Launched]) -> None:
    """
    Ranks live in sessions of their own, where a signal to the launcher's group ends.
    """
    one = launch((60.0, 60.0))
    one.run.asked = StopCause.STUCK
    one.worker.kill()

    assert -9 == one.status()


def test_ranks_of_a_dead_supervisor_leave_or_are_ended(launch: Callable[..., Launched]) -> None:
    """
    The end of the pipe reaches every rank; who takes too long for that is killed.
    """
    one = launch((0.0, 60.0))
    one.worker.close()
    pid, started = one.worker.pid, one.worker.started

    assert end_orphan(one.run.folder, pid, started, patience=5)
    assert [] == processes_of(one.run.folder)
    assert {"checkpoint-0": "supervisor_gone"} == one.checkpoints()


def test_a_missing_launch_file_ends_the_start_with_78(tmp_path: Path, tiny_base: Path) -> None:
    """
    The message names the key and how to make the file.
    """
    root = make_root(tmp_path / "root", tiny_base, training='accelerate_config = "gone/two.yaml"')
    with Daemon(root) as daemon:
        assert EXIT_CONFIG == daemon.wait_exit(20)
        assert "training.accelerate_config names" in daemon.output()
