"""
A journal that was lost, made again from what the versions say of themselves.
"""

from __future__ import annotations

from typing import Any

from finetuned.core.job import JobKind, JobState
from finetuned.files.journal import Journal
from finetuned.files.results import add_evals, eval_rows
from finetuned.files.run import utc_now


def restore_version(journal: Journal, version: str, manifest: dict[str, Any]) -> None:
    """
    Record a version, its job and its datasets from the version's own manifest.

    For a journal that is made again; what is recorded already is left alone.
    """
    job_id = manifest.get("job_id") or f"job-of-{version}"
    verdict = manifest.get("verdict") or "promoted"
    at = manifest.get("created_at") or utc_now()
    kind = JobKind.CONSOLIDATION if manifest.get("consolidates") else JobKind.TRAINING
    state = JobState.PROMOTED if verdict == "promoted" else JobState.REJECTED
    with journal.write():
        journal.db.execute(
            "INSERT OR IGNORE INTO versions (id, parent, job_id, run_id, verdict, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (version, manifest.get("parent"), job_id, manifest.get("run_id"), verdict, at),
        )
        journal.db.execute(
            "INSERT OR IGNORE INTO jobs (id, kind, priority, state, created_at, updated_at,"
            " version, parent, candidate_run, retired)"
            " VALUES (?, ?, 'normal', ?, ?, ?, ?, ?, ?, 1)",
            (job_id, kind, state, at, at, version, manifest.get("parent"), manifest.get("run_id")),
        )
        for i, dataset in enumerate(manifest.get("datasets") or []):
            journal.db.execute(
                "INSERT OR IGNORE INTO trained VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    dataset["dataset_id"],
                    manifest.get("run_id") or "",
                    dataset.get("n_examples", 0),
                    dataset.get("n_supervised_tokens", 0),
                    manifest.get("job_steps", 0),
                    at,
                ),
            )
            journal.db.execute(
                "INSERT OR IGNORE INTO datasets (key, name, inbox_path, priority, bytes,"
                " claimed_at, state, dataset_id, sha256, job_id)"
                " VALUES (?, ?, ?, 'normal', 0, ?, 'retired', ?, ?, ?)",
                (
                    f"{version}-{i:06d}",
                    dataset.get("name", ""),
                    b"",
                    at,
                    dataset["dataset_id"],
                    dataset.get("sha256"),
                    job_id,
                ),
            )
        for name, number in (("job", job_id[1:]), ("run", (manifest.get("run_id") or "")[1:])):
            if number.isdigit() and int(number) > int(journal.setting(f"last_{name}") or 0):
                journal.set_setting(f"last_{name}", number.lstrip("0") or "0")
    rows = eval_rows(manifest.get("suites") or [], manifest.get("scores") or {})
    add_evals(journal, job_id, manifest.get("eval_run_id") or f"evaluation-of-{version}", rows)
