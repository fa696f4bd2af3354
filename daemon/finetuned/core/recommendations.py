"""
What a daily report recommends: named rules, each with the evidence that made it speak. Pure.

A rule that has no evidence says nothing. If none speaks, nothing needs attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from finetuned.core.books import Fate
from finetuned.core.daily import DailyFacts
from finetuned.core.forgetting import LEAST_ROWS, SLIPPED
from finetuned.core.job import JobState
from finetuned.core.recommend_rows import curves, not_needed, taught_nothing
from finetuned.core.recommendation import NAMED, Recommendation, some
from finetuned.core.statistics import lower_bound

REFUSED_SHARE: Final = 0.05
"""Share of a file's rows above which refused rows are worth a look."""

IN_A_ROW: Final = 3
"""Rejected candidates without another between them that are no accident."""

WEAK: Final = 0.7
"""Accuracy below which a suite is weak, if other suites are surely better."""

LEAST_OPINIONS: Final = 10
UNHAPPY: Final = 0.2
"""Opinions of users below which a share of bad ones says nothing, and the share that is bad."""

ROOM: Final = 2.0
"""Free disk space is short below so many times the reserve."""


def recommend(facts: DailyFacts) -> list[Recommendation]:
    """
    Return what follows from *facts*, the most urgent first; nothing if nothing needs attention.
    """
    return [found for rule in RULES for found in rule(facts)]


def _in_the_way(facts: DailyFacts) -> Iterator[Recommendation]:
    for sentence in facts.attention:
        yield Recommendation(
            "in_the_way", "Remove what stands in the way; it does not go away by itself.", sentence
        )


def _undelivered(facts: DailyFacts) -> Iterator[Recommendation]:
    for found in facts.undelivered:
        yield Recommendation(
            "undelivered",
            f"Check the address of {found.addressee} and its server.",
            f"{found.waiting} messages wait and {found.given_up} were given up: "
            f"{found.problem or 'no reason is known'}",
        )


def _taken_back(facts: DailyFacts) -> Iterator[Recommendation]:
    for incident in facts.incidents:
        yield Recommendation(
            "taken_back",
            f"Find out why {incident.version} failed in use before you promote it again: "
            "logs/incidents/ has the evidence.",
            incident.reason,
        )


def _disk(facts: DailyFacts) -> Iterator[Recommendation]:
    disk = facts.disk
    if disk is not None and disk.free_bytes < ROOM * disk.reserve_bytes:
        yield Recommendation(
            "disk_low",
            "Make room: finetuned versions prune shows what may go.",
            f"{disk.free_bytes >> 20} MiB free under models/; below {disk.reserve_bytes >> 20} MiB "
            "nothing new is started",
        )


def _failed(facts: DailyFacts) -> Iterator[Recommendation]:
    for job in facts.jobs:
        if job.state is JobState.FAILED:
            yield Recommendation(
                "job_failed",
                f"Mend the cause and queue {some(list(job.files)) or job.id} again: "
                "finetuned retry.",
                f"{job.id}: {job.reason or 'no reason is recorded'}",
            )


def _refused_files(facts: DailyFacts) -> Iterator[Recommendation]:
    for file in facts.files:
        if file.fate is Fate.REFUSED:
            yield Recommendation(
                "file_refused",
                f"Mend {file.name} and drop it again; the original is in inbox/rejected/.",
                file.reason or "no reason is recorded",
            )


def _refused_rows(facts: DailyFacts) -> Iterator[Recommendation]:
    for file in facts.files:
        many = file.refused > 0 and file.refused >= REFUSED_SHARE * (file.rows or 0)
        if file.fate is not Fate.REFUSED and many:
            yield Recommendation(
                "rows_refused",
                f"Look at the refused rows of {file.name} in inbox/rejected/.",
                f"{file.refused} of {file.rows} rows cannot be used",
            )


def _rejections(facts: DailyFacts) -> Iterator[Recommendation]:
    rejected = [job for job in facts.jobs if job.state is JobState.REJECTED]
    if facts.rejected_in_a_row >= IN_A_ROW and rejected:
        last = rejected[-1]
        yield Recommendation(
            "rejected_in_a_row",
            "Stop dropping files of this kind until you know why: "
            f"finetuned report {last.version or ''}".rstrip()
            + " shows it.",
            f"{facts.rejected_in_a_row} candidates in a row were rejected, the last one: "
            f"{last.reason or 'no reason is recorded'}",
        )
        return
    for job in rejected:
        yield Recommendation(
            "rejected",
            f"See what got worse: finetuned report {job.version or ''}".rstrip() + ".",
            f"{some(list(job.files)) or job.id}: {job.reason or 'no reason is recorded'}",
        )


def _weak_suite(facts: DailyFacts) -> Iterator[Recommendation]:
    asked = [s for s in facts.suites if s.origin == "benchmark" and s.n_asked >= LEAST_ROWS]
    if len(asked) < 2 or not facts.jobs:  # told on the day of the training that it followed
        return
    least = {s.title: lower_bound(s.n_correct, s.n_asked, 0.975) for s in asked}
    best = max(asked, key=lambda s: least[s.title])
    for suite in asked:
        most = 1 - lower_bound(suite.n_asked - suite.n_correct, suite.n_asked, 0.975)
        if most < WEAK and most < least[best.title]:
            yield Recommendation(
                "weak_suite",
                f"Questions like those of {suite.title} need more examples.",
                f"{suite.n_correct} of {suite.n_asked} right there (at most {most:.0%} with 97.5% "
                f"confidence), {best.n_correct} of {best.n_asked} on {best.title}",
            )


def _forgot(facts: DailyFacts) -> Iterator[Recommendation]:
    found = facts.forgetting
    if found is None or found.worst is None or not facts.jobs:
        return
    if not found.n_asked or found.n_asked < LEAST_ROWS:
        return
    drop, share = 100 * (found.best - found.now), found.now
    right = round(share * found.n_asked)
    most = 1 - lower_bound(found.n_asked - right, found.n_asked, 0.975)
    if drop >= SLIPPED and most < found.best:
        yield Recommendation(
            "forgot",
            f"Rehearse {found.worst} more, or drop some of its rows again.",
            f"{found.version} answers {found.now:.0%} of its {found.n_asked} questions; at its "
            f"best it was {found.best:.0%}",
        )


def _unlearnt(facts: DailyFacts) -> Iterator[Recommendation]:
    told = {name for job in facts.jobs if job.state is JobState.REJECTED for name in job.files}
    lost = [f.name for f in facts.files if f.fate is Fate.NOT_LEARNT and f.name not in told]
    if lost:
        yield Recommendation(
            "not_learnt",
            "Decide what becomes of the files that were not learnt: finetuned datasets lists them, "
            "finetuned retry queues one again.",
            f"{some(lost)}; {facts.unlearnt_files} of all days",
        )


def _review(facts: DailyFacts) -> Iterator[Recommendation]:
    service = facts.service
    if service is not None and service.review_waiting:
        yield Recommendation(
            "review_waits",
            "Review the answers that wait: finetuned review.",
            f"{service.review_waiting} answers wait for a person",
        )


def _unhappy(facts: DailyFacts) -> Iterator[Recommendation]:
    service = facts.service
    if service is None:
        return
    opinions = service.thumbs_up + service.thumbs_down
    if opinions >= LEAST_OPINIONS and service.thumbs_down >= UNHAPPY * opinions:
        yield Recommendation(
            "users_unhappy",
            "Read what users disliked and correct it: finetuned review.",
            f"{service.thumbs_down} of {opinions} opinions were bad",
        )


def _moved(facts: DailyFacts) -> Iterator[Recommendation]:
    new = [fact for fact in facts.drift if fact.is_new]
    if new:
        yield Recommendation(
            "moved",
            "Look at what users ask and get now: finetuned drift shows examples.",
            "; ".join([f"{fact.text}, since {fact.since}" for fact in new[:NAMED]])
            + (f"; and {len(new) - NAMED} more" if len(new) > NAMED else ""),
        )


def _unread(facts: DailyFacts) -> Iterator[Recommendation]:
    for sentence in facts.unread:
        yield Recommendation("unread", "Find out why a part of this report is missing.", sentence)


RULES: Final[tuple[Callable[[DailyFacts], Iterator[Recommendation]], ...]] = (
    *(_in_the_way, _disk, _taken_back, _undelivered, _failed, _refused_files, _refused_rows),
    *(_rejections, taught_nothing, not_needed, _forgot, _unlearnt, curves, _weak_suite),
    *(_moved, _unhappy, _review, _unread),
)
"""In the order of what they find."""
