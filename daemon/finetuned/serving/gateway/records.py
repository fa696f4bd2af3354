"""
The parts of the live page on versions: lineage, forgetting and incidents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from finetuned.core.promotion import PromotionCause
from finetuned.files.journal_view import JournalView
from finetuned.reports.wording import finite
from finetuned.serving.gateway.snapshot import Forgetting, IncidentLine, VersionLine

MAX_MATRIX = 12
"""Rows and columns of the forgetting matrix, the newest."""


def versions(journal: JournalView) -> tuple[VersionLine, ...]:
    """
    Return every version, the newest first.
    """
    in_use, head = journal.promotions.incumbent(), journal.heads.version()
    jobs = {job.id: job for job in journal.jobs.in_states()}
    files: dict[str, list[str]] = defaultdict(list)
    for job_id, name in journal.jobs.file_names():
        files[job_id].append(name)
    back = taken_back(journal)
    return tuple(
        VersionLine(
            name=row.id,
            parent=row.parent,
            verdict=row.verdict,
            reason=(jobs[row.job_id].reason or "") if row.job_id in jobs else "",
            at=row.created_at,
            files=tuple(files[row.job_id or ""][:4]),
            in_use=row.id == in_use,
            head=row.id == head,
            taken_back=row.id in back,
        )
        for row in reversed(journal.versions.all())
    )


def taken_back(journal: JournalView) -> set[str]:
    """
    Return the versions that the watch took out of use.
    """
    found, before = set(), None
    for row in journal.promotions.all():
        if row.cause is PromotionCause.WATCH and before is not None:
            found.add(before)
        before = row.version
    return found


def forgetting(report: Mapping[str, Any]) -> Forgetting:
    """
    Return the newest part of the matrix of an eval report.
    """
    told = report.get("forgetting") or {}
    table = told.get("matrix") or {}
    rows = (table.get("rows") or [])[-MAX_MATRIX:]
    return Forgetting(
        tuple(str(row.get("version")) for row in rows),
        tuple(str(title) for title in (table.get("columns") or [])[-MAX_MATRIX:]),
        tuple(
            tuple(finite(value) for value in row[-MAX_MATRIX:])
            for row in (table.get("accuracy") or [])[-MAX_MATRIX:]
        ),
        finite(told.get("backward_transfer")),
    )


def incident(name: str, found: Mapping[str, object]) -> IncidentLine:
    """
    Return one report of logs/incidents/.
    """
    return IncidentLine(
        at=str(found.get("taken_back_at") or ""),
        version=str(found.get("version")),
        back_to=str(found.get("back_to") or "the base model"),
        reason=str(found.get("reason") or ""),
        file=f"logs/incidents/{name}",
    )
