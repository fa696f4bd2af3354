"""
What a daily report recommends about the rows of a day: were they needed, taught, trained too long?

Pure. Only what a test or an interval shows makes a rule speak.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from finetuned.core.curves.finding import Kind
from finetuned.core.daily import DailyFacts, FileFact
from finetuned.core.job import JobState
from finetuned.core.recommendation import Recommendation, some
from finetuned.core.worth import Worth

BY_FINDING: Final[Mapping[Kind, str]] = {
    Kind.OVERFITTING: "overfitted",
    Kind.UNDERFITTING: "still_falling",
    Kind.DIVERGENCE: "diverged",
    Kind.RATE_TOO_HIGH: "learning_rate",
    Kind.RATE_TOO_LOW: "learning_rate",
}
"""Findings on a learning curve that a person should act on -> the rule that says so."""


def not_needed(facts: DailyFacts) -> Iterator[Recommendation]:
    """
    Yield the files that the model knew before.
    """
    for file, seen in _judged(facts, Worth.KNOWN):
        yield Recommendation(
            "not_needed",
            f"Drop no more files like {file.name}: what it teaches was known already.",
            seen,
        )


def taught_nothing(facts: DailyFacts) -> Iterator[Recommendation]:
    """
    Yield the files of which nothing was learnt.
    """
    for file, seen in _judged(facts, Worth.NOTHING, Worth.HARM):
        yield Recommendation(
            "taught_nothing",
            f"Read some answers of {file.name}: they may be wrong, contradict each other, or not "
            "follow from their prompts. Do not drop it again as it is.",
            seen,
        )


def _judged(facts: DailyFacts, *wanted: Worth) -> Iterator[tuple[FileFact, str]]:
    for file in facts.files:
        if file.worth is not None and file.worth.worth in wanted:
            yield file, f"{file.worth.evidence}; it cost {file.worth.cost}"


def curves(facts: DailyFacts) -> Iterator[Recommendation]:
    """
    Yield what the learning curves of the day's jobs show, with the advice that follows.
    """
    for job in facts.jobs:
        if job.reading is None or job.state is JobState.FAILED:
            continue
        said: set[str] = set()
        for finding in job.reading.findings:
            advice = next((a for a in job.reading.advice if finding.kind in a.because), None)
            rule = BY_FINDING.get(finding.kind)
            if rule is None or advice is None or advice.sentence in said:
                continue
            said.add(advice.sentence)
            of = some(job.files) or job.id
            yield Recommendation(rule, f"{of}: {advice.sentence}", f"{job.id}: {finding.sentence}")
