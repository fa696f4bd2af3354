"""
The pages of one version and of one dropped file: what they say, from the journal.
"""

from __future__ import annotations

from finetuned.files.dataset_result import report_of
from finetuned.files.journal_view import JournalView
from finetuned.layout import Layout
from finetuned.reports.wording import moment
from finetuned.serving.gateway import dropped, records

MAX_REJECTS = 50


def version_values(layout: Layout, journal: JournalView, name: str) -> dict[str, object] | None:
    """
    Return what the page of version *name* shows, None if the journal knows none.
    """
    known = records.versions(journal)
    found = next((v for v in known if v.name == name), None)
    if found is None:
        return None
    job = next(v.job_id for v in journal.versions.all() if v.id == name)
    own = journal.datasets.of_job(job) if job else []
    before = journal.versions.lineage(found.parent)
    return {
        "v": found,
        "children": [v.name for v in known if v.parent == name],
        "own": [dropped.file_row(layout, row, journal.jobs.of_dataset(row.key)) for row in own],
        "inherited": [d.name for d in journal.datasets.learnt_by(before)],
        "scores": journal.scores.of_version(name),
    }


def dataset_values(layout: Layout, journal: JournalView, key: str) -> dict[str, object] | None:
    """
    Return what the page of dropped file *key* shows, None if the journal knows none.
    """
    row = journal.datasets.get(key)
    if row is None:
        return None
    report, jobs = report_of(layout, row) or {}, journal.jobs.of_dataset(key)
    listed = report.get("first_rejects")
    rejects = [r for r in listed if isinstance(r, dict)] if isinstance(listed, list) else []
    facts = [
        ("dropped", moment(row.claimed_at)),
        ("bytes", f"{row.bytes:,}"),
        ("priority", str(row.priority)),
    ]
    if row.sha256:
        facts.append(("sha256", row.sha256))
    if row.final_path:
        facts.append(("original", row.final_path))
    return {
        "f": dropped.file_row(layout, row, jobs),
        "facts": facts,
        "jobs": jobs,
        "rejects": [
            {"line": r.get("line"), "reason": r.get("reason") or "", "code": r.get("code") or ""}
            for r in rejects[:MAX_REJECTS]
        ],
    }
