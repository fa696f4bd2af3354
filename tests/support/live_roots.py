"""
Roots as the live page meets them: empty, training, paused, with a failed job, with 500 versions.

Journal, status, curves, report, incident and log are written as the daemon writes them; names
and numbers are made up, the same each time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from finetuned.core.books import RowCounts
from finetuned.core.job import JobEvent, JobState
from finetuned.core.run import RunKind
from finetuned.files.journal import Journal
from finetuned.files.run import utc_now
from finetuned.files.status_file import boot_id
from finetuned.files.tables.datasets import Claim
from finetuned.files.tables.jobs import JobFailure
from finetuned.files.tables.scores import Score
from finetuned.layout import MANIFEST, Layout, Priority
from finetuned.supervisor.status import DEFAULTS
from support.eval_reports import make_matrix
from support.journals import TO_EVALUATING

STATES = ("empty", "training", "paused", "failed", "500 versions")

TOPICS = ("dns", "users", "samba-shares", "backups", "firewall", "mail-queue", "certificates")
ACCEPT, HOLD, REJECT = JobEvent.ACCEPT, JobEvent.HOLD, JobEvent.REJECT
WHY = {
    ACCEPT: "gain: 8 answers got better and 1 got worse, of 40",
    HOLD: "no gain could be shown: 3 answers got better and 2 got worse, of 40; nothing it knew "
    "got worse",
    REJECT: "old_accuracy: accuracy on dns-01.jsonl fell from 85% to 62%; at most 2.5 points are "
    "allowed",
}
NEXT = "firewall-09.jsonl"
NO_MEMORY = (
    "the model needs 9.1 GiB and 4.0 GiB are free; set training.max_batch_tokens to 2048 or less"
)


def make_root(root: Path, state: str, *, pid: int | None = None) -> Layout:
    """
    Return a root in one of STATES.

    Args:
        root: Where it is made.
        state: Of STATES.
        pid: Of its daemon; None is the process of the test.
    """
    layout = Layout(root)
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    if state == "empty":
        return layout
    journal = Journal(layout.journal)
    with journal.together():
        names = list(_versions(journal, 500 if state == "500 versions" else 9))
        job = _next_job(journal, failed=state == "failed")
        in_use, head = journal.promotions.incumbent(), journal.heads.version()
    journal.close()
    _report(layout, names)
    _link(layout.current_model, layout.versions, in_use)
    _link(layout.head, layout.versions, head)
    _curves(layout.runs / "r000900")
    _incident(layout)
    _log(layout, job)
    fields = {"version": in_use, "head": head, "pid": pid or os.getpid()}
    write_status(layout, **fields, **_status(state, job))
    return layout


def write_status(layout: Layout, **fields: object) -> None:
    """
    Write the status of a daemon that wrote it just now.
    """
    now = {"boot_id": boot_id(), "heartbeat_at": utc_now()}
    layout.status_file.write_bytes(orjson.dumps({**DEFAULTS, **now, **fields}))


def _versions(journal: Journal, n: int) -> Iterator[str]:
    """Record *n* versions, each of one file, and yield the files' names."""
    dice = random.Random(7)
    pattern = (ACCEPT, ACCEPT, HOLD, ACCEPT, REJECT, ACCEPT, HOLD, ACCEPT, ACCEPT)
    for number in range(1, n + 1):
        key, name = f"d{number:08d}", f"{TOPICS[number % 7]}-{number:02d}.jsonl"
        refused = 3 if number % 4 == 0 else 0
        counts = RowCounts(100, refused, 20, 0, 80 - refused)
        journal.datasets.add([Claim(key, name, name.encode(), Priority.NORMAL, 41_500)])
        journal.datasets.accept(
            key,
            dataset_id=f"{number:016x}",
            sha256=f"{number:064x}",
            n_train=counts.to_train,
            n_heldout=20,
            counts=counts,
        )
        job = journal.jobs.add(Priority.NORMAL, [key])
        for event in TO_EVALUATING:
            journal.jobs.move(job, event)
        event, version = pattern[(number - 1) % 9], f"v{number:04d}"
        journal.scores.add(job, f"r{number:06d}", [_score(name, dice.randint(14, 20))])
        journal.conclude(
            job, event, version=version, parent=journal.heads.version(), reason=WHY[event]
        )
        yield name


def _score(name: str, right: int) -> Score:
    return Score(
        subject="candidate",
        version=None,
        suite=name.removesuffix(".jsonl"),
        origin="new",
        title=name,
        n_rows=20,
        n_asked=20,
        n_exact=right,
        n_correct=right,
        loss=0.31,
        complete=True,
        stop_rate=1.0,
        n_timed_out=0,
    )


def _next_job(journal: Journal, *, failed: bool) -> str:
    """Record a refused file, one that waits, and one that is trained or failed; return its job."""
    for key, name in (("d00000901", "notes.jsonl"), ("d00000902", "users-10.jsonl")):
        journal.datasets.add([Claim(key, name, b"x", Priority.NORMAL, 990)])
    journal.datasets.quarantine(
        "d00000901", "61 of 64 rows cannot be used: line 1: no messages, prompt or text"
    )
    journal.datasets.add([Claim("d00000903", NEXT, b"y", Priority.NORMAL, 54_000)])
    journal.datasets.accept(
        "d00000903",
        dataset_id="f" * 16,
        sha256="f" * 64,
        n_train=160,
        n_heldout=40,
        counts=RowCounts(200, 0, 40, 0, 160),
    )
    job = journal.jobs.add(Priority.NORMAL, ["d00000903"])
    journal.runs.add("r000900", RunKind.TRAINING, job_id=job)
    journal.jobs.move(job, JobEvent.START)
    if failed:
        why = JobFailure("OutOfMemory", NO_MEMORY, 3)
        assert journal.jobs.move(job, JobEvent.FAIL, failure=why).new is JobState.FAILED
    return job


def _link(link: Path, versions: Path, name: str | None) -> None:
    if name is not None:
        (versions / name).mkdir(exist_ok=True)
        (versions / name / MANIFEST).write_text("{}")
        link.symlink_to(versions / name)


def _report(layout: Layout, names: list[str]) -> None:
    folder = layout.versions / f"v{len(names):04d}"
    folder.mkdir()
    told = {"backward_transfer": -4.5, "matrix": make_matrix(names[-9:])}
    (folder / "eval_report.json").write_bytes(
        orjson.dumps({"schema_version": 2, "forgetting": told})
    )


def _curves(run: Path) -> None:
    dice = random.Random(3)
    run.mkdir(parents=True)
    train = [{"step": s, "loss": 2.4 / (1 + s / 60) + dice.uniform(0, 0.3)} for s in range(1, 413)]
    held = [{"step": s, "loss": 2.2 / (1 + s / 70) + 0.18} for s in range(0, 413, 50)]
    for name, rows in (("metrics.jsonl", train), ("evals.jsonl", held)):
        (run / name).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _incident(layout: Layout) -> None:
    layout.incidents.mkdir(parents=True, exist_ok=True)
    at = "2026-11-28T10:10:10Z"
    found = {"version": "v0002", "back_to": "v0001", "signal": "health", "promoted_at": at}
    found |= {"reason": "12 of 40 requests failed in the first 5 minutes", "taken_back_at": at}
    (layout.incidents / "20261128T101010Z-v0002.json").write_bytes(orjson.dumps(found))


def _log(layout: Layout, job: str) -> None:
    events: list[tuple[str, str, dict[str, object]]] = [
        ("info", "dataset_accepted", {"dataset_key": "d00000903", "train": 160, "heldout": 40}),
        ("info", "job_state_changed", {"job_id": job, "old": "queued", "new": "training"}),
        ("warning", "dataset_quarantined", {"dataset_key": "d00000901", "reason": "no messages"}),
        ("info", "checkpoint_saved", {"run_id": "r000900", "step": 400, "seconds": 0.4}),
        ("error", "incident", {"version": "v0002", "back_to": "v0001"}),
    ]
    lines = [
        {"timestamp": f"2026-11-29T01:{n // 60:02d}:{n % 60:02d}Z", "level": level, "event": name}
        | more
        for n in range(90)
        for level, name, more in [events[n % 5]]
    ]
    with (layout.logs / "supervisor.log").open("wb") as file:
        file.writelines(orjson.dumps(line) + b"\n" for line in lines)


def _status(state: str, job: str) -> dict[str, Any]:
    queue = dict.fromkeys(DEFAULTS["queue"], 0)
    queue |= {"inbox": 1, "claimed": 1, "promoted": 6, "held": 2, "rejected": 1, "quarantined": 1}
    common = {
        "queue": queue,
        "inbox_waiting": [{"name": "nightly.jsonl", "reason": "it is still being written"}],
        "host": _HOST,
        "gpus": [_GPU],
        "recent_examples": _EXAMPLES,
        "accuracy_history": _ACCURACY,
    }
    if state == "paused":
        return {**common, "phase": "paused", "paused_reason": "the GPU is needed"}
    if state == "failed":
        failure = {"error_type": "OutOfMemory", "error_message": NO_MEMORY}
        return {**common, **failure, "phase": "idle", "queue": {**queue, "failed": 1}}
    return {
        **common,
        "phase": "training",
        "job": {"id": job, "attempts": 0, "datasets": [NEXT], "n_datasets": 1},
        "batch_step": 412,
        "batch_total_steps": 1200,
        "eta_seconds": 1234.0,
        "loss": 0.412,
        "validation_loss": 0.51,
        "tokens_per_second": 1834.2,
        "seconds_per_step": 1.1,
        "total_evals": 60,
        "total_correct": 43,
        "checkpoint_step": 400,
    }


_ACCURACY = [round(100 * (0.2 + 0.6 * n / 40) + (n * 7) % 5 - 2, 1) for n in range(40)]
_HOST = {
    "cpu_pct": 88.1,
    "load_1m": 2.1,
    "memory_used_bytes": 5 << 30,
    "memory_total_bytes": 16 << 30,
    "disk_free_bytes": 123 << 30,
    "rss_bytes": 90 << 20,
    "worker_rss_bytes": 2 << 30,
}
_GPU = {
    "index": 0,
    "name": "NVIDIA H200",
    "utilisation_pct": 97,
    "memory_used_bytes": 60 << 30,
    "memory_total_bytes": 141 << 30,
    "temperature_celsius": 61,
    "power_watts": 512.3,
}


def _example(step: int, prompt: str, golden: str, answer: str) -> dict[str, object]:
    return {
        "step": step,
        "current_file": NEXT,
        "system_prompt": "",
        "prompt": prompt,
        "golden": golden,
        "model_output": answer,
        "matches": golden == answer,
        "loss": 1.0,
    }


_OPEN = '{"action": "open_port", "host": "web-3", "port": 443, "from": "10.0.0.0/8"}'
_CLOSE = '{"action": "close_port", "host": "db-1", "port": 5432}'
_EXAMPLES = [
    _example(350, "close 5432 on db-1", _CLOSE, _CLOSE),
    _example(400, "open https on web-3 to our network", _OPEN, _OPEN.replace("10.0.0.0/8", "any")),
]
