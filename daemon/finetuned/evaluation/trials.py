"""
Trials of weights between those of the parent and the candidate's.

If the gate would reject a candidate only for what it forgot, less of the same change may
pass. The parent is the version that the candidate was trained on: the head. The best trial
that passes takes the candidate's place in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from finetuned.core.gate.verdict import Verdict
from finetuned.core.promotion import VersionVerdict
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.evaluation.interpolate import interpolate
from finetuned.evaluation.measured import MeasuredSubject
from finetuned.evaluation.subjects import CANDIDATE, Subject
from finetuned.files.eval_report import Interpolation, ShareTrial

_OLDER: Final = (SuiteOrigin.OLD, SuiteOrigin.BENCHMARK)

Subjects = Mapping[str, MeasuredSubject]


@dataclass(frozen=True, slots=True)
class Trials:
    """
    How weights are made, asked and judged.
    """

    shares: Sequence[float]
    """Of the candidate, in the order in which they are tried."""
    run_dir: Path
    """Where the weights are written."""
    examine: Callable[[Subject], MeasuredSubject]
    verdict: Callable[[Subjects, int], Verdict]
    """Given the subjects, and the number of the trial from 1."""

    def run(
        self, parent: Subject, candidate: Subject, subjects: Subjects
    ) -> tuple[Subjects, Interpolation]:
        """
        Try every share.

        Args:
            parent, candidate: Of which interpolate.is_possible() holds.
            subjects: All of the report, with the whole candidate.

        Returns:
            The subjects with the best trial as candidate, or the whole candidate if none
            passes; and what was tried. Best is one that would be promoted, then the one with
            most right answers, then the first.
        """
        tried: list[ShareTrial] = []
        best: tuple[tuple[bool, int], float, Subjects] | None = None
        for number, share in enumerate(self.shares, 1):
            folder = interpolate(parent, candidate, share, self.run_dir)
            found = self.examine(replace(candidate, folder=folder, version=None))
            trial = {**subjects, CANDIDATE: found}
            outcome = self.verdict(trial, number).outcome
            passes = outcome is not VersionVerdict.REJECTED
            tried.append(
                ShareTrial(
                    a=share,
                    passes=passes,
                    accuracy_new=found.accuracy((SuiteOrigin.NEW,)),
                    accuracy_old=found.accuracy(_OLDER),
                )
            )
            worth = (outcome is VersionVerdict.PROMOTED, found.n_correct())
            if passes and (best is None or worth > best[0]):
                best = (worth, share, trial)
        if best is None:
            return subjects, Interpolation(tried=tuple(tried), chosen=None)
        return best[2], Interpolation(tried=tuple(tried), chosen=best[1])
