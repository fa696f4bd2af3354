"""
One evaluation, from its spec to its report.
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from finetuned.core.phase import Phase
from finetuned.data.render import Renderer
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.asking import Asking
from finetuned.evaluation.correcting import Correcting
from finetuned.evaluation.looking import Looking
from finetuned.evaluation.selected_suites import asked_suites
from finetuned.evaluation.subjects import CANDIDATE, Models, subjects_of
from finetuned.files.base_model import position_limit
from finetuned.files.eval_report import write_eval_report
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.run import utc_now
from finetuned.files.spec import EvaluationSpec
from finetuned.process.lifeline import Lifeline


class EvaluationRun:
    """
    Measures every subject on every suite, as far as that is needed for a verdict.
    """

    def __init__(self, run_dir: Path, spec: EvaluationSpec, lifeline: Lifeline) -> None:
        self.run_dir = run_dir
        self.spec = spec
        self.lifeline = lifeline
        self.config = spec.config
        self.heartbeat = Heartbeat(run_dir)
        self.models = Models(self.config.model)
        self._began = time.monotonic()

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
            asking = Asking(
                self.spec,
                renderer,
                self.models,
                store,
                self.heartbeat,
                self.lifeline,
                self._began,
            )
            looking = Looking(asking, self.run_dir, subjects, suites)
            look, interpolation = looking.look(), None
            created_at = utc_now()
            if self.spec.job is not None:
                look, interpolation = looking.try_shares(look)
            confidence = None
            if self.spec.job is not None:
                confidence = look.builder.calibration(look.measured[CANDIDATE])
            report = look.builder.report(
                look.measured,
                created_at=created_at,
                interpolation=interpolation,
                confidence=confidence,
            )
            if self.spec.job is not None:
                store.add_results(self.spec.run_id, report.subjects, report.items)
            if self.spec.corrections is not None:
                Correcting(asking, self.run_dir, subjects[CANDIDATE]).write(look, interpolation)
        write_eval_report(self.run_dir, report)
        self.heartbeat.beat(force=True, phase=Phase.EVALUATED)

    def _renderer(self, base: Path) -> Renderer:
        return Renderer.load(
            base,
            # A question may be as long as the model can read, even if training rows are cut.
            max_length=max(self.config.data.max_length, position_limit(base) or 0),
            enable_thinking=self.config.model.enable_thinking,
        )
