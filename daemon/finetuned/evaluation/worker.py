"""
One eval report: base, incumbent and candidate on the same items.

A process of its own, ``python -m finetuned.evaluation.worker``, told its run
folders like the training worker, and like it stays for the next one; between two
it keeps its imports and no model, since the device is the training's then. It
measures and writes. Where the gate would refuse a candidate only for what it
forgot, it measures weights between the incumbent's and the candidate's as well;
what the numbers decide is the supervisor's.

Exit status: 0 the report is there, 70 a bug, 75 stopped or refused by the file
system, 78 the configuration is wrong.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from finetuned.core.evidence import evidence_of
from finetuned.core.gate.judge import judge
from finetuned.core.job import JobKind
from finetuned.core.phase import Phase
from finetuned.core.record import to_json
from finetuned.errors import Interrupted
from finetuned.evaluation.selected_suites import (
    PickedSuite,
    pick_benchmarks,
    pick_heldout,
    renderable,
)
from finetuned.evaluation.subjects import Models, Subject, compute_signature
from finetuned.files.atomic import write_atomic
from finetuned.files.base_model import position_limit
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.run import REPORT, utc_now
from finetuned.files.spec import EvaluationSpec
from finetuned.layout import CANARIES
from finetuned.process.lifeline import Lifeline
from finetuned.process.worker import run_worker

SCHEMA_VERSION = 2

BASE, INCUMBENT, CANDIDATE_SUBJECT = "base", "incumbent", "candidate"


class EvaluationRun:
    """
    One evaluation from spec to report.
    """

    def __init__(self, run_dir: Path, spec: EvaluationSpec, lifeline: Lifeline) -> None:
        self.run_dir = run_dir
        self.spec = spec
        self.lifeline = lifeline
        self.config = spec.config
        self.heartbeat = Heartbeat(run_dir)
        self.models = Models(self.config.model)
        self._measured: dict[str, dict[str, Any]] = {}
        """Subject -> suite -> Measured."""

    def run(self) -> None:
        """
        Measure every subject on every suite and write the report, durably.

        Raises:
            Interrupted: A stop was asked for; there is no report.
            ModelError: A model cannot be loaded.
            OSError: The file system refused; there is no report.
        """
        from finetuned.data.render import Renderer
        from finetuned.evaluation.answers import AnswerStore
        from finetuned.evaluation.measure import Examiner

        self.heartbeat.beat(force=True, phase=Phase.LOADING_FOR_EVALUATION)
        subjects = self._subjects()
        base = subjects[CANDIDATE_SUBJECT].base
        renderer = Renderer.load(
            base,
            # What a model can read it can be asked, however short the rows are that it trains.
            max_length=max(self.config.data.max_length, position_limit(base) or 0),
            enable_thinking=self.config.model.enable_thinking,
        )
        suites = [renderable(picked, renderer) for picked in self._pick()]
        n_questions = sum(len(s.suite.questions) for s in suites)
        self.heartbeat.beat(
            force=True, evaluation_done=0, evaluation_total=len(subjects) * n_questions
        )
        store = AnswerStore(self.spec.answers)
        try:
            examiner = Examiner(renderer, self.config.evaluation, store, self._go_on)
            report = self._report(examiner, subjects, suites)
            if self.config.gate.shares and self.spec.job is not None:
                self._try_less(examiner, subjects, suites, report)
            if self.spec.job is not None:
                store.add_results(self.spec.run_id, report["subjects"], report["items"])
        finally:
            store.close()
        write_atomic(self.run_dir / REPORT, orjson.dumps(report, option=orjson.OPT_INDENT_2))
        self.heartbeat.beat(force=True, phase=Phase.EVALUATED)

    def _subjects(self) -> dict[str, Subject]:
        """Return the models to ask, by the part that they play."""
        job = self.spec.job
        parts = {
            BASE: None if job is None else job.base,
            INCUMBENT: self.spec.incumbent,
            CANDIDATE_SUBJECT: self.spec.candidate,
        }
        return {
            part: Subject(part, model.base, model.folder, model.version)
            for part, model in parts.items()
            if model is not None
        }

    def _pick(self) -> list[PickedSuite]:
        job, config, folder = self.spec.job, self.config.evaluation, self.spec.benchmarks
        if job is None:
            return pick_benchmarks(folder, CANARIES)
        return [
            *pick_heldout(job.new, job.old, config.final_max_rows),
            *pick_benchmarks(folder, config.suites, also=job.also),
        ]

    # -- measuring --------------------------------------------------------------------

    def _report(
        self, examiner: Any, subjects: dict[str, Subject], suites: Sequence[PickedSuite]
    ) -> dict[str, Any]:
        spec, job = self.spec, self.spec.job
        report: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": spec.run_id,
            "job_id": None if job is None else job.job_id,
            "job_kind": JobKind.TRAINING if job is None else job.job_kind,
            "created_at": "",
            "base": self.config.model.base,
            "incumbent": None if spec.incumbent is None else spec.incumbent.version,
            "version": None,
            "datasets": [] if job is None else [to_json(d) for d in job.datasets],
            "suites": [picked.record() for picked in suites],
            "subjects": {},
            "items": [],
            "interpolation": None,
        }
        for name, subject in subjects.items():
            same = next(
                (s for s in subjects if s in report["subjects"] and subjects[s].is_same(subject)),
                None,
            )
            if same is not None and name != CANDIDATE_SUBJECT:
                report["subjects"][name] = {**report["subjects"][same], "same_as": same}
                self._count(sum(len(picked.suite.questions) for picked in suites))
                continue
            report["subjects"][name] = self._examine(examiner, subject, suites)
        self._fill_items(report, suites)
        report["created_at"] = utc_now()
        return report

    def _examine(
        self, examiner: Any, subject: Subject, suites: Sequence[PickedSuite]
    ) -> dict[str, Any]:
        from finetuned.evaluation.measure import score

        began, loading = time.monotonic(), self.models.seconds
        deadline = began + self.config.evaluation.final_timeout_seconds
        measured = self._measured[subject.name] = {}
        digest = self._digest(subject)
        for picked in suites:
            self.heartbeat.beat(
                force=True,
                phase=Phase.EVALUATING_CANDIDATE,
                subject=subject.name,
                suite=picked.suite.title,
            )
            if picked.problem is None:
                measured[picked.suite.name] = examiner.measure(
                    lambda: self.models.get(subject), digest, picked.suite, deadline=deadline
                )
                self._count(len(picked.suite.questions))
        load_seconds = self.models.seconds - loading
        return {
            "version": subject.version,
            "same_as": None,
            "seconds": round(time.monotonic() - began - load_seconds, 3),
            "load_seconds": round(load_seconds, 3),
            "suites": {name: score(m) for name, m in measured.items()},
        }

    def _digest(self, subject: Subject) -> str:
        from finetuned.evaluation.answers import model_digest

        how = compute_signature(self.config.model)
        if self.spec.job is None and subject.name == CANDIDATE_SUBJECT:
            how.append(self.spec.run_id)  # to be asked again, whatever it said before
        return model_digest(subject.base, subject.folder, how)

    def _fill_items(self, report: dict[str, Any], suites: Sequence[PickedSuite]) -> None:
        from finetuned.evaluation.measure import item_record

        report["items"] = [
            item_record(
                picked.suite,
                question,
                {
                    subject: measured[picked.suite.name]
                    for subject, measured in self._measured.items()
                    if picked.suite.name in measured
                },
            )
            for picked in suites
            for question in picked.suite.questions
        ]

    # -- less of the same change --------------------------------------------------------

    def _try_less(
        self,
        examiner: Any,
        subjects: dict[str, Subject],
        suites: Sequence[PickedSuite],
        report: dict[str, Any],
    ) -> None:
        """
        Measure weights between incumbent and candidate, and report the best that would pass.
        """
        from finetuned.evaluation.interpolate import interpolate, is_possible

        if not judge(evidence_of(report), self.config.gate).forgot:
            return
        incumbent, candidate = subjects[INCUMBENT], subjects[CANDIDATE_SUBJECT]
        if not is_possible(incumbent, candidate):
            return
        whole = (report["subjects"][CANDIDATE_SUBJECT], self._measured[CANDIDATE_SUBJECT])
        tried: list[dict[str, Any]] = []
        best: tuple[float, float, Any, Any] | None = None
        for share in self.config.gate.shares:
            folder = interpolate(incumbent, candidate, share, self.run_dir)
            less = Subject(CANDIDATE_SUBJECT, candidate.base, folder)
            found = self._examine(examiner, less, suites)
            report["subjects"][CANDIDATE_SUBJECT] = found
            self._fill_items(report, suites)
            passes = judge(evidence_of(report), self.config.gate).promote
            tried.append({"a": share, "passes": passes, **_shares_right(report)})
            right = sum(s["n_correct"] for s in found["suites"].values())
            if passes and (best is None or right > best[0]):
                best = (right, share, found, self._measured[CANDIDATE_SUBJECT])
        chosen = whole if best is None else best[2:]
        report["subjects"][CANDIDATE_SUBJECT], self._measured[CANDIDATE_SUBJECT] = chosen
        self._fill_items(report, suites)
        report["interpolation"] = {"tried": tried, "chosen": None if best is None else best[1]}

    def _count(self, items: int) -> None:
        """Show that so many more items are asked."""
        self.heartbeat.beat(evaluation_done=(self.heartbeat.now.evaluation_done or 0) + items)

    def _go_on(self) -> None:
        self.heartbeat.beat(phase=Phase.EVALUATING_CANDIDATE)
        if self.lifeline.stopping:
            raise Interrupted(f"evaluation stopped: {self.lifeline.cause}")


def _shares_right(report: dict[str, Any]) -> dict[str, float | None]:
    """Return the candidate's share of right answers on new and on older suites."""
    scores = report["subjects"][CANDIDATE_SUBJECT]["suites"]
    found: dict[str, float | None] = {}
    for name, origins in (("accuracy_new", ("new",)), ("accuracy_old", ("old", "benchmark"))):
        rows = [scores[s["name"]] for s in report["suites"] if s["origin"] in origins]
        asked = sum(row["n_asked"] for row in rows)
        found[name] = sum(row["n_correct"] for row in rows) / asked if asked else None
    return found


def _imports() -> None:
    import finetuned.data.render
    import finetuned.data.store
    import finetuned.evaluation.measure
    import finetuned.inference.ask
    import finetuned.model.load  # noqa: F401

    gc.freeze()  # what was imported stays: a look for a dropped model need not pass over it


def main(argv: list[str] | None = None) -> int:
    """
    Run the worker; see the module's text for the exit status.
    """

    used_device = False

    def work(run_dir: Path, spec: EvaluationSpec, lifeline: Lifeline) -> None:
        nonlocal used_device
        run = EvaluationRun(run_dir, spec, lifeline)
        try:
            run.run()
        finally:
            used_device = used_device or run.models.used_device
            run.models.release()

    def idle() -> bool:
        gc.collect()  # a model is full of cycles
        # The context on a device is hundreds of MB and goes only with its process.
        return not used_device

    return run_worker(argv, spec=EvaluationSpec, warm_up=_imports, work=work, idle=idle)


if __name__ == "__main__":
    raise SystemExit(main())
