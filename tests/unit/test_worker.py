"""
The main loop of a worker, as a real process without torch.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from finetuned.errors import EXIT_CONFIG
from finetuned.files.lock import is_locked
from finetuned.files.run import EXIT, LOCK, read_error, read_exit, read_json
from finetuned.files.spec import RunSpec
from finetuned.process import worker as worker_module
from finetuned.process.lifeline import SUPERVISED, Lifeline

PACKAGE_PARENT = Path(__file__).resolve().parents[2] / "daemon"

WORKER = """
import sys, time
from finetuned.errors import DatasetError, Interrupted
from dataclasses import dataclass
from finetuned.files.spec import RunSpec
from finetuned.process.worker import run_worker

kept = []

@dataclass(frozen=True, kw_only=True)
class Spec(RunSpec):
    bad: bool
    until_stopped: bool

def work(run_dir, spec, lifeline):
    kept.append(run_dir.name)
    (run_dir / "seen").write_text(" ".join(kept))
    print("hello from", run_dir.name, flush=True)
    if spec.bad:
        raise DatasetError("bad rows")
    while spec.until_stopped:
        if lifeline.stopping:
            raise Interrupted(lifeline.cause)
        time.sleep(0.01)

def idle():
    if "sick" in kept:
        raise RuntimeError("device gone")
    return "holds" not in kept

if "aborts" in sys.argv:
    import atexit, os
    atexit.register(os.abort)  # what the threads of a process group do whose neighbour has left

folder = [a for a in sys.argv[1:] if a.startswith("/")] or None
sys.exit(run_worker(folder, spec=Spec, warm_up=lambda: None, work=work, idle=idle))
"""

GROWTH = 100.0


class Worker:
    """
    One worker process and the pipe to it.
    """

    def __init__(self, *arguments: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(PACKAGE_PARENT), **env},
        )

    def say(self, text: bytes) -> None:
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def leave(self) -> int:
        self.process.stdin.close()
        return self.process.wait(10)


@pytest.fixture
def worker():
    started = []

    def start(*arguments, **env):
        started.append(Worker(*arguments, **env))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.process.stdin.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class FlaggedSpec(RunSpec):
    bad: bool
    until_stopped: bool


def run_folder(tmp_path, name, **spec):
    folder = tmp_path / name
    folder.mkdir()
    flags = {"bad": False, "until_stopped": False}
    body = {"kind": "training", "run_id": name, **flags, **spec}
    (folder / "spec.json").write_text(json.dumps(body))
    return folder


def staying(tmp_path, name, **spec):
    return run_folder(tmp_path, name, worker_growth=GROWTH, **spec)


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_runs_follow_each_other_in_one_process_however_the_pipe_cuts_them(tmp_path, worker):
    """
    Two folders in one write, and one in two writes: no byte is lost between runs.
    """
    a, b, c = (staying(tmp_path, name) for name in "abc")
    one = worker()
    one.say(f"{a}\n{b}\n{str(c)[:5]}".encode())
    wait_for(lambda: read_exit(b))
    one.say(f"{str(c)[5:]}\n".encode())
    wait_for(lambda: read_exit(c))

    assert 0 == one.leave()
    assert ["a", "a b", "a b c"] == [(f / "seen").read_text() for f in (a, b, c)]
    assert {one.process.pid} == {(read_json(f / EXIT) or {})["pid"] for f in (a, b, c)}
    assert ["hello from a\n", "hello from b\n"] == [(f / "output.log").read_text() for f in (a, b)]


def test_a_worker_leaves_after_a_run_that_does_not_let_it_stay(tmp_path, worker):
    """
    Ingestion and evaluation live for one run.
    """
    one = worker()
    one.say(f"{run_folder(tmp_path, 'a')}\n".encode())

    assert 0 == one.process.wait(10)
    assert exit_record(tmp_path / "a") == (0, False)


def exit_record(folder):
    word = read_exit(folder)
    return None if word is None else (word.status, word.stays)


def test_a_process_of_several_that_has_ended_well_leaves_without_the_clean_up(tmp_path, worker):
    """
    In it the threads of the process group abort, if the neighbour has left first.
    """
    alone, of_two = run_folder(tmp_path, "a"), run_folder(tmp_path, "b")

    assert -signal.SIGABRT == worker(str(alone), "aborts").process.wait(10)
    assert 0 == worker(str(of_two), "aborts", WORLD_SIZE="2", RANK="1").process.wait(10)


def test_a_worker_leaves_after_a_fault(tmp_path, worker):
    """
    The run's status is the process's own, and the next folder is not begun.
    """
    a, b = staying(tmp_path, "a", bad=True), staying(tmp_path, "b")
    one = worker()
    one.say(f"{a}\n{b}\n".encode())

    assert 65 == one.process.wait(10)
    assert (65, False) == exit_record(a)
    assert not (b / LOCK).exists()


@pytest.mark.parametrize("name", ["sick", "holds"])
def test_a_worker_that_cannot_become_idle_leaves_with_a_good_run(tmp_path, worker, name):
    """
    Whether becoming idle fails or only the end of the process frees the device.
    """
    one = worker()
    one.say(f"{staying(tmp_path, name)}\n".encode())

    assert 0 == one.process.wait(10)
    assert (0, False) == exit_record(tmp_path / name)


@pytest.mark.parametrize("how", ["SIGTERM", "end of input"])
def test_a_busy_worker_stops_and_a_waiting_one_leaves(tmp_path, worker, how):
    """
    75 and an exit record from the one, 0 from the other.
    """
    waiting, busy = worker(), worker()
    done, endless = staying(tmp_path, "a"), staying(tmp_path, "b", until_stopped=True)
    waiting.say(f"{done}\n".encode())
    busy.say(f"{endless}\n".encode())
    wait_for(lambda: read_exit(done) and (endless / "seen").exists())
    for one in (waiting, busy):
        if how == "SIGTERM":
            one.process.send_signal(signal.SIGTERM)
        else:
            one.process.stdin.close()

    assert [0, 75] == [one.process.wait(10) for one in (waiting, busy)]
    assert (75, False) == exit_record(endless)


def test_an_exit_record_that_the_disk_refuses_leaves_the_status_to_the_process(tmp_path, worker):
    """
    The run is good; only the worker cannot stay, since nobody would know of its end.
    """
    folder = staying(tmp_path, "a")
    (folder / EXIT).mkdir()
    one = worker()
    one.say(f"{folder}\n".encode())

    assert 0 == one.process.wait(10)
    assert read_exit(folder) is None


def test_another_rank_than_0_writes_nothing(tmp_path, worker):
    """
    One author per folder: no lock, no error, no exit record, only the status.
    """
    folder = run_folder(tmp_path, "a", bad=True)
    one = worker(str(folder), RANK="1", WORLD_SIZE="2")

    assert 65 == one.process.wait(10)
    assert {"spec.json", "seen"} == {p.name for p in folder.iterdir()}


@pytest.mark.parametrize("supervised", [True, False])
def test_only_a_supervised_worker_takes_the_end_of_its_input_for_a_stop(
    tmp_path, worker, supervised
):
    """
    By hand, on another machine, input may be closed from the beginning.
    """
    folder = run_folder(tmp_path, "a", until_stopped=True)
    one = worker(str(folder), **({SUPERVISED: "1"} if supervised else {}))
    one.process.stdin.close()
    if supervised:
        assert 75 == one.process.wait(10)
    else:
        wait_for(lambda: (folder / "seen").exists())
        with pytest.raises(subprocess.TimeoutExpired):
            one.process.wait(0.3)


def test_the_exit_record_is_written_under_the_lock(tmp_path, monkeypatch):
    """
    A kill between the two leaves a run that is over, not one that looks like a crash.
    """
    folder = run_folder(tmp_path, "a")
    locked = []
    monkeypatch.setattr(
        worker_module, "write_exit", lambda f, *_, **__: locked.append(is_locked(f / LOCK))
    )
    monkeypatch.setattr(worker_module, "redirect_output", lambda _: None)
    monkeypatch.setattr(Lifeline, "install", lambda _: None)

    assert 0 == worker_module.run_worker(
        [str(folder)], spec=FlaggedSpec, warm_up=list, work=lambda *_: None
    )
    assert [True] == locked
    assert not is_locked(folder / LOCK)


def test_a_spec_of_another_version_blames_nobody(tmp_path, monkeypatch):
    """
    Status 78: the supervisor waits and says why; no file is put aside, no job fails.
    """
    folder = run_folder(tmp_path, "a", key_of_tomorrow=1)
    monkeypatch.setattr(worker_module, "redirect_output", lambda _: None)
    monkeypatch.setattr(Lifeline, "install", lambda _: None)
    status = worker_module.run_worker(
        [str(folder)], spec=FlaggedSpec, warm_up=list, work=lambda *_: None
    )

    assert EXIT_CONFIG == status
    assert "restart the daemon" in read_error(folder).error_message
