"""
One training worker for many files: it stays after a good run, and leaves when it should.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from finetuned.files.run import read_exit, read_json
from support.daemon import Daemon, make_root
from support.disk import drop, ended, journal, log_events

TRAINING = "finetuned.training.worker"
ONE_JOB_PER_FILE = "share_run_max_examples = 0"

pytestmark = pytest.mark.slow


def training_runs(root: Path) -> list[dict[str, Any]]:
    return journal(root, "SELECT * FROM runs WHERE kind = 'training' ORDER BY id")


def heartbeat_pids(root: Path) -> list[int]:
    """
    Return which process trained each run, as the process itself says.
    """
    folders = [root / "models" / "runs" / run["id"] for run in training_runs(root)]
    return [(read_json(folder / "heartbeat.json") or {})["pid"] for folder in folders]


def training_workers(daemon: Daemon) -> list[psutil.Process]:
    return [w for w in daemon.workers() if TRAINING in w.cmdline()]


def train_one(daemon: Daemon, name: str, *, jobs: int, n: int = 30) -> None:
    """
    Drop a file and wait until *jobs* jobs in all are judged.
    """
    drop(daemon.root, f"{name}.jsonl", n, name)
    daemon.wait_for(lambda s: ended(s) == jobs and s["job"] is None, f"job {jobs}")


def states(root: Path) -> list[str]:
    return [job["state"] for job in journal(root, "SELECT state FROM jobs ORDER BY id")]


def each_run_ended_once(root: Path) -> bool:
    ends = [e["run_id"] for e in log_events(root) if e["event"] == "run_ended"]
    return len(ends) == len(set(ends))


def test_consecutive_files_train_in_one_process(tmp_path: Path, tiny_base: Path) -> None:
    """
    The worker of the first file does the second; each run has its own output and last word.
    """
    root = make_root(tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE)
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        (worker,) = training_workers(daemon)
        train_one(daemon, "b", jobs=2)
        assert [worker.pid] == [w.pid for w in training_workers(daemon)]
        daemon.terminate()
        assert 0 == daemon.wait_exit()
        assert [] == psutil.wait_procs([worker], timeout=5)[1]
    assert [worker.pid] * 2 == heartbeat_pids(root)
    runs = training_runs(root)
    assert [worker.pid] * 2 == [r["pid"] for r in runs]
    assert [("finish", 0)] * 2 == [(r["outcome"], r["exit_status"]) for r in runs]
    for run in runs:
        folder = root / "models" / "runs" / run["id"]
        word = read_exit(folder)
        assert word is not None
        assert (0, True) == (word.status, word.stays)
        assert (folder / "output.log").exists()
    assert each_run_ended_once(root)


def test_after_a_fault_the_next_file_gets_a_fresh_process(tmp_path: Path, tiny_base: Path) -> None:
    """
    What a crash left in memory is not trained on: its job goes on in another process.
    """
    root = make_root(
        tmp_path / "root",
        tiny_base,
        inbox=ONE_JOB_PER_FILE,
        training="num_train_epochs = 4\nsave_steps = 2",
    )
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        drop(root, "b.jsonl", 100, "b")
        daemon.wait_for(
            lambda s: (s["job"] or {}).get("id") == "j000002" and s["batch_step"] >= 3, "step 3"
        )
        (worker,) = training_workers(daemon)
        worker.kill()
        daemon.wait_for(lambda s: ended(s) == 2 and s["job"] is None, "the second job")
    pids = heartbeat_pids(root)
    assert pids[0] == pids[1]
    assert pids[1] != pids[2]
    assert [0, 1] == [j["attempts"] for j in journal(root, "SELECT attempts FROM jobs")]
    assert each_run_ended_once(root)


def test_a_worker_that_grew_is_replaced(tmp_path: Path, tiny_base: Path) -> None:
    """
    Over its limit it leaves after the run, with 0, and the next file has a fresh process.
    """
    root = make_root(
        tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE, supervisor="worker_growth = 0.01"
    )
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        train_one(daemon, "b", jobs=2)
    pids = heartbeat_pids(root)
    assert 2 == len(set(pids))
    word = read_exit(root / "models" / "runs" / training_runs(root)[0]["id"])
    assert word is not None
    assert (0, False) == (word.status, word.stays)
    recycled = [e["pid"] for e in log_events(root) if e["event"] == "worker_recycled"]
    assert pids == recycled


def test_a_pause_frees_the_device_of_a_worker_that_waits(tmp_path: Path, tiny_base: Path) -> None:
    """
    Paused without a job: no process is left, and after resume files are trained again.
    """
    root = make_root(tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE)
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        assert 1 == len(training_workers(daemon))
        (root / "control" / "pause").touch()
        daemon.wait_for(lambda s: s["phase"] == "paused", "pause")
        assert [] == daemon.workers()
        (root / "control" / "resume").touch()
        daemon.wait_for(lambda s: s["phase"] != "paused", "resume")
        train_one(daemon, "b", jobs=2)
    assert 2 == len(set(heartbeat_pids(root)))


def test_a_worker_killed_while_it_waits_is_not_missed(tmp_path: Path, tiny_base: Path) -> None:
    """
    The next job simply trains, without an attempt counted or an error shown.
    """
    root = make_root(tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE)
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        (worker,) = training_workers(daemon)
        worker.kill()
        train_one(daemon, "b", jobs=2)
        assert daemon.status()["error_type"] is None
    assert ["finish"] * 2 == [r["outcome"] for r in training_runs(root)]
    assert [0, 0] == [j["attempts"] for j in journal(root, "SELECT attempts FROM jobs")]


def test_a_run_given_to_a_dying_worker_is_given_to_another(tmp_path: Path, tiny_base: Path) -> None:
    """
    Stopped so that it cannot read, given a run, then killed: a fresh process does that run.
    """
    root = make_root(tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE)
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        (worker,) = training_workers(daemon)
        worker.suspend()
        drop(root, "b.jsonl", 30, "b")
        daemon.wait_for(lambda s: s["queue"]["training"] == 1, "the second run")
        assert worker.pid == training_runs(root)[1]["pid"]
        worker.kill()
        daemon.wait_for(lambda s: ended(s) == 2 and s["job"] is None, "the second job")
    runs = training_runs(root)
    assert 2 == len(runs)
    assert heartbeat_pids(root) == [r["pid"] for r in runs]
    assert [0, 0] == [j["attempts"] for j in journal(root, "SELECT attempts FROM jobs")]
    assert 1 == len([e for e in log_events(root) if e["event"] == "worker_replaced"])
    assert each_run_ended_once(root)


def test_a_waiting_worker_leaves_with_its_supervisor(tmp_path: Path, tiny_base: Path) -> None:
    """
    SIGKILL of the supervisor: the end of the pipe ends the worker at once.

    It takes 0.1 s; the limit leaves room for a machine on which every core is taken.
    """
    root = make_root(tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE)
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        (worker,) = training_workers(daemon)
        os.kill(daemon.process.pid, signal.SIGKILL)
        began = time.monotonic()
        assert [] == psutil.wait_procs([worker], timeout=10)[1]
        assert time.monotonic() - began < 5.0
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    assert 1 == len(states(root))


def test_a_worker_is_let_go_after_its_time(tmp_path: Path, tiny_base: Path) -> None:
    """
    Memory goes back when no file comes for warm_worker_seconds.
    """
    root = make_root(
        tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE, supervisor="warm_worker_seconds = 2"
    )
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        (worker,) = training_workers(daemon)
        assert [] == psutil.wait_procs([worker], timeout=10)[1]
        assert [] == daemon.workers()


def test_no_worker_is_kept_where_none_is_wanted(tmp_path: Path, tiny_base: Path) -> None:
    """
    warm_worker_seconds = 0: every run has its own process, which leaves with the run.
    """
    root = make_root(
        tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE, supervisor="warm_worker_seconds = 0"
    )
    for name in ("a", "b"):
        drop(root, f"{name}.jsonl", 30, name)
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    assert 2 == len(set(heartbeat_pids(root)))
