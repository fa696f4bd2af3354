"""
One worker of each kind for many files: it stays after a good run, and leaves when it should.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file, save_file

from finetuned.evaluation.run import EvaluationRun
from finetuned.files.run import REPORT, read_exit, read_json
from finetuned.files.spec import EvaluationSpec, SubjectSpec, create_run, read_spec
from finetuned.process.lifeline import Lifeline
from support.daemon import Daemon, make_root
from support.disk import drop, ended, journal, log_events

TRAINING = "finetuned.training.worker"
EVALUATION = "finetuned.evaluation.worker"
KINDS = pytest.mark.parametrize(
    "module", [TRAINING, pytest.param(EVALUATION, marks=pytest.mark.long)]
)
ONE_JOB_PER_FILE = "share_run_max_examples = 0"

pytestmark = pytest.mark.slow


def runs_of(root: Path, module: str) -> list[dict[str, Any]]:
    kind = module.split(".")[1]
    return journal(root, "SELECT * FROM runs WHERE kind = ? ORDER BY id", kind)


def heartbeat_pids(root: Path, module: str = TRAINING, *, last: int = 0) -> list[int]:
    """
    Return which process did each run, or the *last* runs, as the process itself says.
    """
    folders = [root / "models" / "runs" / run["id"] for run in runs_of(root, module)[-last:]]
    return [(read_json(folder / "heartbeat.json") or {})["pid"] for folder in folders]


def workers_of(daemon: Daemon, module: str = TRAINING) -> list[psutil.Process]:
    return [w for w in daemon.workers() if module in w.cmdline()]


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


class Waiting:
    """
    A daemon whose two workers wait, each with one good run or more behind it.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.root = daemon.root
        self.jobs = 0
        self.train()

    def drop(self) -> None:
        """
        Drop one more file, with rows of its own.
        """
        self.jobs += 1
        drop(self.root, f"file{self.jobs}.jsonl", 30, f"file{self.jobs}")

    def judged(self) -> None:
        """
        Wait until every file is judged.
        """
        n = self.jobs
        self.daemon.wait_for(lambda s: ended(s) == n and s["job"] is None, f"job {n}", seconds=300)

    def train(self) -> None:
        self.drop()
        self.judged()

    def workers(self) -> list[int]:
        """
        Return how many workers of each kind there are.
        """
        return [len(workers_of(self.daemon, module)) for module in (TRAINING, EVALUATION)]


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[Waiting]:
    """
    One daemon for all tests that leave it as they found it: with a worker of each kind waiting.
    """
    root = make_root(tmp_path_factory.mktemp("waiting") / "root", tiny_base, inbox=ONE_JOB_PER_FILE)
    with Daemon(root) as daemon:
        yield Waiting(daemon)


def test_consecutive_files_share_one_process_of_each_kind(tmp_path: Path, tiny_base: Path) -> None:
    """
    The workers of the first file do the second; each run has its own output and last word.
    """
    root = make_root(tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE)
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        workers = [w for module in (TRAINING, EVALUATION) for w in workers_of(daemon, module)]
        train_one(daemon, "b", jobs=2)
        assert {w.pid for w in workers} == {w.pid for w in daemon.workers()}
        daemon.terminate()
        assert 0 == daemon.wait_exit()
        assert [] == psutil.wait_procs(workers, timeout=5)[1]
    for module, worker in zip((TRAINING, EVALUATION), workers, strict=True):
        assert [worker.pid] * 2 == heartbeat_pids(root, module)
        runs = runs_of(root, module)
        assert [worker.pid] * 2 == [r["pid"] for r in runs]
        assert [("finish", 0)] * 2 == [(r["outcome"], r["exit_status"]) for r in runs]
        for run in runs:
            folder = root / "models" / "runs" / run["id"]
            word = read_exit(folder)
            assert word is not None
            assert (0, True) == (word.status, word.stays)
            assert (folder / "output.log").exists()
    assert each_run_ended_once(root)
    ready = [e for e in log_events(root) if e["event"] == "training_ready"]
    assert [r["id"] for r in runs_of(root, TRAINING)] == [e["run_id"] for e in ready]
    first, second = (e["optimizer_state"] for e in ready)
    assert ("fresh: first job on the base model", "continued in memory from v0001") == (
        first,
        second,
    )
    for event in ready:
        assert event["kernels"].startswith("prefix=split")
        assert event["max_batch_tokens"] > 0


@pytest.mark.long
def test_the_first_evaluation_finds_its_worker_there(tmp_path: Path, tiny_base: Path) -> None:
    """
    It is started beside the last steps of the training, and not by the end of it.
    """
    root = make_root(tmp_path / "root", tiny_base, training="num_train_epochs = 8")
    with Daemon(root) as daemon:
        drop(root, "a.jsonl", 100, "a")
        daemon.wait_for(lambda _: workers_of(daemon, EVALUATION), "the evaluation's worker")
        (training,) = runs_of(root, TRAINING)
        assert read_exit(root / "models" / "runs" / training["id"]) is None
        (worker,) = workers_of(daemon, EVALUATION)
        daemon.wait_for(lambda s: ended(s) == 1 and s["job"] is None, "the verdict")
    assert [worker.pid] == heartbeat_pids(root, EVALUATION)


def test_what_is_measured_of_an_adapter_does_not_depend_on_the_one_before_it(
    tmp_path: Path, waiting: Waiting
) -> None:
    """
    Put in the place of another, it answers and scores bit for bit as when loaded by itself.
    """
    root = waiting.root
    run = runs_of(root, EVALUATION)[0]
    spec = read_spec(root / "models" / "runs" / run["id"], EvaluationSpec)
    assert spec.job is not None
    trained, other = root / "models" / "versions" / "v0001", tmp_path / "other"
    shutil.copytree(trained, other, ignore=shutil.ignore_patterns("manifest.json"))
    (other / "adapter_model.safetensors").unlink()  # it is read-only
    weights = load_file(trained / "adapter_model.safetensors")
    save_file({k: v * 3 + 0.05 for k, v in weights.items()}, other / "adapter_model.safetensors")
    measured: dict[tuple[str, str], list[Any]] = {}
    for order in ((trained, other), (other, trained)):
        folder = tmp_path / f"run-{order[0].name}"
        subjects = {
            name: SubjectSpec(base=spec.job.base.base, folder=path)
            for name, path in zip(("incumbent", "candidate"), order, strict=True)
        }
        create_run(folder, replace(spec, answers=tmp_path / f"{folder.name}.sqlite3", **subjects))
        EvaluationRun(folder, read_spec(folder, EvaluationSpec), Lifeline()).run()
        for subject, path in zip(("incumbent", "candidate"), order, strict=True):
            measured[subject, path.name] = [
                (item["id"], outcome["answer"], outcome["loss"])
                for item in (read_json(folder / REPORT) or {})["items"]
                for outcome in [item["outcomes"][subject]]
            ]
    for path in (trained, other):
        assert [] != measured["incumbent", path.name]
        assert measured["incumbent", path.name] == measured["candidate", path.name]
    assert measured["incumbent", trained.name] != measured["incumbent", other.name]


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
        (worker,) = workers_of(daemon)
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
    trained, judged = heartbeat_pids(root), heartbeat_pids(root, EVALUATION)
    assert 4 == len({*trained, *judged})
    word = read_exit(root / "models" / "runs" / runs_of(root, TRAINING)[0]["id"])
    assert word is not None
    assert (0, False) == (word.status, word.stays)
    recycled = [e["pid"] for e in log_events(root) if e["event"] == "worker_recycled"]
    assert [trained[0], judged[0], trained[1], judged[1]] == recycled


def test_a_pause_frees_the_device_of_a_worker_that_waits(waiting: Waiting) -> None:
    """
    Paused without a job: no process is left, and after resume files are trained again.
    """
    root, daemon = waiting.root, waiting.daemon
    assert [1, 1] == waiting.workers()
    (root / "control" / "pause").touch()
    daemon.wait_for(lambda s: s["phase"] == "paused", "pause")
    assert [] == daemon.workers()
    (root / "control" / "resume").touch()
    daemon.wait_for(lambda s: s["phase"] != "paused", "resume")
    waiting.train()
    assert 2 == len(set(heartbeat_pids(root, last=2)))


@KINDS
def test_a_worker_killed_while_it_waits_is_not_missed(waiting: Waiting, module: str) -> None:
    """
    The next job simply trains, without an attempt counted or an error shown.
    """
    root, daemon = waiting.root, waiting.daemon
    (worker,) = workers_of(daemon, module)
    worker.kill()
    waiting.train()
    assert daemon.status()["error_type"] is None
    assert ["finish"] * 2 == [r["outcome"] for r in runs_of(root, module)[-2:]]
    assert 2 == len(set(heartbeat_pids(root, module, last=2)))
    assert {0} == {j["attempts"] for j in journal(root, "SELECT attempts FROM jobs")}


@KINDS
def test_a_run_given_to_a_dying_worker_is_given_to_another(waiting: Waiting, module: str) -> None:
    """
    Stopped so that it cannot read, given a run, then killed: a fresh process does that run.
    """
    root, daemon = waiting.root, waiting.daemon
    runs, replaced = len(runs_of(root, module)), replacements(root)
    (worker,) = workers_of(daemon, module)
    worker.suspend()
    waiting.drop()
    state = "training" if module == TRAINING else "evaluating"
    daemon.wait_for(lambda s: s["queue"][state] == 1, "the next run")
    assert worker.pid == runs_of(root, module)[-1]["pid"]
    worker.kill()
    waiting.judged()
    assert runs + 1 == len(runs_of(root, module))
    assert heartbeat_pids(root, module, last=2) == [r["pid"] for r in runs_of(root, module)[-2:]]
    assert {0} == {j["attempts"] for j in journal(root, "SELECT attempts FROM jobs")}
    assert replaced + 1 == replacements(root)
    assert each_run_ended_once(root)


def replacements(root: Path) -> int:
    return len([e for e in log_events(root) if e["event"] == "worker_replaced"])


@pytest.mark.long
def test_waiting_workers_leave_with_their_supervisor(tmp_path: Path, tiny_base: Path) -> None:
    """
    SIGKILL of the supervisor: the end of their pipes ends them at once.

    It takes 0.1 s; the limit leaves room for a machine on which every core is taken.
    """
    root = make_root(tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE)
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        workers = daemon.workers()
        assert 2 == len(workers)
        os.kill(daemon.process.pid, signal.SIGKILL)
        began = time.monotonic()
        assert [] == psutil.wait_procs(workers, timeout=10)[1]
        assert time.monotonic() - began < 5.0
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    assert 1 == len(states(root))


@pytest.mark.long
def test_a_worker_is_let_go_after_its_time(tmp_path: Path, tiny_base: Path) -> None:
    """
    Memory goes back when no file comes for warm_worker_seconds.
    """
    root = make_root(
        tmp_path / "root", tiny_base, inbox=ONE_JOB_PER_FILE, supervisor="warm_worker_seconds = 2"
    )
    with Daemon(root) as daemon:
        train_one(daemon, "a", jobs=1)
        (worker,) = workers_of(daemon)
        assert [] == psutil.wait_procs([worker], timeout=10)[1]
        assert [] == daemon.workers()


@pytest.mark.long
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
    assert 4 == len({*heartbeat_pids(root), *heartbeat_pids(root, EVALUATION)})
