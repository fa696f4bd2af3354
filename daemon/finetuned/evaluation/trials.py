"""
Trials of weights between the incumbent's and the candidate's.

If the gate would refuse a candidate only for what it forgot, less of the same change may
pass. The best trial that passes takes the candidate's place in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from finetuned.core.gate.verdict import Verdict
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
    verdict: Callable[[Subjects], Verdict]

    def run(
        self, incumbent: Subject, candidate: Subject, subjects: Subjects
    ) -> tuple[Subjects, Interpolation]:
        """
        Try every share.

        Args:
            incumbent, candidate: Of which interpolate.is_possible() holds.
            subjects: All of the report, with the whole candidate.

        Returns:
            The subjects with the best trial as candidate, or the whole candidate if none
            passes; and what was tried. Best is the one with most right answers, then the
            first.
        """
        tried: list[ShareTrial] = []
        best: tuple[int, float, Subjects] | None = None
        for share in self.shares:
            folder = interpolate(incumbent, candidate, share, self.run_dir)
            found = self.examine(replace(candidate, folder=folder, version=None))
            trial = {**subjects, CANDIDATE: found}
            passes = self.verdict(trial).promote
            tried.append(
                ShareTrial(
                    a=share,
                    passes=passes,
                    accuracy_new=found.accuracy((SuiteOrigin.NEW,)),
                    accuracy_old=found.accuracy(_OLDER),
                )
            )
            right = found.n_correct()
            if passes and (best is None or right > best[0]):
                best = (right, share, trial)
        if best is None:
            return subjects, Interpolation(tried=tuple(tried), chosen=None)
        return best[2], Interpolation(tried=tuple(tried), chosen=best[1])
