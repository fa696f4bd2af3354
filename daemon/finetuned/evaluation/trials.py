"""
Trials of weights between those of the parent and the candidate's.

If the gate would reject a candidate only for what it forgot, or would hold it only for a lost
canary, less of the same change may pass. The parent is the version that the candidate was
trained on: the head. The largest share that passes and keeps the canaries takes the
candidate's place in the report, else the largest that passes if the whole one does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from finetuned.config import GateConfig
from finetuned.config.evaluation import MAX_CONFIDENCE
from finetuned.core.gate.verdict import FORGETTING, RuleKind, Verdict
from finetuned.core.promotion import VersionVerdict
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.evaluation.interpolate import interpolate
from finetuned.evaluation.measured import MeasuredSubject
from finetuned.evaluation.report import ReportBuilder
from finetuned.evaluation.subjects import CANDIDATE, Subject
from finetuned.files.eval_report import ShareTrial

_OLDER: Final = (SuiteOrigin.OLD, SuiteOrigin.BENCHMARK)


@dataclass(frozen=True, slots=True)
class Look:
    """
    What was asked of a candidate and those it is compared with, and what the gate says of it.
    """

    builder: ReportBuilder
    measured: Mapping[str, MeasuredSubject]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Trial:
    """
    One share, and the look at its weights.
    """

    share: float
    look: Look

    @property
    def passes(self) -> bool:
        """Whether it was asked everything in time, and is not rejected."""
        verdict = self.look.verdict
        in_time = all(rule.passed for rule in verdict.rules if rule.name == "required_suites")
        return in_time and verdict.outcome is not VersionVerdict.REJECTED

    @property
    def keeps_canaries(self) -> bool:
        return self.passes and not self.look.verdict.lost_canary

    def record(self) -> ShareTrial:
        """
        Return what a report says of it.
        """
        found = self.look.measured[CANDIDATE]
        return ShareTrial(
            a=self.share,
            passes=self.passes,
            accuracy_new=found.accuracy((SuiteOrigin.NEW,)),
            accuracy_old=found.accuracy(_OLDER),
        )


def failed_suites(verdict: Verdict) -> frozenset[str]:
    """
    Return the suites that are against a candidate, each alone: those that a share must pass first.

    Args:
        verdict: On the whole candidate; it forgot, or lost canaries.
    """
    kind = RuleKind.HARM if verdict.forgot else RuleKind.GAIN
    names = FORGETTING if verdict.forgot else ("canaries",)
    return frozenset(
        rule.suite
        for rule in verdict.failed
        if rule.kind is kind and rule.name in names and rule.suite is not None
    )


def strict(gate: GateConfig, n: int) -> GateConfig | None:
    """
    Return a gate that rejects for one of *n* older suites alone only what *gate* rejects for it.

    The level of each suite is divided by the number of suites that are looked at, so the level
    of a part must be as small as beside all others. None if no configuration is so strict.
    """
    confidence = 1 - (1 - gate.confidence) / max(1, n)
    return replace(gate, confidence=confidence) if confidence <= MAX_CONFIDENCE else None


def try_shares(
    shares: Sequence[float],
    subjects: Mapping[str, Subject],
    parent: Subject,
    run_dir: Path,
    look: Callable[[Mapping[str, Subject], int], Look],
) -> Iterator[Trial]:
    """
    Yield a trial of each share, the largest first, until one passes and keeps the canaries.

    Args:
        shares: Of the candidate.
        subjects: By part; the candidate is the whole one.
        parent: Of which interpolate.is_possible() holds.
        run_dir: Where the weights are written.
        look: Given the subjects and the number of the trial from 1, asks and judges.
    """
    candidate = subjects[CANDIDATE]
    for number, share in enumerate(sorted(shares, reverse=True), 1):
        folder = interpolate(parent, candidate, share, run_dir)
        tried = {**subjects, CANDIDATE: replace(candidate, folder=folder, version=None)}
        trial = Trial(share, look(tried, number))
        yield trial
        if trial.keeps_canaries:
            return
