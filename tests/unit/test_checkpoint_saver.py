"""
When a run saves, in which order, and what it does when the disk is slow or full.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finetuned.core.early_stop import EarlyStop
from finetuned.core.learning_rate import WarmUp
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.run import read_json
from finetuned.training.checkpoint_saver import CheckpointSaver
from finetuned.training.progress import Progress, RunState

TOTAL = 10


class Run:
    """
    A run without a model: its state is its step, a checkpoint is a folder with that in a file.
    """

    def __init__(self, folder: Path, *, save_steps: int = 3, **options: bool) -> None:
        self.folder = folder
        self.state = RunState(
            Progress(0, 0, "digest", {}), TOTAL, "digest", WarmUp(0, 0), EarlyStop(0, 0.0)
        )
        self.heartbeat = Heartbeat(folder, interval_seconds=0.0)
        self.written: list[int] = []
        self.copied: list[int] = []
        self.writing = threading.Event()
        self.may_write = threading.Event()
        self.may_write.set()
        self.full = False
        writes = options.pop("writes", True)
        self.saver: CheckpointSaver[int] = CheckpointSaver(
            self.state,
            self.heartbeat,
            save_steps=save_steps,
            take_copy=self._copy,
            write=self._write if writes else None,
            **options,
        )

    def _copy(self) -> int:
        self.copied.append(self.state.job_step)
        return self.state.job_step

    def _write(self, step: int) -> Path:
        self.writing.set()
        assert self.may_write.wait(20)
        if self.full:
            raise OSError(28, "No space left on device")
        path = self.folder / f"checkpoint-{step}"
        path.mkdir()
        (path / "state").write_bytes(b"12345")
        self.written.append(step)
        return path

    def step(self, *, stopping: bool = False) -> None:
        self.state.job_step += 1
        self.saver.after_step(stopping=stopping)

    def beat(self) -> dict[str, object]:
        return read_json(self.folder / "heartbeat.json") or {}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    run.may_write.set()


def test_a_checkpoint_is_written_every_save_steps_and_after_the_last_step(run: Run) -> None:
    """
    The last one is there when the step returns.
    """
    for _ in range(TOTAL):
        run.step()
        if run.state.job_step < TOTAL:
            run.saver.finish()

    assert [3, 6, 9, 10] == run.written == run.copied
    beat = run.beat()
    assert (10, 5) == (beat["checkpoint_step"], beat["checkpoint_bytes"])
    assert "training" == beat["phase"]
    assert run.state.totals["seconds_checkpoint"] > 0


def test_training_goes_on_while_a_checkpoint_is_written(run: Run) -> None:
    """
    A slow disk makes checkpoints rarer: the next is copied when the writer is idle again.
    """
    run.may_write.clear()
    for _ in range(3):
        run.step()
    assert run.writing.wait(20)
    for _ in range(4):
        run.step()
    assert [3] == run.copied
    run.may_write.set()
    run.saver.finish()
    run.step()
    run.saver.finish()

    assert [3, 8] == run.written == run.copied


def test_a_stop_waits_for_the_writer_and_saves_the_step_it_stops_at(run: Run) -> None:
    """
    Both checkpoints are there, oldest first.
    """
    run.may_write.clear()
    for _ in range(3):
        run.step()
    assert run.writing.wait(20)
    threading.Timer(0.05, run.may_write.set).start()
    run.step(stopping=True)

    assert [3, 4] == run.written


def test_the_first_checkpoint_is_of_step_0(run: Run) -> None:
    """
    Its copy is taken before training changes anything.
    """
    run.saver.save_first()
    run.step()
    run.saver.finish()

    assert [0] == run.written == run.copied


def begin_to_save(run: Run) -> None:
    for _ in range(3):
        run.step()
    assert run.writing.wait(20)


def step_until_told(run: Run) -> None:
    """
    Go on until the thread of the writer is gone and what it met is raised.
    """
    while True:
        run.saver.after_step(stopping=False)


@pytest.mark.parametrize("meet", [step_until_told, lambda run: run.saver.finish()])
def test_a_full_disk_is_raised_on_the_thread_that_trains(
    run: Run, meet: Callable[[Run], None]
) -> None:
    """
    After a later step or when the run ends; the next save works.
    """
    run.full = True
    begin_to_save(run)
    with pytest.raises(OSError, match="No space"):
        meet(run)
    run.full = False
    run.step(stopping=True)

    assert [4] == run.written


def test_a_full_disk_is_raised_at_once_where_training_waits(run: Run) -> None:
    """
    A stop does not leave with a checkpoint that is not there.
    """
    run.full = True
    with pytest.raises(OSError, match="No space"):
        run.step(stopping=True)

    assert [] == run.written


def test_processes_in_step_copy_after_the_same_step_though_one_writes(tmp_path: Path) -> None:
    """
    The writing one waits for its writer, so that the other, which has none, need not ask.
    """
    for name in ("writer", "other"):
        (tmp_path / name).mkdir()
    writer = Run(tmp_path / "writer", save_steps=1, in_step=True)
    other = Run(tmp_path / "other", save_steps=1, in_step=True, writes=False)
    for step in range(TOTAL):
        if step == 1:  # the disk is slow: the first checkpoint is still being written
            assert writer.writing.wait(20)
            threading.Timer(0.05, writer.may_write.set).start()
        elif step == 0:
            writer.may_write.clear()
        writer.step()
        other.step()

    assert list(range(1, TOTAL + 1)) == writer.copied == other.copied == writer.written
    assert [] == other.written
    assert "checkpoint_step" not in other.beat()
