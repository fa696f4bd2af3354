"""
What one model did on suites, and the numbers that a report gives for it.

Pure; does not know how the model was asked, nor which model is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from finetuned.core.metrics import mean_loss, wilson_interval
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.suite import Question, Suite
from finetuned.files.eval_report import (
    FormatCounts,
    FreeCounts,
    ItemRecord,
    JsonCounts,
    OutcomeRecord,
    SubjectScores,
    SuiteScore,
)
from finetuned.inference.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Measured:
    """
    One model on one suite.
    """

    suite: Suite
    outcomes: Mapping[str, Outcome]
    """By item; an item that could not be asked in time is there as timed out."""
    n_cached: int
    """Outcomes made from answers of the answer store."""
    seconds: float
    """Wall time, >= 0."""
    swapped: Mapping[str, Outcome] = field(default_factory=dict)
    """By item: its expected answer after the question of another row, where that was taken."""
    free: Mapping[str, Outcome] | None = None
    """By item that is held to a format: what the model answers freely; None if nobody asked."""

    @property
    def complete(self) -> bool:
        """Whether every item was asked in time."""
        in_time = len(self.outcomes) == len(self.suite.questions)
        return in_time and not any(o.timed_out for o in self.outcomes.values())


@dataclass(frozen=True, slots=True)
class MeasuredSubject:
    """
    One model on all suites that could be asked.
    """

    version: str | None
    seconds: float
    """Wall time without loading."""
    load_seconds: float
    suites: Mapping[str, Measured]
    """By name of the suite."""
    same_as: str | None = None
    """The subject with the same weights that was asked instead; None if it was asked itself."""

    def scores(self) -> SubjectScores:
        """
        Return what a report gives for the subject.
        """
        return SubjectScores(
            version=self.version,
            same_as=self.same_as,
            seconds=round(self.seconds, 3),
            load_seconds=round(self.load_seconds, 3),
            suites={name: score(measured) for name, measured in self.suites.items()},
        )

    def n_correct(self) -> int:
        """
        Return the number of right answers on all suites.
        """
        return sum(score(measured).n_correct for measured in self.suites.values())

    def accuracy(self, origins: Sequence[SuiteOrigin]) -> float | None:
        """
        Return the share of right answers on suites of *origins*, or None if nothing was asked.
        """
        scores = [score(m) for m in self.suites.values() if m.suite.origin in origins]
        asked = sum(s.n_asked for s in scores)
        return sum(s.n_correct for s in scores) / asked if asked else None


def score(measured: Measured) -> SuiteScore:
    """
    Return the numbers of one model on one suite: of what was asked in time.
    """
    outcomes = [o for o in measured.outcomes.values() if not o.timed_out]
    asked = [o for o in outcomes if o.correct is not None]
    generated = [o for o in asked if not o.raw.choices]
    correct = sum(bool(o.correct) for o in asked)
    tokens = [o.n_tokens for o in outcomes]
    seconds = sum(o.raw.seconds for o in generated)
    answer_tokens = sum(o.answer_tokens for o in generated)
    return SuiteScore(
        n_items=len(measured.suite.questions),
        n_asked=len(asked),
        n_correct=correct,
        accuracy=correct / len(asked) if asked else None,
        interval_95=wilson_interval(correct, len(asked)) if asked else None,
        n_exact=sum(bool(o.matches) for o in asked),
        mean_score=_mean([o.grade.score for o in asked if o.grade is not None]),
        loss=mean_loss([o.loss_sum for o in outcomes], tokens) if sum(tokens) else None,
        loss_tokens=sum(tokens),
        stop_rate=_mean([float(o.stopped) for o in generated]),
        mean_answer_tokens=_mean([float(o.answer_tokens) for o in generated]),
        tokens_per_second=answer_tokens / seconds if seconds > 0 and generated else None,
        n_timed_out=sum(o.timed_out for o in measured.outcomes.values()),
        n_cached=measured.n_cached,
        complete=measured.complete,
        json=_json_counts(asked),
        format=_format_counts(asked, measured.free),
    )


def item_record(suite: Suite, question: Question, by: Mapping[str, Measured]) -> ItemRecord:
    """
    Return what a report gives for one item.

    Args:
        suite: The suite of the question.
        question: The item.
        by: What each subject did on that suite.
    """
    return ItemRecord(
        suite=suite.name,
        id=question.id,
        scorer=question.scorer.name,
        system=question.system,
        prompt=question.prompt,
        golden=question.golden,
        swapped_loss=next((_swapped_loss(m, question) for m in by.values() if m.swapped), None),
        outcomes={
            subject: _outcome_record(measured.outcomes[question.id])
            for subject, measured in by.items()
            if question.id in measured.outcomes
        },
    )


def _swapped_loss(measured: Measured, question: Question) -> float | None:
    """Return the loss after another question; None without one, or of another tokenisation."""
    own, swapped = measured.outcomes.get(question.id), measured.swapped.get(question.id)
    if own is None or swapped is None or swapped.timed_out or own.n_tokens != swapped.n_tokens:
        return None
    return swapped.loss_sum


def _outcome_record(outcome: Outcome) -> OutcomeRecord:
    grade = outcome.grade
    return OutcomeRecord(
        answer=outcome.answer,
        correct=outcome.correct,
        score=None if grade is None else grade.score,
        exact=outcome.matches,
        loss=outcome.loss_sum,
        n_tokens=outcome.n_tokens,
        answer_tokens=outcome.answer_tokens,
        stopped=outcome.stopped,
        timed_out=outcome.timed_out,
        likelihood=outcome.raw.likelihood,
        detail={} if grade is None else grade.detail,
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _json_counts(asked: Sequence[Outcome]) -> JsonCounts | None:
    details = [
        o.grade.detail for o in asked if o.grade is not None and o.question.scorer.name == "json"
    ]
    if not details:
        return None
    return JsonCounts(
        n_valid=sum(bool(d.get("valid")) for d in details),
        n_schema_valid=sum(d.get("schema_valid") is not False for d in details if d["valid"]),
        fields_right=sum(int(d.get("fields_right", 0)) for d in details),
        fields=sum(int(d.get("fields", 1)) for d in details),
    )


def _format_counts(
    asked: Sequence[Outcome], free: Mapping[str, Outcome] | None
) -> FormatCounts | None:
    """Return the counts over answers that have a format; None if there is none."""
    with_format = [o for o in asked if o.question.answer_format is not None]
    if not with_format:
        return None
    held = [o for o in with_format if o.question.is_held]
    freely = [] if free is None else [o for o in free.values() if o.grade is not None]
    return FormatCounts(
        n_held=len(held),
        n_changed=sum(o.raw.n_refused > 0 for o in held),
        free=None if free is None else FreeCounts(**_counts(freely)),
        **_counts(with_format),
    )


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    details = [o.grade.detail for o in outcomes if o.grade is not None]
    checked = [d["copied"] for d in details if "copied" in d]
    return {
        "n_asked": len(outcomes),
        "n_correct": sum(bool(o.correct) for o in outcomes),
        "n_fit": sum(bool(d.get("fits")) for d in details),
        "n_checked": len(checked),
        "n_invented": checked.count(False),
    }
