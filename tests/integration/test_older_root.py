"""
A root of an earlier version of this program is opened and goes on where it was killed.

``tests/data/root_of_schema_2.tar.xz`` was made by the daemon of commit 51481f8, whose journal is
of schema 2, as a person would have made it: ``make_root`` of support.daemon with r = 2,
lora_alpha = 4, save_steps = 7, on ``make_tiny_base(hidden=16)``, which lies inside. Two files
were trained, one promoted (v0001) and one, with on_equal = "reject", rejected (v0002); a copy
and a broken file were dropped, a pause ordered and ended. Then, while accelerate_config named a
file that is missing, a job was made that could not start (j000003), a file came into low/ that
has no job yet, and one into high/ whose job (j000004) was trained once the configuration was
mended. In the middle of that, some steps after a checkpoint, supervisor and worker got SIGKILL,
and one more file was put into inbox/. So nearly all of the journal is in its WAL, a job is live
and its run has no end. All paths in it are of /tmp/finetuned-root-51481f8, which is not there.

A later schema keeps this file and its test, and gets a file of its own. What is looked at is
what an older root and its owner know: folders, JSON and tables, none of our classes.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.daemon import Daemon
from support.disk import journal

PACKED = Path(__file__).resolve().parents[1] / "data" / "root_of_schema_2.tar.xz"
KILLED, QUEUED = "j000004", "j000003"
PAST = {
    "versions": "SELECT id, parent, job_id, run_id, verdict, created_at FROM versions",
    "promotions": "SELECT seq, version, cause, at FROM promotions",
    "trained": "SELECT * FROM trained",
    "evals": "SELECT job_id, run_id, subject, suite, n_asked, n_correct, loss, at FROM evals",
    "commands": "SELECT id, command, reason, obeyed_at, outcome FROM commands",
    "ended runs": "SELECT id, kind, job_id, started_at, ended_at, outcome FROM runs"
    " WHERE ended_at IS NOT NULL",
}
"""What is history when a root is opened, and stays as it is."""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Before:
    """
    What the root was when it was unpacked.
    """

    past: dict[str, list[dict[str, Any]]]
    states: dict[str, str]
    manifests: dict[str, bytes]
    killed_run: str
    metrics: list[dict[str, Any]]
    checkpoint: int
    """Steps of the killed job in its last checkpoint."""


def metrics(root: Path, run: str) -> list[dict[str, Any]]:
    text = (root / "models" / "runs" / run / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def training_runs(root: Path, job_id: str) -> list[dict[str, Any]]:
    sql = "SELECT * FROM runs WHERE kind = 'training' AND job_id = ? ORDER BY id"
    return journal(root, sql, job_id)


def read_before(root: Path) -> Before:
    (run,) = training_runs(root, KILLED)
    saved = (root / "models" / "runs" / run["id"] / "checkpoints").glob("checkpoint-*")
    return Before(
        past={name: journal(root, sql) for name, sql in PAST.items()},
        states={row["id"]: row["state"] for row in journal(root, "SELECT id, state FROM jobs")},
        manifests={
            path.parent.name: path.read_bytes()
            for path in (root / "models" / "versions").glob("*/manifest.json")
        },
        killed_run=run["id"],
        metrics=metrics(root, run["id"]),
        checkpoint=max(int(path.name.rpartition("-")[2]) for path in saved),
    )


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Before]:
    """
    The root after the daemon of today worked on it until nothing was left, and what it was.
    """
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(PACKED) as packed:
        packed.extractall(folder, filter="tar")  # "data" would make read-only files writable
    root = folder / "root"
    before = read_before(root)
    assert (root / "models" / "journal.sqlite3-wal").stat().st_size, "reading emptied the WAL"
    with Daemon(root, "--until-idle") as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    return root, before


def test_every_job_of_an_older_root_comes_to_its_end(opened: tuple[Path, Before]) -> None:
    """
    Live, queued, without a job and not even claimed: each file is trained and judged.
    """
    root, before = opened
    judged = {"promoted", "held", "rejected"}
    jobs = {row["id"]: row for row in journal(root, "SELECT * FROM jobs")}

    assert {"training", "queued"} == set(before.states.values()) - judged
    assert judged >= {row["state"] for row in jobs.values()}
    assert len(before.states) + 2 == len(jobs)
    for job_id, state in before.states.items():
        if state in judged:
            assert state == jobs[job_id]["state"]
    assert {0} == {row["attempts"] for row in jobs.values()}
    assert [] == journal(root, "SELECT id FROM runs WHERE ended_at IS NULL")


def test_a_job_killed_under_an_older_version_starts_again_from_its_parent(
    opened: tuple[Path, Before],
) -> None:
    """
    Earlier files are rehearsed otherwise now, so its steps are of another plan, and it says so.

    What the killed run made is not in the version: each example once.
    """
    root, before = opened
    first, second = training_runs(root, KILLED)
    again = metrics(root, second["id"])
    heartbeat = json.loads(
        (root / "models" / "runs" / second["id"] / "heartbeat.json").read_bytes()
    )

    assert 0 < before.checkpoint < before.metrics[-1]["step"]
    assert before.killed_run == first["id"] == second["resumed_from"]
    assert (
        f"continued from v0001; checkpoint-{before.checkpoint} is of another plan: "
        "the job starts again"
    ) == heartbeat["optimizer_state"]
    steps = [record["step"] for record in again]
    assert list(range(1, steps[-1] + 1)) == steps

    counts = Counter(example for record in again for example in record["examples"])
    (trained,) = journal(root, "SELECT * FROM trained WHERE job_id = ?", KILLED)
    (dataset,) = journal(root, "SELECT * FROM datasets WHERE job_id = ?", KILLED)
    assert {1} == set(counts.values())
    assert dataset["n_train"] == len(counts) == trained["n_examples"]
    assert steps[-1] == trained["optimizer_steps"]


def test_moments_and_schedule_of_an_older_lineage_go_on(opened: tuple[Path, Before]) -> None:
    """
    Optimizer steps add up over versions of the program as they do over files.
    """
    root, _ = opened
    (start,) = journal(root, "SELECT optimizer_steps FROM trained WHERE job_id = 'j000001'")
    total = start["optimizer_steps"]
    (last,) = training_runs(root, QUEUED)
    for run in (training_runs(root, KILLED)[-1], last):
        ended = metrics(root, run["id"])[-1]
        total += ended["step"]
        assert total == ended["lineage_step"]

    state = root / "models" / "runs" / last["id"] / "heartbeat.json"
    parent = journal(root, "SELECT parent FROM jobs WHERE id = ?", QUEUED)[0]["parent"]
    said = json.loads(state.read_bytes())["optimizer_state"]
    assert said.startswith("continued")
    assert said.endswith(f"from {parent}")


def test_what_was_said_before_stays_said(opened: tuple[Path, Before]) -> None:
    """
    Verdicts, promotions, evaluations and orders of before are in the journal unchanged.
    """
    root, before = opened

    for name, sql in PAST.items():
        now = journal(root, sql)
        assert before.past[name]
        # A later schema may have more columns, and none of them says anything else of before.
        known = before.past[name][0].keys()
        kept = [{key: row[key] for key in known} for row in now]
        assert [] == [row for row in before.past[name] if row not in kept], name


def test_versions_of_an_older_root_stay_and_are_whole(opened: tuple[Path, Before]) -> None:
    """
    Not a byte of a version or its manifest is changed, and the new ones stand on them.
    """
    root, before = opened
    versions = root / "models" / "versions"
    assert {"v0001", "v0002"} == before.manifests.keys()
    for name, manifest in before.manifests.items():
        assert manifest == (versions / name / "manifest.json").read_bytes()

    listed = {row["id"]: row for row in journal(root, "SELECT * FROM versions")}
    assert listed.keys() == {path.name for path in versions.iterdir()}
    for folder in (*versions.iterdir(), *(root / "models" / "backups").iterdir()):
        files = json.loads((folder / "manifest.json").read_bytes())["files"]
        found = {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file() and path.name != "manifest.json"
        }
        assert {name: entry["sha256"] for name, entry in files.items()} == found

    job = journal(root, "SELECT version, parent FROM jobs WHERE id = ?", KILLED)[0]
    assert "v0001" == job["parent"] == listed[job["version"]]["parent"]


def test_current_model_follows_the_last_promotion(opened: tuple[Path, Before]) -> None:
    """
    The link names a version that is there, the one that the journal decided on.
    """
    root, _ = opened
    (last,) = journal(root, "SELECT version FROM promotions ORDER BY seq DESC LIMIT 1")

    current = (root / "current_model").resolve(strict=True)
    assert (root / "models" / "versions" / last["version"]).resolve() == current
    assert (current / "adapter_model.safetensors").is_file()
    assert (current / "eval_report.json").is_file()


def test_every_original_of_an_older_root_ends_in_its_last_place(
    opened: tuple[Path, Before],
) -> None:
    """
    What was dropped under either version lies in done/ byte for byte; what was refused stays so.
    """
    root, _ = opened
    rows = {row["name"]: row for row in journal(root, "SELECT * FROM datasets")}

    trained = ("first", "second", "queued", "interrupted", "later", "waiting")
    assert {f"{name}.jsonl" for name in (*trained, "copy", "broken")} == rows.keys()
    for row in rows.values():
        original = root / row["final_path"]
        refused = row["name"] == "broken.jsonl"
        assert root / "inbox" / ("rejected" if refused else "done") == original.parent
        assert row["bytes"] == original.stat().st_size
        if not refused:
            assert row["sha256"] == hashlib.sha256(original.read_bytes()).hexdigest()
    assert {"retired"} == {rows[f"{name}.jsonl"]["state"] for name in trained}
    left = [path for path in (root / "inbox").rglob("*.jsonl") if path.parent.name != "done"]
    assert ["rejected"] == sorted({path.parent.name for path in left})
    assert [] == list((root / "inbox" / "processing").iterdir())


def test_the_books_of_an_older_root_balance(opened: tuple[Path, Before]) -> None:
    """
    Rows that an older version read are counted from its reports: no file is without a count.
    """
    root, _ = opened
    status = json.loads((root / "status" / "training_status.json").read_bytes())
    books = status["books"]
    words = ("learnt", "held_out", "refused", "not_learnt", "duplicate", "waiting")

    assert (True, 0, 0) == (books["balanced"], books["uncounted_files"], books["waiting"])
    assert 0 < books["dropped"] == sum(books[word] for word in words)
    assert 8 == sum(books["files"].values())
    assert (1, 1) == (books["files"]["refused"], books["files"]["duplicate"])
