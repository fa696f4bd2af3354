"""
The facts of a day, read from the journal, the run folders, the reports and the incidents.

Only reads. A part that cannot be read is named among the facts and never stops the report: it is
needed most when something is wrong.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from finetuned.config import CostsConfig
from finetuned.core.books import Fate
from finetuned.core.daily import (
    DailyFacts,
    DecisionFact,
    DiskFact,
    DriftFact,
    FileFact,
    ForgettingFact,
    IncidentFact,
    ServiceFact,
    UndeliveredFact,
    WorthFact,
)
from finetuned.core.delivery import DeliveryState
from finetuned.core.job import FINAL_STATES
from finetuned.errors import FinetunedError
from finetuned.files.feedback_counts import count_feedback
from finetuned.files.health import read_health
from finetuned.files.journal_view import JournalView
from finetuned.files.run import REPORT, read_json
from finetuned.files.status_file import DaemonState, presence, read_status
from finetuned.files.tables.books import Entry
from finetuned.layout import Layout
from finetuned.reports.attention import in_the_way
from finetuned.reports.daily.jobs import job_fact, suite_facts
from finetuned.reports.daily.worth import cost_facts, file_worths
from finetuned.reports.drift.look import look
from finetuned.reports.drift.words import sentence
from finetuned.reports.local_days import begin_of
from finetuned.reports.wording import finite

T = TypeVar("T")

DISASTERS = (OSError, sqlite3.Error, FinetunedError, ValueError, KeyError, TypeError)
"""What reading a part may end with, on a damaged root or one of another version."""

COUNT_SECONDS = 5.0
"""Longest time that counting verdicts may take."""

DRIFT_DAYS = 7
"""Days up to the last one of a report in which drift is looked for."""

GONE = "the daemon is gone and did not say that it ends; nothing is trained until it runs"


def collect(
    layout: Layout,
    first: date,
    last: date,
    *,
    now: datetime,
    reserve_bytes: int,
    to: Collection[str] = (),
    prices: CostsConfig,
) -> DailyFacts:
    """
    Return the facts of the local days *first* to *last*.

    What holds now (the disk, what stands in the way, what is not delivered) is left out of a
    report of days before yesterday.

    Args:
        layout: The root.
        first: Local date.
        last: Likewise, included.
        now: Local wall clock, without a time zone.
        reserve_bytes: Free disk space below which nothing new is started.
        to: Names of ``report.to``.
        prices: What things cost.

    Raises:
        FileNotFoundError: There is no journal yet.
        ConfigError, ModelError, sqlite3.OperationalError: It cannot be read.
    """
    begin, end = begin_of(first), begin_of(last + timedelta(days=1))
    unread: list[str] = []

    def part(name: str, read: Callable[[], T], nothing: T, *, wanted: bool = True) -> T:
        try:
            return read() if wanted else nothing
        except DISASTERS as error:
            unread.append(f"{name} could not be read: {type(error).__name__}: {error}")
            return nothing

    with closing(JournalView(layout.journal)) as journal:
        head, recent = journal.heads.version(), last >= now.date() - timedelta(days=1)
        before, release = journal.days.in_use_at(begin), journal.days.in_use_at(end)
        entries = journal.books.entries(journal.versions.lineage(head))
        jobs = journal.days.ended(begin, end)
        dropped = [e for e in entries if begin <= e.dataset.claimed_at < end]
        keys = {entry.dataset.key for entry in dropped}
        none: dict[str, WorthFact] = {}
        worth = part(
            "what files were worth", lambda: file_worths(layout, journal, prices, keys), none
        )
        return DailyFacts(
            first=first,
            last=last,
            made_at=now,
            root=layout.root.resolve().name,
            files=tuple(file_fact(entry, worth.get(entry.dataset.key)) for entry in dropped),
            jobs=tuple(job_fact(layout, journal, job) for job in jobs),
            queued=sum(job.state not in FINAL_STATES for job in journal.jobs.in_states()),
            suites=part("scores", lambda: suite_facts(journal, release, before), ()),
            release_before=before,
            release=release,
            head=head,
            decisions=tuple(
                DecisionFact(row.at, row.version, row.cause)
                for row in journal.days.decisions(begin, end)
            ),
            incidents=part("incidents", lambda: _incidents(layout.incidents, begin, end), ()),
            rejected_in_a_row=part(
                "verdicts", lambda: journal.counts(seconds=COUNT_SECONDS).rejected_in_a_row, 0
            ),
            unlearnt_files=sum(entry.fate is Fate.NOT_LEARNT for entry in entries),
            forgetting=part("forgetting", lambda: _forgetting(layout, journal, head), None),
            service=part("service", lambda: _service(layout, begin, end), None),
            disk=part("disk", lambda: _disk(layout.models, reserve_bytes), None, wanted=recent),
            gpu_pct=part("GPU use", lambda: journal.device_use.mean(begin, end), None),
            attention=part("status", lambda: _attention(layout), (), wanted=recent),
            undelivered=part("deliveries", lambda: _undelivered(journal, to), (), wanted=recent),
            drift=part("drift", lambda: _drift(layout, journal, first, last), (), wanted=recent),
            costs=part("costs", lambda: cost_facts(journal, prices, begin, end), ()),
            unread=tuple(unread),
        )


def file_fact(entry: Entry, worth: WorthFact | None = None) -> FileFact:
    """
    Return what became of one file.
    """
    row, job = entry.dataset, entry.job
    reason = row.reason
    if reason is None and entry.fate is Fate.NOT_LEARNT and job is not None:
        reason = job.reason or job.error_message
    return FileFact(
        key=row.key,
        name=row.name,
        rows=row.n_rows,
        refused=row.n_refused or 0,
        fate=entry.fate,
        version=entry.learnt_by,
        reason=reason,
        worth=worth,
    )


def _incidents(folder: Path, begin: str, end: str) -> tuple[IncidentFact, ...]:
    found = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        told = read_json(path)
        at = str((told or {}).get("taken_back_at", ""))
        if told is not None and begin <= at < end:
            found.append(
                IncidentFact(str(told["version"]), told.get("back_to"), str(told["reason"]), at)
            )
    return tuple(found)


def _forgetting(layout: Layout, journal: JournalView, head: str | None) -> ForgettingFact | None:
    told = None if head is None else read_json(layout.versions / head / REPORT)
    found = (told or {}).get("forgetting")
    if head is None or not isinstance(found, dict):
        return None
    transfer, worst = finite(found.get("backward_transfer")), found.get("worst_drop")
    if not isinstance(worst, dict):
        return ForgettingFact(head, transfer)
    asked = {score.title: score.n_asked for score in journal.scores.of_version(head)}
    title = str(worst["title"])
    best, now = float(worst["best"]), float(worst["now"])
    return ForgettingFact(head, transfer, title, best, now, asked.get(title))


def _service(layout: Layout, begin: str, end: str) -> ServiceFact | None:
    counts, health = count_feedback(layout.feedback, begin, end), read_health(layout)
    if counts is None and health is None:
        return None
    return ServiceFact(
        answers=0 if counts is None else counts.answers,
        mean_ms=None if counts is None else counts.mean_ms,
        thumbs_up=0 if counts is None else counts.thumbs_up,
        thumbs_down=0 if counts is None else counts.thumbs_down,
        review_waiting=0 if counts is None else counts.review_waiting,
        requests=None if health is None else health.requests,
        errors=None if health is None else health.errors,
    )


def _disk(models: Path, reserve_bytes: int) -> DiskFact:
    disk = os.statvfs(models)
    return DiskFact(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize, reserve_bytes)


def _attention(layout: Layout) -> tuple[str, ...]:
    status = read_status(layout)
    state = presence(status, datetime.now(UTC)).state
    if status is None:
        return ()
    if state is DaemonState.DIED:
        return (GONE,)
    return tuple(in_the_way(status)) if state.alive else ()


def _undelivered(journal: JournalView, to: Collection[str]) -> tuple[UndeliveredFact, ...]:
    found: dict[str, UndeliveredFact] = {}
    for row in journal.messages.in_trouble(to):
        known = found.get(row.addressee) or UndeliveredFact(row.addressee, 0, 0, None)
        waits = row.state is DeliveryState.WAITING
        found[row.addressee] = UndeliveredFact(
            row.addressee,
            known.waiting + waits,
            known.given_up + (not waits),
            row.problem or known.problem,
        )
    return tuple(found.values())


def _drift(layout: Layout, journal: JournalView, first: date, last: date) -> tuple[DriftFact, ...]:
    found = look(layout, journal, last - timedelta(days=DRIFT_DAYS - 1), last)
    facts = [
        DriftFact(sentence(moved.alert), moved.alert.since, first <= moved.alert.noticed <= last)
        for moved in found.now
    ]
    facts += [
        DriftFact(f"file {file.name}: {sentence(moved.alert)}", moved.alert.since, False)
        for file in found.files
        for moved in file.moved
    ]
    return tuple(facts)
