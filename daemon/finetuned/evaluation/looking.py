"""
The looks at one candidate: what is asked first, and when no more needs to be asked.

Each look asks more of the same suites than the one before and has the gate judge it. The
last one asks all that there is time for. Does not know how a model is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetuned.core.evidence import Evidence, evidence_of
from finetuned.core.gate.first_look import gate_of_part, may_settle, settles
from finetuned.core.gate.judge import judge
from finetuned.core.gate.verdict import Verdict
from finetuned.core.job import JobKind
from finetuned.core.promotion import VersionVerdict
from finetuned.core.record import to_json
from finetuned.evaluation.asking import Asking
from finetuned.evaluation.interpolate import is_possible
from finetuned.evaluation.measured import MeasuredSubject
from finetuned.evaluation.plan import growing_parts, is_larger
from finetuned.evaluation.report import ReportBuilder, clusters_of
from finetuned.evaluation.selected_suites import PickedSuite, first_part
from finetuned.evaluation.subjects import CANDIDATE, HEAD, INCUMBENT, Subject
from finetuned.evaluation.trials import Look, failed_suites, strict, try_shares
from finetuned.files.eval_report import Interpolation


@dataclass(frozen=True, slots=True)
class Looking:
    """
    Looks at the candidate of one evaluation, and at weights between it and its parent.
    """

    asking: Asking
    run_dir: Path
    """Where weights in between are written."""
    subjects: Mapping[str, Subject]
    """By part."""
    suites: Sequence[PickedSuite]
    """Whole."""

    def look(self, tried: Mapping[str, Subject] | None = None, trial: int = 0) -> Look:
        """
        Ask more and more until the verdict is clear, or everything was asked.

        If there is no time for everything, a sample is asked, which grows as long as answers
        come sooner than was expected.

        Args:
            tried: The subjects of a trial; None for those of the whole candidate.
            trial: Number of the trial from 1; 0 for the whole candidate.
        """
        subjects, suites = tried or self.subjects, self.suites
        if self.asking.spec.job is not None:
            suites = self.asking.planned(subjects, suites)
        for number, part in enumerate(self._parts(suites), 1):
            found = self._ask(subjects, part, trial, known_base=True)
            if self._is_clear(found, number):
                return found
        while True:
            sampled = any(picked.n_left_out for picked in suites)
            found = self._ask(subjects, suites, trial, known_base=sampled)
            larger = self.asking.planned(subjects, self.suites) if sampled else suites
            if not is_larger(larger, suites):
                return found
            suites = larger

    def _parts(self, suites: Sequence[PickedSuite]) -> list[list[PickedSuite]]:
        """Return the parts of *suites* that are asked before all of them, smallest first."""
        spec = self.asking.spec
        job, first = spec.job, spec.config.evaluation.first_items
        if job is None or job.job_kind is not JobKind.TRAINING or first == 0:
            return []
        if not may_settle(spec.config.gate, job.look):
            return []
        parts = [first_part(suites, first), *growing_parts(suites)]
        return [part for part in parts if any(picked.n_unasked for picked in part)]

    def _is_clear(self, look: Look, number: int) -> bool:
        """Return whether nothing that is left could change the verdict on part *number*."""
        gate = self.asking.gate
        strict_gate = gate_of_part(gate, number)
        if look.verdict.outcome is VersionVerdict.REJECTED and strict_gate is not None:
            verdict = judge(self._evidence(look.builder, look.measured), strict_gate)
            return verdict.outcome is VersionVerdict.REJECTED
        return settles(look.verdict, gate)

    def try_shares(self, look: Look) -> tuple[Look, Interpolation | None]:
        """
        Try weights between its parent's and its own if only what it forgot is against it.

        Args:
            look: At the whole candidate.

        Returns:
            The look at what is to be judged, and what was tried; None if nothing was.
        """
        gate, verdict, subjects = self.asking.gate, look.verdict, self.subjects
        if not gate.shares or not (verdict.forgot or verdict.only_canaries_lost):
            return look, None
        parent = subjects.get(HEAD, subjects[INCUMBENT])
        if not is_possible(parent, subjects[CANDIDATE]):
            return look, None
        trials = list(
            try_shares(
                gate.shares,
                subjects,
                parent,
                self.run_dir,
                lambda tried, number: self._trial(tried, number, look),
            )
        )
        records = tuple(trial.record() for trial in trials)
        passing = [t for t in trials if t.keeps_canaries]
        passing += [t for t in trials if t.passes and verdict.forgot]
        if not passing:
            return look, Interpolation(tried=records, chosen=None)
        return passing[0].look, Interpolation(tried=records, chosen=passing[0].share)

    def _trial(self, tried: Mapping[str, Subject], number: int, whole: Look) -> Look:
        """Ask first what is against the whole candidate: if it is against a trial, that is all."""
        against = failed_suites(whole.verdict)
        part = [s for s in whole.builder.suites if s.suite.name in against]
        gate = strict(self.asking.gate, len(self.suites))
        if part and gate is not None:
            found = self._ask(tried, part, number, known_base=True)
            verdict = judge(self._evidence(found.builder, found.measured), gate)
            if (verdict.forgot or not whole.verdict.forgot) and failed_suites(verdict):
                return Look(found.builder, found.measured, verdict)
        return self.look(tried, number)

    def _ask(
        self,
        subjects: Mapping[str, Subject],
        suites: Sequence[PickedSuite],
        trial: int,
        *,
        known_base: bool,
    ) -> Look:
        """Ask *suites*, and return what the gate says of the answers."""
        asking = self.asking
        origin = asking.renderer.template.origin
        builder = ReportBuilder(asking.spec, suites, clusters_of(suites), origin)
        measured = asking.measure(subjects, suites, known_base=known_base)
        if asking.spec.job is None:  # a version in use is watched, not judged
            return Look(builder, measured, Verdict(()))
        evidence = self._evidence(builder, measured)
        look = asking.spec.job.look + trial
        return Look(builder, measured, judge(evidence, asking.gate, look=look))

    def _evidence(
        self, builder: ReportBuilder, measured: Mapping[str, MeasuredSubject]
    ) -> Evidence:
        return evidence_of(to_json(builder.report(measured, created_at="")))
