"""
A journal that was lost, made again from what the versions say of themselves.
"""

from __future__ import annotations

from finetuned.core.job import JobKind, JobState
from finetuned.files.journal import Journal
from finetuned.files.model_manifest import ModelManifest
from finetuned.files.results import add_evals, eval_rows
from finetuned.files.run import utc_now


def restore_version(journal: Journal, version: str, manifest: ModelManifest) -> None:
    """
    Record a version, its job and its datasets from the version's own manifest.

    For a journal that is made again; what is recorded already is left alone.
    """
    job_id = manifest.job_id or f"job-of-{version}"
    verdict = manifest.verdict or "promoted"
    at = manifest.created_at or utc_now()
    kind = JobKind.CONSOLIDATION if manifest.consolidates else JobKind.TRAINING
    state = JobState.PROMOTED if verdict == "promoted" else JobState.REJECTED
    with journal.write():
        journal.db.execute(
            "INSERT OR IGNORE INTO versions (id, parent, job_id, run_id, verdict, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (version, manifest.parent, job_id, manifest.run_id, verdict, at),
        )
        journal.db.execute(
            "INSERT OR IGNORE INTO jobs (id, kind, priority, state, created_at, updated_at,"
            " version, parent, candidate_run, retired)"
            " VALUES (?, ?, 'normal', ?, ?, ?, ?, ?, ?, 1)",
            (job_id, kind, state, at, at, version, manifest.parent, manifest.run_id),
        )
        for i, dataset in enumerate(manifest.datasets):
            journal.db.execute(
                "INSERT OR IGNORE INTO trained VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    dataset.dataset_id,
                    manifest.run_id or "",
                    dataset.n_examples,
                    dataset.n_supervised_tokens,
                    manifest.job_steps,
                    at,
                ),
            )
            journal.db.execute(
                "INSERT OR IGNORE INTO datasets (key, name, inbox_path, priority, bytes,"
                " claimed_at, state, dataset_id, sha256, job_id)"
                " VALUES (?, ?, ?, 'normal', 0, ?, 'retired', ?, ?, ?)",
                (
                    f"{version}-{i:06d}",
                    dataset.name,
                    b"",
                    at,
                    dataset.dataset_id,
                    dataset.sha256,
                    job_id,
                ),
            )
        for name, number in (("job", job_id[1:]), ("run", (manifest.run_id or "")[1:])):
            if number.isdigit() and int(number) > int(journal.setting(f"last_{name}") or 0):
                journal.set_setting(f"last_{name}", number.lstrip("0") or "0")
    document = manifest.document
    rows = eval_rows(document.get("suites") or [], document.get("scores") or {})
    add_evals(journal, job_id, manifest.eval_run_id or f"evaluation-of-{version}", rows)
