"""
Child processes as the supervisor holds them: real ones, tiny, without torch.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import finetuned
from finetuned.files.lock import FileLock
from finetuned.files.run import LOCK
from finetuned.process import launch, notify
from finetuned.process.child import WorkerProcess
from finetuned.process.environment import child_environment
from finetuned.process.launch import Launch, worker_arguments
from finetuned.process.orphans import end_orphan, process_started, processes_of
from finetuned.process.spares import WaitingWorkers

WORKER = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

for line in sys.stdin:
    run = Path(line.strip())
    (run / "environment").write_text(json.dumps(dict(os.environ)))
    order = (run / "order").read_text()
    if order == "leave":
        sys.exit(65)
    if order == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if order == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        (run / "child").write_text(str(child.pid))
    (run / "begun").touch()
"""

RANK = "import sys, time; time.sleep(60)"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """
    Start a worker of a kind, which runs WORKER.
    """
    (tmp_path / "tiny_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for kind in launch.MODULES:
        monkeypatch.setitem(launch.MODULES, kind, "tiny_worker")
    started = []

    def start(kind="training", **more):
        started.append(WorkerProcess(kind, cwd=tmp_path, log=tmp_path / "log", **more))
        return started[-1]

    yield start
    for worker in started:
        worker.dismiss()


def run_folder(tmp_path, order, name="r1"):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "order").write_text(order)
    return folder


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def ended(worker):
    """
    The exit status of a worker that ends by itself.
    """
    wait_for(lambda: worker.poll() is not None)
    return worker.poll()


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# environment.py, launch.py


def test_a_child_imports_the_package_of_its_parent(monkeypatch, tmp_path):
    """
    From any working directory, and before a package that PYTHONPATH already names.
    """
    (tmp_path / "finetuned.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = "import finetuned; print(finetuned.__file__)"
    output = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env=child_environment(),
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert Path(finetuned.__file__).resolve() == Path(output.strip()).resolve()
    assert str(tmp_path) == child_environment()["PYTHONPATH"].split(os.pathsep)[-1]


def test_without_a_path_of_its_own_a_child_gets_the_package_only(monkeypatch):
    """
    An empty entry would be the working directory.
    """
    monkeypatch.delenv("PYTHONPATH", raising=False)

    assert str(Path(finetuned.__file__).resolve().parents[1]) == child_environment()["PYTHONPATH"]


def test_only_the_supervisor_speaks_to_systemd(monkeypatch):
    """
    A worker that inherits the socket could report the service as ready or stopping.
    """
    for name in notify.VARIABLES:
        monkeypatch.setenv(name, "1")

    assert not set(notify.VARIABLES) & set(child_environment())
    assert "two" == child_environment(ONE="two")["ONE"]


def test_a_launcher_is_told_its_run_by_an_argument(tmp_path):
    """
    It does not pass its standard input on to the ranks.
    """
    one = Launch(tmp_path / "two.yaml", tmp_path / "r1", grace_seconds=3)
    arguments = worker_arguments("training", one)

    assert worker_arguments("training") == arguments[-3:-1]
    assert [str(tmp_path / "two.yaml"), str(tmp_path / "r1")] == [arguments[3], arguments[-1]]


# child.py


def test_a_worker_is_told_its_run_and_its_end_is_seen(tmp_path, start):
    """
    Its exit status is the worker's own; its environment is offline and supervised.
    """
    folder = run_folder(tmp_path, "leave")
    worker = start()

    assert worker.poll() is None
    worker.assign(folder)
    assert 65 == ended(worker)
    environment = json.loads((folder / "environment").read_text())
    assert ("1", "1") == (environment["HF_HUB_OFFLINE"], environment["FINETUNED_SUPERVISED"])


def test_a_worker_that_is_gone_can_be_told_a_run_without_harm(tmp_path, start):
    """
    It may die between two looks; poll() shows it, and nothing is raised.
    """
    worker = start()
    worker.kill()

    assert -signal.SIGKILL == ended(worker)
    for _ in range(2):
        worker.assign(tmp_path)
    worker.stop()
    worker.kill()


def test_a_stop_is_a_request_and_a_kill_is_not(tmp_path, start):
    """
    A worker deaf to SIGTERM stays until it is killed.
    """
    polite, deaf = start(), start()
    folder = run_folder(tmp_path, "deaf")
    deaf.assign(folder)
    wait_for((folder / "begun").exists)
    polite.stop()
    deaf.stop()

    assert -signal.SIGTERM == ended(polite)
    assert deaf.poll() is None
    deaf.kill()
    assert -signal.SIGKILL == ended(deaf)


def test_a_kill_ends_what_the_worker_started(tmp_path, start):
    """
    A worker leads its process group: no child of it keeps the device.
    """
    folder = run_folder(tmp_path, "parent")
    worker = start()
    worker.assign(folder)
    wait_for((folder / "begun").exists)
    child = int((folder / "child").read_text())
    assert is_alive(child)
    worker.kill()

    wait_for(lambda: not is_alive(child))


def test_closing_the_pipe_ends_a_worker_that_waits(start):
    """
    That is how a worker notices that its supervisor died.
    """
    worker = start()
    worker.close()

    assert 0 == ended(worker)
    worker.close()


# spares.py


def test_of_each_kind_one_worker_waits(start):
    """
    A second one of a kind ends the first; another kind is left alone.
    """
    spares = WaitingWorkers()
    first, second, other = start(), start(), start("evaluation")
    for worker in (first, other, second):
        spares.keep(worker)

    assert -signal.SIGKILL == first.poll()
    assert [None, None] == [worker.poll() for worker in (second, other)]
    assert second is spares.take("training")
    assert ("training" in spares, "evaluation" in spares) == (False, True)


def test_a_worker_that_died_while_it_waited_is_not_handed_over(start):
    """
    Whoever asks starts a new one instead.
    """
    spares = WaitingWorkers()
    worker = start()
    spares.keep(worker)
    worker.kill()
    ended(worker)

    assert spares.take("training") is None
    assert not spares


def test_dismissing_all_returns_when_all_are_gone(start):
    """
    The next run needs their memory at once.
    """
    spares = WaitingWorkers()
    workers = [start(), start("evaluation"), start("ingestion")]
    for worker in workers:
        spares.keep(worker)
    spares.dismiss("training", "evaluation")

    assert [True, True, False] == [worker.poll() is not None for worker in workers]
    spares.dismiss()
    assert (True, False) == (workers[2].poll() is not None, bool(spares))


# orphans.py


@pytest.fixture
def orphan(tmp_path):
    """
    A process in its own group that names a run folder as a rank of a training does.
    """
    folder = run_folder(tmp_path, "", "r7")
    started = []

    def start(*arguments):
        process = subprocess.Popen([sys.executable, "-c", RANK, *arguments], start_new_session=True)
        started.append(process)
        return process, folder

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_rank_is_found_by_the_run_that_its_command_names(orphan, tmp_path):
    """
    Not the rank of another run, nor another program that names the folder.
    """
    rank, folder = orphan(launch.MODULES["training"], str(tmp_path / "r7"))
    orphan(launch.MODULES["training"], str(tmp_path / "r70"))
    orphan("tail", str(tmp_path / "r7"))

    assert [rank.pid] == [p.pid for p in wait_for(lambda: processes_of(folder))]


def test_an_orphan_that_stays_is_killed_with_its_ranks(orphan, tmp_path):
    """
    After its patience, by the pid and the start time that were recorded.
    """
    worker, folder = orphan()
    rank, _ = orphan(launch.MODULES["training"], str(folder))
    wait_for(lambda: processes_of(folder))

    assert end_orphan(folder, worker.pid, process_started(worker.pid), patience=0)
    assert -signal.SIGKILL == worker.wait(5)
    assert not is_alive(rank.pid)


def test_a_pid_that_belongs_to_another_process_by_now_is_left_alone(orphan):
    """
    After a restart of the machine the recorded pid may be anybody's.
    """
    stranger, folder = orphan()
    started = process_started(stranger.pid) - 60

    assert not end_orphan(folder, stranger.pid, started, patience=0.2)
    assert not end_orphan(folder, stranger.pid, None, patience=0.2)
    assert stranger.poll() is None


def test_a_worker_that_left_needs_no_kill(tmp_path):
    """
    Nothing recorded, no lock, no rank: the answer comes at the first look.
    """
    begun = time.monotonic()

    assert not end_orphan(tmp_path, None, None, patience=30)
    assert time.monotonic() - begun < 10


def test_a_run_whose_lock_is_held_is_waited_for(tmp_path):
    """
    The lock is the last thing that a worker gives back.
    """
    begun = time.monotonic()
    with FileLock(tmp_path / LOCK):
        assert not end_orphan(tmp_path, None, None, patience=0.2)

    assert time.monotonic() - begun >= 0.2


def test_a_process_that_is_gone_has_no_start(orphan):
    """
    None instead of an error, so that the journal can hold it.
    """
    process, _ = orphan()
    assert abs(process_started(process.pid) - time.time()) < 30
    process.kill()
    process.wait()

    assert process_started(process.pid) is None
