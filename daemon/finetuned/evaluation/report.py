"""
The eval report, put together from what the subjects did.

Pure; does not know models, files or the gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from finetuned.core.clusters import ItemText, cluster_items
from finetuned.core.confidence.calibration import Calibration, MarkedEnding, calibrate
from finetuned.core.confidence.signs import Ending
from finetuned.core.job import JobKind
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.chat_template import BASE
from finetuned.data.suite import Question
from finetuned.evaluation.measured import MeasuredSubject, item_record
from finetuned.evaluation.selected_suites import PickedSuite
from finetuned.files.eval_report import EvalReport, Interpolation, ItemRecord
from finetuned.files.spec import EvaluationSpec


def clusters_of(suites: Sequence[PickedSuite]) -> dict[tuple[str, str], str]:
    """
    Return the cluster of each item, by its suite and id.

    The new rows of all datasets are looked at together, every other suite on its own, as the
    gate judges them.
    """
    pools: dict[str, list[tuple[str, Question]]] = {}
    for picked in suites:
        suite = picked.suite
        pool = str(suite.origin) if suite.origin is SuiteOrigin.NEW else suite.name
        pools.setdefault(pool, []).extend((suite.name, q) for q in suite.questions)
    return {
        (suite, question.id): f"{pool}/{number}"
        for pool, found in pools.items()
        for (suite, question), number in zip(
            found, cluster_items([_text_of(q) for _, q in found]), strict=True
        )
    }


def _text_of(question: Question) -> ItemText:
    prompt = question.prompt if question.example.text is None else question.example.text
    return ItemText(prompt, question.golden or "")


def domain_of(question: Question, title: str) -> str:
    """
    Return what a question is about: the class in its row's metadata, else the suite's title.
    """
    found = question.example.metadata.get("class")
    return found if isinstance(found, str) and found else title


@dataclass(frozen=True, slots=True)
class ReportBuilder:
    """
    What does not change while the subjects are measured.
    """

    spec: EvaluationSpec
    suites: Sequence[PickedSuite]
    clusters: Mapping[tuple[str, str], str]
    """Of each item, by its suite and id; see clusters_of."""
    chat_template: str = BASE
    """As data.chat_template.ChatTemplate.origin."""

    def report(
        self,
        subjects: Mapping[str, MeasuredSubject],
        *,
        created_at: str,
        interpolation: Interpolation | None = None,
        confidence: Calibration | None = None,
    ) -> EvalReport:
        """
        Return the report of *subjects*, by base, incumbent and candidate.
        """
        spec, job = self.spec, self.spec.job
        return EvalReport(
            run_id=spec.run_id,
            job_id=None if job is None else job.job_id,
            job_kind=JobKind.TRAINING if job is None else job.job_kind,
            created_at=created_at,
            base=spec.config.model.base,
            chat_template=self.chat_template,
            incumbent=None if spec.incumbent is None else spec.incumbent.version,
            head=None if spec.head is None else spec.head.version,
            datasets=() if job is None else job.datasets,
            suites=tuple(picked.record() for picked in self.suites),
            subjects={name: subject.scores() for name, subject in subjects.items()},
            items=self._items(subjects),
            interpolation=interpolation,
            confidence=confidence,
        )

    def calibration(self, candidate: MeasuredSubject) -> Calibration:
        """
        Return what the candidate's generated answers say of its confidence.
        """
        return calibrate(
            [
                MarkedEnding(
                    ending=Ending(raw.likelihood, raw.n_refused, raw.stopped, outcome.invented),
                    is_right=outcome.correct,
                    family=self.clusters[picked.suite.name, question.id],
                    domain=domain_of(question, picked.suite.title),
                )
                for picked in self.suites
                if picked.suite.name in candidate.suites
                for question in picked.suite.questions
                if (outcome := candidate.suites[picked.suite.name].outcomes.get(question.id))
                and (raw := outcome.raw).likelihood is not None
                and outcome.correct is not None
            ]
        )

    def _items(self, subjects: Mapping[str, MeasuredSubject]) -> tuple[ItemRecord, ...]:
        """Return every item with the outcomes of the subjects that were asked themselves."""
        asked = {name: subject for name, subject in subjects.items() if subject.same_as is None}
        return tuple(
            replace(
                item_record(
                    picked.suite,
                    question,
                    {
                        name: subject.suites[picked.suite.name]
                        for name, subject in asked.items()
                        if picked.suite.name in subject.suites
                    },
                ),
                cluster=self.clusters[picked.suite.name, question.id],
            )
            for picked in self.suites
            for question in picked.suite.questions
        )
