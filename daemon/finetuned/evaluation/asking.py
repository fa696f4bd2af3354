"""
The models of one evaluation asked suites, within its time, while the heartbeat says how far it is.

Does not know what the answers mean.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from finetuned.config import GateConfig
from finetuned.core.gate.first_look import may_settle
from finetuned.core.phase import Phase
from finetuned.data.render import Renderer
from finetuned.errors import Interrupted
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.examiner import Asked, Examiner
from finetuned.evaluation.identity import model_digest
from finetuned.evaluation.measured import Measured, MeasuredSubject
from finetuned.evaluation.plan import TimeLimit, make_plan
from finetuned.evaluation.selected_suites import PickedSuite
from finetuned.evaluation.subjects import (
    CANDIDATE,
    Models,
    Subject,
    asking_order,
    compared_with,
    compute_signature,
    is_base_alone,
)
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.spec import EvaluationSpec
from finetuned.process.lifeline import Lifeline

if TYPE_CHECKING:
    from finetuned.model.types import LanguageModel


@dataclass(frozen=True, slots=True)
class Spent:
    """
    Wall time that one model took, in seconds.
    """

    asking: float = 0.0
    loading: float = 0.0


@dataclass(slots=True)
class Asking:
    """
    Asks base, release, head and candidate.
    """

    spec: EvaluationSpec
    renderer: Renderer
    models: Models
    store: AnswerStore
    heartbeat: Heartbeat
    lifeline: Lifeline
    began: float
    """When the evaluation began, on the clock of time.monotonic."""
    examiner: Examiner = field(init=False)
    spent: dict[str, Spent] = field(default_factory=dict)
    """By digest of the weights: what was spent on them in all parts so far."""

    def __post_init__(self) -> None:
        self.examiner = Examiner(
            self.renderer,
            self.spec.config.evaluation,
            self.store,
            self.between_passes,
            self._count,
        )

    @property
    def gate(self) -> GateConfig:
        """The rules that the answers are judged by later."""
        return self.spec.config.gate

    @property
    def time_limit(self) -> TimeLimit:
        """Until when everything must be asked, and until when it should be."""
        config, job = self.spec.config.evaluation, self.spec.job
        must = self.began + 60 * config.max_minutes
        share, should = config.max_training_share, None
        # At a look at which everything is asked, only max_minutes leaves something out.
        if job is not None and job.training_seconds and share and may_settle(self.gate, job.look):
            # Loading is no time of questions: to leave some out would not shorten it.
            should = self.began + self.models.seconds + share * job.training_seconds
        return TimeLimit(must, should)

    def planned(
        self, subjects: Mapping[str, Subject], suites: Sequence[PickedSuite]
    ) -> list[PickedSuite]:
        """
        Return the suites as there is time left for them, and say how long they will take.
        """
        self.heartbeat.beat(phase=Phase.EVALUATING_CANDIDATE, subject=CANDIDATE)
        total = len(subjects) * sum(len(s.suite.questions) for s in suites)
        self.heartbeat.beat(force=True, evaluation_done=0, evaluation_total=total)
        began, loading = time.monotonic(), self.models.seconds
        plan = make_plan(
            self.examiner,
            suites,
            self._asked(subjects[CANDIDATE]),
            [self._asked(subject) for subject in compared_with(subjects)],
            limit=lambda: self.time_limit,
            gate=self.gate,
        )
        # Most of it is spent on the candidate, whose answers of the first part are kept.
        self._add_spent(self.digest(subjects[CANDIDATE]), began, loading)
        left = min(limit for limit in self.time_limit if limit is not None) - self.began
        self.heartbeat.beat(
            force=True,
            eta_seconds=plan.seconds,
            evaluation_left_out=plan.n_left_out,
            evaluation_plan={**plan.record(), "max_seconds": round(left, 1)},
        )
        return list(plan.suites)

    def _asked(self, subject: Subject) -> Asked:
        return Asked(lambda: self._load(subject), self.digest(subject))

    def _load(self, subject: Subject) -> LanguageModel:
        self.heartbeat.beat(force=True, phase_detail=f"loading the {subject.name}")
        return self.models.get(subject)

    def measure(
        self,
        subjects: Mapping[str, Subject],
        suites: Sequence[PickedSuite],
        *,
        known_base: bool = False,
    ) -> dict[str, MeasuredSubject]:
        """
        Examine each subject; one with the weights of an earlier subject has its numbers.

        Args:
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
                found[name] = self._examine(subject, suites, known_only=known_only)
                continue
            one = found[same]
            found[name] = MeasuredSubject(
                one.version, one.seconds, one.load_seconds, one.suites, same_as=same
            )
            self._count(sum(len(picked.suite.questions) for picked in suites))
        return {name: found[name] for name in subjects}

    def _examine(
        self,
        subject: Subject,
        suites: Sequence[PickedSuite],
        *,
        known_only: bool = False,
    ) -> MeasuredSubject:
        """Ask one model every suite that has no problem."""
        began, loading = time.monotonic(), self.models.seconds
        deadline = began + self.spec.config.evaluation.final_timeout_seconds
        if self.spec.job is not None:
            deadline = min(deadline, self.time_limit.must)
        digest = self.digest(subject)
        measured: dict[str, Measured] = {}
        for picked in suites:
            self.heartbeat.beat(
                force=True,
                phase=Phase.EVALUATING_CANDIDATE,
                subject=subject.name,
                suite=picked.suite.title,
            )
            if picked.problem is None:
                found = self.examiner.measure(
                    lambda: self._load(subject),
                    digest,
                    picked.suite,
                    deadline=deadline,
                    known_only=known_only,
                )
                if not known_only:
                    found = self.examiner.measure_free(
                        lambda: self._load(subject), digest, found, deadline=deadline
                    )
                if subject.name == CANDIDATE and picked.swapped is not None:
                    control = self.examiner.measure(
                        lambda: self._load(subject), digest, picked.swapped, deadline=deadline
                    )
                    found = replace(found, swapped=control.outcomes)
                measured[picked.suite.name] = found
        spent = self._add_spent(digest, began, loading)
        return MeasuredSubject(subject.version, spent.asking, spent.loading, measured)

    def _add_spent(self, digest: str, began: float, loading: float) -> Spent:
        """Add the time since *began*, when *loading* seconds had gone into loading."""
        before = self.spent.get(digest, Spent())
        loaded = self.models.seconds - loading
        asked = time.monotonic() - began - loaded
        self.spent[digest] = Spent(before.asking + asked, before.loading + loaded)
        return self.spent[digest]

    def digest(self, subject: Subject) -> str:
        """
        Return the identity under which the answers of *subject* are kept.
        """
        how = compute_signature(self.spec.config.model)
        if self.spec.job is None and subject.name == CANDIDATE:
            how.append(self.spec.run_id)  # a watch asks again, whatever the store knows
        return model_digest(subject.base, subject.folder, how)

    def _count(self, items: int) -> None:
        """Add *items* to the asked ones in the heartbeat."""
        self.heartbeat.beat(evaluation_done=(self.heartbeat.now.evaluation_done or 0) + items)

    def between_passes(self) -> None:
        """
        Beat; leave the evaluation if a stop was asked for.

        Raises:
            Interrupted: It was.
        """
        self.heartbeat.beat(phase=Phase.EVALUATING_CANDIDATE)
        if self.lifeline.stopping:
            raise Interrupted(f"evaluation stopped: {self.lifeline.cause}")
