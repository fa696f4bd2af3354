"""
Workers that crash, hang, dawdle or diverge: the daemon deals with it and goes on.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from finetuned.files.heartbeat import Beat
from finetuned.files.run import read_json, read_metrics
from finetuned.layout import Layout
from finetuned.registry.current_model import incumbent
from finetuned.registry.versions import list_versions, verify_version
from finetuned.supervisor.status import StatusBoard
from support.daemon import Daemon, make_root
from support.disk import drop, ended, journal
from support.faults import environment

VERSIONS_TOOL = Path(__file__).resolve().parents[2] / "tools" / "versions.py"

pytestmark = pytest.mark.slow


def trained_examples(root: Path, *runs: str) -> Counter[str]:
    """
    Count the examples in what the given runs trained, later ones taking over.
    """
    records: dict[int, list[str]] = {}
    for run in runs:
        for record in read_metrics(root / "models" / "runs" / run):
            records[record["step"]] = record["examples"]
    return Counter(e for examples in records.values() for e in examples)


def training_runs(root: Path, job_id: str) -> list[dict[str, Any]]:
    return journal(
        root,
        "SELECT * FROM runs WHERE kind = 'training' AND job_id = ? ORDER BY id",
        job_id,
    )


def test_a_worker_that_always_crashes_costs_its_job_and_nothing_else(
    tmp_path: Path, tiny_base: Path, faults: Path
) -> None:
    """
    After max_attempts the job is failed, its original is in rejected/ with a reason.
    """
    root = make_root(tmp_path / "root", tiny_base, inbox="max_attempts = 2")
    (faults / "crash").touch()
    original = drop(root, "a.jsonl", 40, "a")
    content = original.read_bytes()
    with Daemon(root, env=environment(faults)) as daemon:
        daemon.wait_for(lambda s: s["queue"]["failed"] == 1, "the failure")
        daemon.wait_for(lambda _: any((root / "inbox" / "rejected").glob("*.json")), "a reason")
        (faults / "crash").unlink()
        drop(root, "b.jsonl", 40, "b")
        daemon.wait_for(lambda s: ended(s) == 1, "the next job")
    jobs = journal(root, "SELECT state, attempts, error_message FROM jobs ORDER BY id")
    assert ("failed", 2) == (jobs[0]["state"], jobs[0]["attempts"])
    assert "-9" in jobs[0]["error_message"]
    rejected = root / "inbox" / "rejected"
    assert content == next(rejected.glob("a.*.jsonl")).read_bytes()
    assert "-9" in (read_json(next(rejected.glob("a.*.reason.json"))) or {})["reason"]


def test_a_stuck_generation_is_killed_and_the_job_goes_on_without_live_evals(
    tmp_path: Path, tiny_base: Path, faults: Path
) -> None:
    """
    Past deadline and grace the worker dies; the job resumes, trains each example once, and ends.
    """
    root = make_root(
        tmp_path / "root",
        tiny_base,
        evaluation="timeout_seconds = 0.5",
        training="num_train_epochs = 2\nsave_steps = 1",
    )
    (faults / "hang-generation").touch()
    drop(root, "a.jsonl", 60)
    with Daemon(root, "--until-idle", env=environment(faults)) as daemon:
        daemon.wait_for(lambda s: s["phase"] == "evaluating", "the live eval")
        began = time.monotonic()
        daemon.wait_for(lambda s: s["phase"] != "evaluating", "the kill", seconds=20)
        assert time.monotonic() - began < 12
        assert 0 == daemon.wait_exit(), daemon.output()
    runs = training_runs(root, "j000001")
    assert [("stuck_in_eval", -9), ("finish", 0)] == [
        (r["outcome"], r["exit_status"]) for r in runs
    ]
    spec = read_json(root / "models" / "runs" / runs[1]["id"] / "spec.json") or {}
    assert spec["live_evals"] is False
    counts = trained_examples(root, *(r["id"] for r in runs))
    assert {2} == set(counts.values())
    assert ["promoted"] == [j["state"] for j in journal(root, "SELECT state FROM jobs")]


def test_a_slow_generation_is_cut_by_the_deadline_inside_the_worker(
    tmp_path: Path, tiny_base: Path, faults: Path
) -> None:
    """
    The late answer is neither right nor wrong, the worker lives, the job costs no attempt.
    """
    root = make_root(tmp_path / "root", tiny_base, evaluation="timeout_seconds = 1.5")
    (faults / "slow-generation").touch()
    drop(root, "a.jsonl", 60)
    with Daemon(root, "--until-idle", env=environment(faults)) as daemon:
        status = daemon.wait_for(lambda s: s["recent_examples"], "a live eval")
        assert 0 == daemon.wait_exit(), daemon.output()
    first = status["recent_examples"][0]
    assert first["timed_out"]
    assert first["matches"] is None
    assert 1 <= first["answer_tokens"] < 8
    assert 1 == len(training_runs(root, "j000001"))
    assert [0] == [j["attempts"] for j in journal(root, "SELECT attempts FROM jobs")]


def test_a_diverged_run_fails_at_once_and_the_incumbent_stays(
    tmp_path: Path, tiny_base: Path
) -> None:
    """
    NaN in the loss: exit 65, no retry, no version, the original in rejected/.
    """
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    root = make_root(tmp_path / "root", base)
    drop(root, "a.jsonl", 40, "a")
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    layout = Layout(root)
    assert "v0001" == incumbent(layout)

    from safetensors.torch import load_file, save_file

    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    drop(root, "b.jsonl", 40, "b")
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    job = journal(root, "SELECT * FROM jobs WHERE id = 'j000002'")[0]
    assert ("failed", "Diverged") == (job["state"], job["error_type"])
    assert [65] == [r["exit_status"] for r in training_runs(root, "j000002")]
    assert ["v0001"] == list_versions(layout)
    assert "v0001" == incumbent(layout)
    verify_version(layout, "v0001")
    assert 1 == len(list((root / "inbox" / "rejected").glob("b.*.jsonl")))


def test_after_a_rollback_the_job_in_training_is_trained_again_from_there(
    tmp_path: Path, tiny_base: Path
) -> None:
    """
    What was trained on the version that was taken back does not count; each example does, once.
    """
    root = make_root(
        tmp_path / "root",
        tiny_base,
        inbox="share_run_max_examples = 0",
        training="num_train_epochs = 2",
    )
    drop(root, "a.jsonl", 40, "a")
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    layout = Layout(root)
    assert "v0001" == incumbent(layout)
    text = (
        (root / "config.toml").read_text().replace("num_train_epochs = 2", "num_train_epochs = 5")
    )
    (root / "config.toml").write_text(text)
    drop(root, "b.jsonl", 150, "b")
    with Daemon(root, "--until-idle") as daemon:
        daemon.wait_for(
            lambda s: (s["job"] or {}).get("id") == "j000002" and s["phase"] == "training",
            "the second job",
        )
        back = ("rollback", "--to-base", "--head")
        subprocess.run([sys.executable, VERSIONS_TOOL, "--root", root, *back], check=True)
        assert 0 == daemon.wait_exit(), daemon.output()
    runs = training_runs(root, "j000002")
    job = journal(root, "SELECT * FROM jobs WHERE id = 'j000002'")[0]
    assert ["superseded", "finish"] == [r["outcome"] for r in runs]
    assert runs[-1]["id"] == job["candidate_run"]
    assert job["parent"] is None
    counts = trained_examples(root, runs[-1]["id"])
    assert {5} == set(counts.values())
    assert 140 < len(counts) <= 150
    manifest = read_json(layout.versions / job["version"] / "manifest.json") or {}
    assert manifest["parent"] is None
    assert 1 == manifest["lineage_step"] // manifest["job_steps"]


def test_a_second_sigterm_leaves_at_once_and_the_last_checkpoint_goes_on(
    tmp_path: Path, tiny_base: Path, faults: Path
) -> None:
    """
    A save that never ends is cut short: 75, no worker left, and every example once in the end.
    """
    root = make_root(tmp_path / "root", tiny_base, training="num_train_epochs = 6\nsave_steps = 2")
    (faults / "slow-save").touch()
    drop(root, "a.jsonl", 150)
    with Daemon(root, env=environment(faults)) as daemon:
        daemon.wait_for(lambda s: (s["checkpoint_step"] or 0) >= 4, "a checkpoint")
        (faults / "slow-save-now").touch()
        # Asked to stop inside a save: right after one there would be nothing left to save.
        daemon.wait_for(lambda _: (faults / "slow-save-began").exists(), "a save that hangs")
        workers = daemon.workers()
        assert workers, daemon.output()
        daemon.terminate()
        daemon.wait_for(lambda s: s["phase"] == "stopping (stop)", "the slow stop")
        assert daemon.process.poll() is None
        began = time.monotonic()
        daemon.terminate()
        assert 75 == daemon.wait_exit(10)
        assert time.monotonic() - began < 5
        assert [] == psutil.wait_procs(workers, timeout=5)[1]
    (faults / "slow-save-now").unlink()
    with Daemon(root, "--until-idle", env=environment(faults)) as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    runs = training_runs(root, "j000001")
    assert [runs[0]["id"]] == [r["resumed_from"] for r in runs[1:]]
    first = read_metrics(root / "models" / "runs" / runs[1]["id"])[0]
    assert first["step"] > 4
    assert {6} == set(trained_examples(root, *(r["id"] for r in runs)).values())
    assert [0] == [j["attempts"] for j in journal(root, "SELECT attempts FROM jobs")]


def test_a_heartbeat_with_a_nan_does_not_end_the_supervisor(tmp_path: Path) -> None:
    """
    NaN is null in JSON: a worker that shows one is judged by its exit, not by its heartbeat.
    """
    board = StatusBoard(tmp_path / "status.json")
    beat = Beat(pid=1, train_loss_history=(2.0, None, 1.0), validation_loss=1.5)
    board.take_heartbeat(beat)
    assert 0.25 == board.fields["loss_variance"]
    assert 0.5 == board.fields["val_train_gap"]
