"""
The facts of a day as headed lists and tables, the same for text, Markdown and HTML.

Pure. Names that a user chose are made printable here, once. Knows no markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetuned.core.books import Fate
from finetuned.core.daily import DailyFacts, JobFact, SuiteFact
from finetuned.core.job import JobKind, JobState
from finetuned.core.promotion import PromotionCause
from finetuned.core.recommendation import Recommendation
from finetuned.core.recommendations import recommend
from finetuned.core.text import visible
from finetuned.reports.activity import duration
from finetuned.reports.wording import count, moment, percent, shorten, signed
from finetuned.reports.worth_words import WORTHS

MOST_ROWS = 20
"""Files, jobs or suites that are listed; more are counted."""

NAME_CHARS = 60
REASON_CHARS = 240

CALM = "Nothing needs attention."

FATES = {
    Fate.WAITING: "waiting",
    Fate.LEARNT: "learnt",
    Fate.NOT_LEARNT: "not learnt",
    Fate.REFUSED: "refused",
    Fate.DUPLICATE: "a copy of an earlier file",
}

JUDGED = (JobState.PROMOTED, JobState.HELD, JobState.REJECTED)
"""How a job ends whose training left a candidate."""

CAUSES = {
    PromotionCause.GATE: "promoted by the gate",
    PromotionCause.PROMOTE: "put in use by a person",
    PromotionCause.ROLLBACK: "put back by a person",
    PromotionCause.WATCH: "in use again: the one before failed",
    PromotionCause.FALLBACK: "in use again: the one before is damaged",
    PromotionCause.REBUILD: "found in use when the journal was made again",
}


@dataclass(frozen=True, slots=True)
class Table:
    """
    Rows of text under a heading each.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0
    """Rows that are not shown."""


@dataclass(frozen=True, slots=True)
class Section:
    """
    One part of a report.
    """

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    """Names and values."""
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class DailyReport:
    """
    A report in words.
    """

    title: str
    """One line, also the subject of a mail."""
    summary: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    recommendations: tuple[Recommendation, ...]
    """Empty if nothing needs attention."""


def daily_report(facts: DailyFacts) -> DailyReport:
    """
    Return *facts* in words.
    """
    sections = (
        _files(facts),
        _worth(facts),
        _jobs(facts),
        _suites(facts),
        _versions(facts),
        _forgetting(facts),
        _service(facts),
        _drift(facts),
        _machine(facts),
        _costs(facts),
    )
    return DailyReport(
        title=f"Training Summary - {days(facts)} - {visible(facts.root)}",
        summary=_summary(facts),
        sections=tuple(section for section in sections if section is not None),
        recommendations=tuple(
            Recommendation(found.rule, visible(found.advice), shorten(found.evidence, REASON_CHARS))
            for found in recommend(facts)
        ),
    )


def days(facts: DailyFacts) -> str:
    """
    Return the days of a report: ``Nov 16, 2025``, or the first and the last of several.
    """
    last = f"{facts.last:%b} {facts.last.day}, {facts.last.year}"
    if facts.first != facts.last:
        return f"{facts.first:%b} {facts.first.day} to {last}"
    return last if facts.is_over else f"{last} until {facts.made_at:%H:%M}"


def _summary(facts: DailyFacts) -> tuple[tuple[str, str], ...]:
    """The lines that the document asks for, first."""
    trained = [job for job in facts.jobs if job.kind is JobKind.TRAINING and job.state in JUDGED]
    files = [shorten(name, NAME_CHARS) for job in trained for name in job.files]
    named = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    steps = [job.steps for job in trained if job.steps is not None]
    seconds = sum(job.seconds for job in facts.jobs)
    losses = [job for job in trained if job.final_loss is not None]
    best = max(
        (job for job in trained if job.accuracy is not None),
        key=lambda job: job.accuracy or 0.0,
        default=None,
    )
    found = [
        ("Files trained", f"{len(files)} ({named})" if files else "0"),
        ("Total steps", f"{sum(steps):,}" if steps or not trained else "not recorded"),
    ]
    if losses:
        found.append(("Final loss", f"{losses[-1].final_loss:.3f} ({losses[-1].id})"))
    found.append(("Training time", duration(seconds)))
    use = "no readings" if facts.gpu_pct is None else f"{facts.gpu_pct:.0f}% on average"
    found.append(("GPU utilization", use))
    if best is not None:
        where = f"{best.n_asked} held-out rows of its own files"
        found.append(
            ("Best eval accuracy", f"{percent(best.accuracy)} ({best.version or best.id}, {where})")
        )
    return (*found, ("Verdicts", _verdicts(facts.jobs)))


def _verdicts(jobs: Sequence[JobFact]) -> str:
    order = (JobState.PROMOTED, JobState.HELD, JobState.REJECTED, JobState.FAILED, JobState.SKIPPED)
    numbers = [(sum(job.state is state for job in jobs), state) for state in order]
    return ", ".join(f"{n} {state}" for n, state in numbers if n) or "none"


def _cut(rows: Sequence[tuple[str, ...]], head: tuple[str, ...]) -> Table:
    return Table(head, tuple(rows[:MOST_ROWS]), max(0, len(rows) - MOST_ROWS))


def _files(facts: DailyFacts) -> Section:
    rows = []
    for file in facts.files:
        usable = (
            "not counted" if file.rows is None else f"{file.rows - file.refused} of {file.rows}"
        )
        became = FATES[file.fate] + (f" by {file.version}" if file.version else "")
        reason = shorten(file.reason, REASON_CHARS) if file.reason else ""
        rows.append((shorten(file.name, NAME_CHARS), usable, became, reason))
    if not rows:
        return Section("Files dropped", (("Files", "none"),))
    return Section("Files dropped", table=_cut(rows, ("file", "usable rows", "now", "why")))


def _worth(facts: DailyFacts) -> Section | None:
    rows = [
        (
            shorten(file.name, NAME_CHARS),
            WORTHS[file.worth.worth],
            *(file.worth.cost, file.worth.before, file.worth.change),
            *(file.worth.point, file.worth.near),
        )
        for file in facts.files
        if file.worth is not None
    ]
    if not rows:
        return None
    head = ("file", "worth it", "cost", "right before", "change in points", "cost of a point")
    left = len(facts.files) - len(rows)
    said = (
        ((f"{count(left, 'other file')}", "not judged here; ask finetuned worth"),) if left else ()
    )
    return Section("What they were worth", said, _cut(rows, (*head, "near rows")))


def _jobs(facts: DailyFacts) -> Section | None:
    if not facts.jobs and not facts.queued:
        return None
    rows = [
        (
            job.id if job.version is None else f"{job.id}, {job.version}",
            str(job.state),
            "-" if job.steps is None else f"{job.steps:,}",
            "-" if job.final_loss is None else f"{job.final_loss:.3f}",
            "not asked"
            if job.accuracy is None
            else f"{percent(job.accuracy)} of {count(job.n_asked, 'row')}",
            shorten(job.reason, REASON_CHARS) if job.reason else "",
        )
        for job in facts.jobs
    ]
    waits = (("Waiting or running now", count(facts.queued, "job")),) if facts.queued else ()
    head = ("job", "verdict", "steps", "final loss", "accuracy on its rows", "why")
    return Section("Jobs that ended", waits, _cut(rows, head) if rows else None)


def _suites(facts: DailyFacts) -> Section | None:
    if not facts.suites:
        return None
    name = facts.release or "the base model"
    rows = [(*_suite(suite),) for suite in facts.suites]
    return Section(
        f"Model performance: {name}", table=_cut(rows, ("suite", "right", "accuracy", "change"))
    )


def _suite(suite: SuiteFact) -> tuple[str, str, str, str]:
    share = suite.n_correct / suite.n_asked if suite.n_asked else None
    change = ""
    if share is not None and suite.before is not None:
        change = f"{signed(100 * (share - suite.before))} points"
    right = f"{suite.n_correct}/{suite.n_asked}"
    return shorten(suite.title, NAME_CHARS), right, percent(share), change


def _versions(facts: DailyFacts) -> Section:
    base = "the base model"
    lines = [("In use", facts.release or base)]
    if facts.release != facts.release_before:
        lines.append(("In use before", facts.release_before or base))
    if facts.head != facts.release:
        lines.append(("Training goes on from", facts.head or base))
    lines += [
        (moment(found.at), f"{found.version or base}: {CAUSES[found.cause]}")
        for found in facts.decisions[-MOST_ROWS:]
    ]
    lines += [
        (
            f"Incident {moment(found.at)}",
            f"{found.version} was taken back, {found.back_to or base} is in use: "
            f"{shorten(found.reason, REASON_CHARS)}",
        )
        for found in facts.incidents[-MOST_ROWS:]
    ]
    return Section("Versions", tuple(lines))


def _forgetting(facts: DailyFacts) -> Section | None:
    found = facts.forgetting
    if found is None or (found.backward_transfer is None and found.worst is None):
        return None
    lines = []
    if found.backward_transfer is not None:
        lines.append(("Backward transfer", f"{signed(found.backward_transfer)} points"))
    if found.worst is not None:
        points = signed(100 * (found.now - found.best))
        if found.now >= found.best:
            return Section(f"Forgetting: {found.version}", (*lines, ("Below its best", "no suite")))
        text = f"{shorten(found.worst, NAME_CHARS)}: {percent(found.best)} at its best, "
        lines.append(("Furthest below its best", f"{text}{percent(found.now)} now ({points})"))
    return Section(f"Forgetting: {found.version}", tuple(lines))


def _service(facts: DailyFacts) -> Section | None:
    found = facts.service
    if found is None:
        return None
    lines = [("Recorded answers", str(found.answers))]
    if found.mean_ms is not None:
        lines.append(("Mean time to answer", f"{found.mean_ms:.0f} ms"))
    lines.append(("Opinions of users", f"{found.thumbs_up} good, {found.thumbs_down} bad"))
    lines.append(("Waiting for review", str(found.review_waiting)))
    if found.requests is not None:
        failed = f"{found.errors} of {found.requests} since it is served"
        lines.append(("Failed requests of the version in use", failed))
    return Section("Service", tuple(lines))


def _drift(facts: DailyFacts) -> Section | None:
    if not facts.drift:
        return None
    lines = [(f"Since {f.since}", shorten(f.text, REASON_CHARS)) for f in facts.drift[:MOST_ROWS]]
    if (more := len(facts.drift) - MOST_ROWS) > 0:
        lines.append(("Not shown", count(more, "more thing")))
    return Section("What moved", tuple(lines))


def _machine(facts: DailyFacts) -> Section | None:
    if facts.disk is None:
        return None
    free = f"{facts.disk.free_bytes / 2**30:.1f} of {facts.disk.total_bytes / 2**30:.1f} GiB"
    return Section("Disk", (("Free under models/", free),))


def _costs(facts: DailyFacts) -> Section | None:
    if not facts.costs:
        return None
    return Section("Costs", tuple((visible(c.name), visible(c.value)) for c in facts.costs))
