"""
The gate's evidence for one finalist: the evaluation worker asks it, and the gate judges.

The same questions as for a candidate of the daemon: held-out rows of the dataset and of earlier
files, benchmarks and canaries, against the version in use. Nothing is published.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from finetuned.config import Config
from finetuned.core.evidence import evidence_of
from finetuned.core.gate.judge import judge
from finetuned.core.gate.verdict import RuleKind
from finetuned.core.job import JobKind
from finetuned.core.run import RunKind
from finetuned.data.answer_formats import resolved_format
from finetuned.errors import EXIT_OK
from finetuned.files.heartbeat import Beat
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.run import REPORT, read_json
from finetuned.files.spec import (
    EvaluationSpec,
    HeldOutRows,
    JobQuestions,
    SubjectSpec,
    TrainedDataset,
)
from finetuned.files.study_result import GateEvidence, SuiteScore
from finetuned.layout import Layout
from finetuned.tuning.folder import StudyFolder
from finetuned.tuning.giving_way import GivingWay
from finetuned.tuning.rows import StudyRows
from finetuned.tuning.start import Start
from finetuned.tuning.trainer import JOB
from finetuned.tuning.workers import Order, StudyWorkers, failure

EVALUATION: Final = "evaluation"
"""The run folder, below the trial's."""


@dataclass(frozen=True, slots=True)
class Examiner:
    """
    Asks the finalists of one study.
    """

    layout: Layout
    config: Config
    start: Start
    rows: StudyRows
    study: StudyFolder
    workers: StudyWorkers
    giving_way: GivingWay
    on_progress: Callable[[Beat], None]
    on_wait: Callable[[str], None]

    def evidence(self, trial: Path, candidate: Path) -> GateEvidence:
        """
        Return what the gate says of *candidate*; a report that is there is not made again.

        Args:
            trial: Folder of the finalist.
            candidate: Its weights.

        Raises:
            Interrupted: The worker failed.
            OSError: The file system refused.
        """
        run = trial / EVALUATION
        while (report := read_json(run / REPORT)) is None:
            if self.giving_way.reason() is not None:
                self.workers.rest()
                self.giving_way.wait(self.on_wait)
            shutil.rmtree(run, ignore_errors=True)  # answers are kept in the study's own store
            end = self.workers.run(run, self._spec(run, candidate), self._watch)
            if end.status != EXIT_OK and end.ordered is Order.GO_ON:
                raise failure(f"the evaluation of {trial.name} failed", run, end)
        return self._judged(report)

    def _watch(self, beat: Beat | None) -> Order:
        if self.giving_way.reason() is not None:
            return Order.STOP
        if beat is not None:
            self.on_progress(beat)
        return Order.GO_ON

    def _judged(self, report: Mapping[str, Any]) -> GateEvidence:
        head = self.start.head is not None
        verdict = judge(evidence_of(report, head=head), self.config.gate)
        harm = tuple(
            f"{rule.name}: {rule.detail}"
            for rule in verdict.rules
            if rule.kind is RuleKind.HARM and not rule.passed
        )
        return GateEvidence(
            verdict=verdict.outcome,
            reason=verdict.reason,
            harm=harm,
            suites=tuple(_scores(report)),
        )

    def _spec(self, run: Path, candidate: Path) -> EvaluationSpec:
        start, layout = self.start, self.layout
        own = HeldOutRows(dir=self.rows.dataset.dir, name=self.rows.dataset.name)
        released = {rows.dir for rows in start.released}
        held = [rows for rows in start.earlier if rows.dir not in released]
        trained = TrainedDataset(
            dataset_id=self.rows.dataset.dataset_id,
            name=self.rows.dataset.name,
            n_examples=self.rows.n_train,
        )
        return EvaluationSpec(
            kind=RunKind.EVALUATION,
            run_id=f"{self.study.path.name}-{run.parent.name}",
            worker_growth=self.workers.growth,
            config=self.config,
            candidate=SubjectSpec(base=start.weights.base, folder=candidate),
            incumbent=start.release,
            head=start.head,
            benchmarks=layout.benchmarks,
            answers=self.study.answers,
            answer_format=resolved_format(self.config.model.answer_format, layout.root),
            job=JobQuestions(
                job_id=JOB,
                job_kind=JobKind.TRAINING,
                base=SubjectSpec(base=start.weights.base),
                datasets=(trained,),
                new=(*held, own),
                old=start.released,
                also=(),
                training_seconds=read_model_manifest(candidate).training_seconds,
            ),
        )


def _scores(report: Mapping[str, Any]) -> list[SuiteScore]:
    """Return right answers by suite; suites of which nothing was generated are left out."""
    subjects = report.get("subjects", {})
    before = subjects.get("incumbent") or subjects.get("base") or {}
    found = []
    for suite in report.get("suites", []):
        score = subjects.get("candidate", {}).get("suites", {}).get(suite["name"])
        if score is None or not score.get("n_asked"):
            continue
        other = before.get("suites", {}).get(suite["name"]) or {}
        found.append(
            SuiteScore(
                title=str(suite.get("title") or suite["name"]),
                origin=str(suite["origin"]),
                asked=int(score["n_asked"]),
                right=int(score["n_correct"]),
                right_before=other.get("n_correct"),
            )
        )
    return found
