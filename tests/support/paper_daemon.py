"""
A whole supervisor on a real root whose workers are paper: each run is done as it is assigned.

Everything on disk is real: claims, datasets, candidates, reports, versions and the journal. What
becomes of a file follows from the first word of its name: better-, equal-, worse- or forgets-.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from finetuned.config import Config
from finetuned.core.run import RunKind
from finetuned.files.atomic import publish_dir, write_atomic
from finetuned.files.dataset_result import (
    DATASET_REPORT,
    RESULTS,
    DatasetOutcome,
    DatasetResult,
    write_result,
)
from finetuned.files.manifest import write_manifest
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.run import CANDIDATE, REPORT, read_json
from finetuned.files.spec import (
    SPEC,
    ClaimedFile,
    EvaluationSpec,
    IngestionSpec,
    TrainingSpec,
    read_spec,
)
from finetuned.layout import MANIFEST, Layout
from finetuned.supervisor.loop import Supervisor
from finetuned.supervisor.pages import Pages
from finetuned.supervisor.runs import ahead, jobs, run
from support.candidates import make_candidate
from support.desk import PaperWorker

ROWS = 12
"""Lines of a dropped file: one is refused, two are held out, the others are trained."""

ASKED = 12
"""Items of each suite; 12 that all change are proof enough at any look."""

MOST_SECONDS = 60.0
"""After this time a daemon that should be idle has hung."""


def configuration() -> Config:
    """
    Return settings under which a turn waits for nothing.
    """
    found = Config()
    return replace(
        found,
        inbox=replace(found.inbox, stability_seconds=0.0, scan_seconds=0.1),
        watch=replace(found.watch, minutes=0),
        evaluation=replace(found.evaluation, suites=""),
        supervisor=replace(found.supervisor, disk_reserve_bytes=0, warm_worker_seconds=0.0),
    )


class PaperDoer(PaperWorker):
    """
    A worker that has done its run as soon as it is told of it.
    """

    def assign(self, run_dir: Path) -> None:
        super().assign(run_dir)
        match (read_json(run_dir / SPEC) or {})["kind"]:
            case RunKind.INGESTION:
                spec = read_spec(run_dir, IngestionSpec)
                (run_dir / RESULTS).mkdir()
                for file in spec.files:
                    write_result(run_dir, file.dataset_key, _read(file, spec.datasets_dir))
            case RunKind.TRAINING:
                _train(run_dir, read_spec(run_dir, TrainingSpec))
            case _:
                report = _report(read_spec(run_dir, EvaluationSpec))
                write_atomic(run_dir / REPORT, orjson.dumps(report))
        self.finish()


@contextmanager
def paper_workers() -> Iterator[None]:
    """
    Let every supervisor of this process start paper workers, and make no page.
    """

    def spawn(_context: object, kind: RunKind, **_: object) -> PaperDoer:
        return PaperDoer(kind)

    with pytest.MonkeyPatch.context() as patch:
        for module in (run, ahead, jobs):
            patch.setattr(module, "spawn", spawn)
        patch.setattr(Pages, "ask", lambda *_: None)  # a page is a process
        yield


def drop(layout: Layout, name: str) -> None:
    """
    Put a file of ROWS rows, all its own, into the inbox.
    """
    rows = [{"prompt": f"{name} {n}", "completion": "yes"} for n in range(ROWS)]
    layout.inbox.mkdir(parents=True, exist_ok=True)
    (layout.inbox / name).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def run_daemon(
    layout: Layout, config: Config, *, until: Callable[[Supervisor], bool] = lambda _: False
) -> Supervisor:
    """
    Start a daemon, let it work until it is idle or *until* is true, and end it where it stands.

    Returns:
        What ran, its journal closed.
    """
    supervisor = Supervisor(layout, config, until_idle=True)
    try:
        supervisor._recover()
        deadline = time.monotonic() + MOST_SECONDS
        while time.monotonic() < deadline:
            supervisor.turn()
            if supervisor._leaving or until(supervisor):
                return supervisor
        waits = supervisor._board.fields["waiting_reason"]
        raise AssertionError(f"the daemon is not idle after {MOST_SECONDS:g} s: {waits}")
    finally:
        supervisor._inbox_events.stop()  # threads; a thousand daemons run in one process here
        supervisor._context.journal.close()


def _read(file: ClaimedFile, datasets: Path) -> DatasetResult:
    """Make a dataset of a claimed file, as an ingestion leaves it."""
    sha256 = hashlib.sha256(file.path.read_bytes()).hexdigest()
    folder = datasets / sha256[:16]
    known = (folder / MANIFEST).is_file()
    split = {"heldout_rows": 2, "reserved_rows": 0, "train_rows": ROWS - 3}
    report = {"rows_read": ROWS, "rows_rejected": 1, "rows_accepted": ROWS - 1, "split": split}
    if not known:
        building = datasets / f".building-{folder.name}"
        building.mkdir(parents=True)
        (building / DATASET_REPORT).write_bytes(orjson.dumps(report))
        write_manifest(building, {"n_train_sequences": ROWS - 3, "n_heldout": 2})
        publish_dir(building, folder)
    outcome = DatasetOutcome.DUPLICATE if known else DatasetOutcome.ACCEPTED
    return DatasetResult(result=outcome, dataset_id=folder.name, sha256=sha256, report=report)


def _train(run_dir: Path, spec: TrainingSpec) -> None:
    """Leave the candidate of a job."""
    folder = make_candidate(run_dir / CANDIDATE, text=f"weights of {spec.run_id}")
    datasets = [
        {
            "dataset_id": d.dataset_id,
            "name": d.name,
            "sha256": d.sha256,
            "n_examples": ROWS - 3,
            "n_supervised_tokens": ROWS,
        }
        for d in spec.datasets
    ]
    facts: dict[str, Any] = {
        "kind": "candidate",
        "run_id": spec.run_id,
        "job_id": spec.job_id,
        "parent": spec.parent.name if spec.parent else None,
        "base": spec.config.model.base,
        "base_version": spec.base_version,
        "job_steps": 2,
        "planned_steps": 2,
        "datasets": datasets,
    }
    write_manifest(folder, facts)


def _report(spec: EvaluationSpec) -> dict[str, Any]:
    """Return what an evaluation finds, by the names of the job's files."""
    assert spec.job is not None
    word = spec.job.datasets[0].name.partition("-")[0]
    own = {f"heldout-{d.dataset_id}" for d in spec.job.datasets}
    subjects: dict[str, str | None] = {"base": None, "incumbent": None, "candidate": None}
    if spec.incumbent is None or spec.incumbent.version is None:
        subjects["incumbent"] = "base"
    if spec.head is not None:
        subjects["head"] = "base" if spec.head.version is None else None
    before, after = {"better": (False, True), "worse": (True, False)}.get(word, (False, False))
    if word == "forgets":
        before, after = False, True
    suites, items = [], []
    for origin, folders in (("new", spec.job.new), ("old", spec.job.old)):
        for rows in folders:
            name = f"heldout-{rows.dir.name}"
            was, is_now = (before, after) if name in own else (True, word != "forgets")
            suites.append(
                {
                    "name": name,
                    "origin": origin,
                    "title": rows.name,
                    "n_items": ASKED,
                    "required": True,
                    "problem": None,
                }
            )
            outcomes = {
                who: _outcome(is_now if who == "candidate" else was)
                for who, same_as in subjects.items()
                if same_as is None
            }
            items += [
                {"suite": name, "id": str(n), "cluster": str(n), "outcomes": outcomes}
                for n in range(ASKED)
            ]
    manifest = read_model_manifest(spec.candidate.folder or spec.candidate.base)
    return {
        "run_id": spec.run_id,
        "job_id": manifest.job_id,
        "suites": suites,
        "items": items,
        "subjects": {
            who: {"version": None, "same_as": same_as, "suites": _scores(suites, items, who)}
            for who, same_as in subjects.items()
        },
        "datasets": [{"name": d.name} for d in spec.job.datasets],
        "interpolation": {"tried": [], "chosen": None},
    }


def _outcome(right: bool) -> dict[str, Any]:
    return {
        "correct": right,
        "stopped": True,
        "loss": 1.0 if right else 9.0,
        "n_tokens": 4,
        "exact": right,
        "score": float(right),
        "timed_out": False,
        "answer": "yes" if right else "no",
    }


def _scores(
    suites: list[dict[str, Any]], items: list[dict[str, Any]], who: str
) -> dict[str, dict[str, Any]]:
    scores = {}
    for suite in suites:
        asked = [i["outcomes"] for i in items if i["suite"] == suite["name"]]
        right = sum(outcomes[who]["correct"] for outcomes in asked if who in outcomes)
        scores[suite["name"]] = {
            "n_items": ASKED,
            "n_asked": ASKED,
            "n_correct": right,
            "n_exact": right,
            "accuracy": right / ASKED,
            "loss": 1.0,
            "loss_tokens": 4 * ASKED,
            "complete": True,
            "stop_rate": 1.0,
            "n_timed_out": 0,
        }
    return scores
