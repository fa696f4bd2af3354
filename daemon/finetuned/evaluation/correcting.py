"""
The corrections of one job, made at the end of its evaluation, while its candidate is at hand.

They lie in the run's folder; whether they are trained is decided with the candidate. Whatever
keeps them from being made is written beside them and keeps no verdict back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from finetuned.core.line_set import LineSet
from finetuned.core.promotion import VersionVerdict
from finetuned.data.render import Renderer
from finetuned.errors import FinetunedError, Interrupted
from finetuned.evaluation.asking import Asking
from finetuned.evaluation.corrections import collector
from finetuned.evaluation.subjects import Subject
from finetuned.evaluation.trials import Look
from finetuned.files.atomic import write_atomic
from finetuned.files.drop import to_jsonl
from finetuned.files.eval_report import Interpolation
from finetuned.files.learnt_file import LearntFile
from finetuned.files.run import CORRECTIONS, CORRECTIONS_REPORT
from finetuned.files.spec import CorrectionSpec
from finetuned.sources.augment import KeptOut
from finetuned.sources.correction import Collected, trained_rows
from finetuned.sources.correction.collect import ASKED_FOR_EACH

REJECTED = "the candidate is rejected"
IN_BETWEEN = "weights between the candidate and its parent were tried"
"""Why nothing is asked: what was trained is not what is judged."""


@dataclass(frozen=True, slots=True)
class Correcting:
    """
    Asks the candidate rows of its own job.
    """

    asking: Asking
    run_dir: Path
    candidate: Subject

    def write(self, look: Look, interpolation: Interpolation | None) -> None:
        """
        Write the rows that were made, if any, then the report on them.

        Args:
            look: At what is judged.
            interpolation: What was tried beside the candidate.

        Raises:
            Interrupted: A stop was asked for; nothing was written.
            OSError: The disk refused.
        """
        spec = self.asking.spec.corrections
        if spec is None:
            return
        report: dict[str, object]
        if look.verdict.outcome is VersionVerdict.REJECTED:
            report = {"none_because": REJECTED}
        elif interpolation is not None:
            report = {"none_because": IN_BETWEEN}
        else:
            report = self._made(spec)
        write_atomic(self.run_dir / CORRECTIONS_REPORT, orjson.dumps(report))

    def _made(self, spec: CorrectionSpec) -> dict[str, object]:
        try:
            found = self._collect(spec)
        except Interrupted:
            raise
        except (FinetunedError, OSError, ValueError) as error:
            return {"none_because": f"{type(error).__name__}: {error}"}
        if found.rows:
            write_atomic(self.run_dir / CORRECTIONS, to_jsonl(found.rows))
        return {"rows": len(found.rows), **found.counts.as_dict()}

    def _collect(self, spec: CorrectionSpec) -> Collected:
        asking, config = self.asking, self.asking.spec.config
        files = [
            LearntFile(
                dataset=file.dataset,
                path=file.path,
                name=file.name,
                unseen=frozenset(LineSet.from_text(file.unseen).lines()),
            )
            for file in spec.files
        ]
        rows = trained_rows(
            files,
            ASKED_FOR_EACH * spec.max_examples,
            seed=spec.seed,
            max_bytes=config.data.max_line_bytes,
        )
        return collector(
            asking.models.get(self.candidate),
            self._renderer(),
            config.evaluation,
            name=asking.spec.job.job_id if asking.spec.job is not None else asking.spec.run_id,
            kept_out=KeptOut.load(spec.datasets, asking.spec.benchmarks),
            max_examples=spec.max_examples,
            deadline=time.monotonic() + spec.seconds,
            on_progress=asking.between_passes,
        ).collect(rows)

    def _renderer(self) -> Renderer:
        """Return one that refuses what training would refuse."""
        config = self.asking.spec.config
        return Renderer.load(
            self.candidate.base,
            max_length=config.data.max_length,
            enable_thinking=config.model.enable_thinking,
        )
