"""
One evaluation, from its spec to its report.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from finetuned.config import GateConfig
from finetuned.core.evidence import evidence_of
from finetuned.core.gate.first_look import may_settle, settles
from finetuned.core.gate.judge import judge
from finetuned.core.gate.verdict import Verdict
from finetuned.core.job import JobKind
from finetuned.core.phase import Phase
from finetuned.core.record import to_json
from finetuned.data.render import Renderer
from finetuned.errors import Interrupted
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.examiner import Asked, Examiner
from finetuned.evaluation.identity import model_digest
from finetuned.evaluation.interpolate import is_possible
from finetuned.evaluation.measured import Measured, MeasuredSubject
from finetuned.evaluation.plan import is_larger, make_plan
from finetuned.evaluation.report import ReportBuilder, clusters_of
from finetuned.evaluation.selected_suites import (
    PickedSuite,
    asked_suites,
    first_part,
)
from finetuned.evaluation.subjects import (
    CANDIDATE,
    HEAD,
    INCUMBENT,
    Models,
    Subject,
    asking_order,
    compared_with,
    compute_signature,
    is_base_alone,
    subjects_of,
)
from finetuned.evaluation.trials import Look, failed_suites, strict, try_shares
from finetuned.files.base_model import position_limit
from finetuned.files.eval_report import Interpolation, write_eval_report
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.run import utc_now
from finetuned.files.spec import EvaluationSpec
from finetuned.process.lifeline import Lifeline


class EvaluationRun:
    """
    Measures every subject on every suite. Does not decide what the numbers mean.
    """

    def __init__(self, run_dir: Path, spec: EvaluationSpec, lifeline: Lifeline) -> None:
        self.run_dir = run_dir
        self.spec = spec
        self.lifeline = lifeline
        self.config = spec.config
        self.heartbeat = Heartbeat(run_dir)
        self.models = Models(self.config.model)
        self.deadline = time.monotonic() + 60 * self.config.evaluation.max_minutes
        """When everything must be asked, on the clock of time.monotonic."""

    def run(self) -> None:
        """
        Ask and write the report, durably.

        Raises:
            Interrupted: A stop was asked for; there is no report.
            ModelError: A model cannot be loaded.
            OSError: The file system refused; there is no report.
        """
        self.heartbeat.beat(force=True, phase=Phase.LOADING_FOR_EVALUATION)
        subjects = subjects_of(self.spec)
        renderer = self._renderer(subjects[CANDIDATE].base)
        suites = asked_suites(self.spec, renderer)
        with closing(AnswerStore(self.spec.answers)) as store:
            examiner = Examiner(
                renderer, self.config.evaluation, store, self._between_passes, self._count
            )
            look, interpolation = self._look(examiner, subjects, suites), None
            created_at = utc_now()
            if self.spec.job is not None:
                look, interpolation = self._try_shares(examiner, subjects, suites, look)
            report = look.builder.report(
                look.measured, created_at=created_at, interpolation=interpolation
            )
            if self.spec.job is not None:
                store.add_results(self.spec.run_id, report.subjects, report.items)
        write_eval_report(self.run_dir, report)
        self.heartbeat.beat(force=True, phase=Phase.EVALUATED)

    def _renderer(self, base: Path) -> Renderer:
        return Renderer.load(
            base,
            # A question may be as long as the model can read, even if training rows are cut.
            max_length=max(self.config.data.max_length, position_limit(base) or 0),
            enable_thinking=self.config.model.enable_thinking,
        )

    def _planned(
        self,
        examiner: Examiner,
        subjects: Mapping[str, Subject],
        suites: Sequence[PickedSuite],
    ) -> list[PickedSuite]:
        """Return the suites as there is time left for them, and say how long they will take."""
        config = self.config.evaluation
        self.heartbeat.beat(phase=Phase.EVALUATING_CANDIDATE, subject=CANDIDATE)
        total = len(subjects) * sum(len(s.suite.questions) for s in suites)
        self.heartbeat.beat(force=True, evaluation_done=0, evaluation_total=total)
        plan = make_plan(
            examiner,
            suites,
            self._asked(subjects[CANDIDATE]),
            [self._asked(subject) for subject in compared_with(subjects)],
            deadline=self.deadline,
        )
        self.heartbeat.beat(
            force=True,
            eta_seconds=plan.seconds,
            evaluation_left_out=plan.n_left_out,
            evaluation_plan={**plan.record(), "max_minutes": config.max_minutes},
        )
        return list(plan.suites)

    def _asked(self, subject: Subject) -> Asked:
        return Asked(lambda: self.models.get(subject), self._digest(subject))

    def _look(
        self,
        examiner: Examiner,
        subjects: Mapping[str, Subject],
        suites: Sequence[PickedSuite],
        trial: int = 0,
    ) -> Look:
        """
        Ask a part first if that may settle the verdict; ask everything unless it does.

        If there is no time for everything, a sample is asked, which grows as long as answers
        come sooner than was expected.

        Args:
            examiner: Asks.
            subjects: By part.
            suites: Whole.
            trial: Number of the trial from 1; 0 for the whole candidate.
        """
        whole, origin = suites, examiner.renderer.template.origin
        if self.spec.job is not None:
            suites = self._planned(examiner, subjects, whole)
        part = first_part(suites, self.config.evaluation.first_items) if self._asks_part() else []
        if any(picked.n_unasked for picked in part):
            builder = ReportBuilder(self.spec, part, clusters_of(part), origin)
            measured = self._measure(examiner, subjects, part, known_base=True)
            look = Look(builder, measured, self._verdict(builder, measured, trial))
            if settles(look.verdict, self.config.gate):
                return look
        while True:
            sampled = any(picked.n_left_out for picked in suites)
            measured = self._measure(examiner, subjects, suites, known_base=sampled)
            larger = self._planned(examiner, subjects, whole) if sampled else suites
            if not is_larger(larger, suites):
                break
            suites = larger
        builder = ReportBuilder(self.spec, suites, clusters_of(suites), origin)
        return Look(builder, measured, self._verdict(builder, measured, trial))

    def _asks_part(self) -> bool:
        job, first = self.spec.job, self.config.evaluation.first_items
        if job is None or job.job_kind is not JobKind.TRAINING or first == 0:
            return False
        return may_settle(self.config.gate, job.look)

    def _measure(
        self,
        examiner: Examiner,
        subjects: Mapping[str, Subject],
        suites: Sequence[PickedSuite],
        *,
        known_base: bool = False,
    ) -> dict[str, MeasuredSubject]:
        """
        Examine each subject; one with the weights of an earlier subject has its numbers.

        Args:
            examiner: Asks.
            subjects: By part.
            suites: What each is asked.
            known_base: Whether the base is left alone if no other subject is the base: no rule
                compares with it, and a report shows what is known of it.
        """
        n_questions = sum(len(s.suite.questions) for s in suites)
        n_swapped = sum(len(s.swapped.questions) for s in suites if s.swapped is not None)
        total = len(subjects) * n_questions + n_swapped
        self.heartbeat.beat(force=True, evaluation_done=0, evaluation_total=total)
        found: dict[str, MeasuredSubject] = {}
        for name in asking_order(subjects):
            subject = subjects[name]
            others = (s for s in found if s != CANDIDATE)
            same = next((s for s in others if subjects[s].is_same(subject)), None)
            if same is None or name == CANDIDATE:
                known_only = known_base and is_base_alone(name, subjects)
                found[name] = self._examine(examiner, subject, suites, known_only=known_only)
                continue
            one = found[same]
            found[name] = MeasuredSubject(
                one.version, one.seconds, one.load_seconds, one.suites, same_as=same
            )
            self._count(sum(len(picked.suite.questions) for picked in suites))
        return {name: found[name] for name in subjects}

    def _examine(
        self,
        examiner: Examiner,
        subject: Subject,
        suites: Sequence[PickedSuite],
        *,
        known_only: bool = False,
    ) -> MeasuredSubject:
        """Ask one model every suite that has no problem."""
        began, loading = time.monotonic(), self.models.seconds
        deadline = began + self.config.evaluation.final_timeout_seconds
        if self.spec.job is not None:
            deadline = min(deadline, self.deadline)
        digest = self._digest(subject)
        measured: dict[str, Measured] = {}
        for picked in suites:
            self.heartbeat.beat(
                force=True,
                phase=Phase.EVALUATING_CANDIDATE,
                subject=subject.name,
                suite=picked.suite.title,
            )
            if picked.problem is None:
                found = examiner.measure(
                    lambda: self.models.get(subject),
                    digest,
                    picked.suite,
                    deadline=deadline,
                    known_only=known_only,
                )
                if not known_only:
                    found = examiner.measure_free(
                        lambda: self.models.get(subject), digest, found, deadline=deadline
                    )
                if subject.name == CANDIDATE and picked.swapped is not None:
                    control = examiner.measure(
                        lambda: self.models.get(subject), digest, picked.swapped, deadline=deadline
                    )
                    found = replace(found, swapped=control.outcomes)
                measured[picked.suite.name] = found
        load_seconds = self.models.seconds - loading
        seconds = time.monotonic() - began - load_seconds
        return MeasuredSubject(subject.version, seconds, load_seconds, measured)

    def _digest(self, subject: Subject) -> str:
        how = compute_signature(self.config.model)
        if self.spec.job is None and subject.name == CANDIDATE:
            how.append(self.spec.run_id)  # a watch asks again, whatever the store knows
        return model_digest(subject.base, subject.folder, how)

    def _try_shares(
        self,
        examiner: Examiner,
        subjects: Mapping[str, Subject],
        suites: Sequence[PickedSuite],
        look: Look,
    ) -> tuple[Look, Interpolation | None]:
        """Try weights between its parent's and its own if only what it forgot is against it."""
        gate, verdict = self.config.gate, look.verdict
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
                lambda tried, number: self._trial(examiner, tried, suites, number, verdict),
            )
        )
        records = tuple(trial.record() for trial in trials)
        passing = [t for t in trials if t.keeps_canaries]
        passing += [t for t in trials if t.passes and verdict.forgot]
        if not passing:
            return look, Interpolation(tried=records, chosen=None)
        return passing[0].look, Interpolation(tried=records, chosen=passing[0].share)

    def _trial(
        self,
        examiner: Examiner,
        subjects: Mapping[str, Subject],
        suites: Sequence[PickedSuite],
        trial: int,
        whole: Verdict,
    ) -> Look:
        """Ask first what is against the whole candidate: if it is against a trial, that is all."""
        part = [s for s in suites if s.suite.name in failed_suites(whole)]
        gate = strict(self.config.gate, len(suites))
        if part and gate is not None:
            builder = ReportBuilder(self.spec, part, clusters_of(part))
            measured = self._measure(examiner, subjects, part, known_base=True)
            verdict = self._verdict(builder, measured, trial, gate)
            if (verdict.forgot or not whole.forgot) and failed_suites(verdict):
                return Look(builder, measured, verdict)
        return self._look(examiner, subjects, suites, trial)

    def _verdict(
        self,
        builder: ReportBuilder,
        measured: Mapping[str, MeasuredSubject],
        trial: int = 0,
        gate: GateConfig | None = None,
    ) -> Verdict:
        """Return what the gate says of the candidate, or of a trial, the first being 1."""
        if self.spec.job is None:  # a version in use is watched, not judged
            return Verdict(())
        report = builder.report(measured, created_at="")
        evidence = evidence_of(to_json(report))
        return judge(evidence, gate or self.config.gate, look=self.spec.job.look + trial)

    def _count(self, items: int) -> None:
        """Add *items* to the asked ones in the heartbeat."""
        self.heartbeat.beat(evaluation_done=(self.heartbeat.now.evaluation_done or 0) + items)

    def _between_passes(self) -> None:
        """Beat; leave the evaluation if a stop was asked for."""
        self.heartbeat.beat(phase=Phase.EVALUATING_CANDIDATE)
        if self.lifeline.stopping:
            raise Interrupted(f"evaluation stopped: {self.lifeline.cause}")
