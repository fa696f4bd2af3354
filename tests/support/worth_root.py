"""
A root in which two files were trained together, by a run that was killed and one that went on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson

from finetuned.config import Config
from finetuned.core.job import JobEvent
from finetuned.core.run import RunKind, RunOutcome
from finetuned.core.suite_origin import HELD_OUT
from finetuned.files.journal import Journal
from finetuned.files.rows import UsageRow
from finetuned.files.run import REPORT
from finetuned.files.tables.datasets import Claim
from finetuned.files.tables.scores import Score, Trained
from finetuned.layout import Layout, Priority

FILES = {"d00000001": ("a.jsonl", "a" * 16), "d00000002": ("b.jsonl", "b" * 16)}
"""Key -> name and dataset."""

RIGHT = {"a" * 16: (2, 18, 20), "b" * 16: (20, 20, 20)}
"""Dataset -> held-out rows right before and after, and how many were asked."""

TOKENS = {"a" * 16: 300, "b" * 16: 100}


def item(suite: str, number: int, *, before: bool, after: bool) -> dict[str, object]:
    """
    Return one question of an eval report, with what base and candidate made of it.
    """
    marks = {"base": before, "candidate": after}
    return {
        "suite": suite,
        "id": str(number),
        "cluster": f"{suite}/{number}",
        "outcomes": {
            who: {"correct": right, "stopped": True, "timed_out": False, "loss": 1.0, "n_tokens": 4}
            for who, right in marks.items()
        },
    }


def eval_report() -> dict[str, object]:
    """
    Return what the evaluation of the job found: ``a`` learnt, ``b`` was known before.
    """
    items, suites = [], []
    for dataset, (before, after, asked) in RIGHT.items():
        suite = f"{HELD_OUT}{dataset}"
        title = f"{dataset[0]}.jsonl"
        suites.append({"name": suite, "title": title, "origin": "new", "n_items": asked})
        items += [item(suite, n, before=n < before, after=n < after) for n in range(asked)]
    score = {name: {"complete": True} for name in (suite["name"] for suite in suites)}
    return {
        "schema_version": 2,
        "suites": suites,
        "items": items,
        "subjects": {
            "base": {"same_as": None, "suites": score},
            "incumbent": {"same_as": "base", "suites": {}},
            "candidate": {"same_as": None, "suites": score},
        },
    }


def scores() -> list[Score]:
    """
    Return the same as counts, as the journal has them.
    """
    return [
        Score(
            subject=subject,
            version=None,
            suite=f"{HELD_OUT}{dataset}",
            origin="new",
            title=f"{dataset[0]}.jsonl",
            n_rows=asked,
            n_asked=asked,
            n_exact=right,
            n_correct=right,
            loss=1.0,
            complete=True,
            stop_rate=1.0,
            n_timed_out=0,
        )
        for dataset, (before, after, asked) in RIGHT.items()
        for subject, right in (("base", before), ("candidate", after))
    ]


USAGE = (
    UsageRow("r000001", 60.0, 50.0, None, None, 0),  # killed with its daemon
    UsageRow("r000002", 90.0, 100.0, 7200.0, 36000.0, 1),
    UsageRow("r000003", 30.0, 30.0, None, None, 0),
)
"""What the runs used: two trainings and an evaluation."""


def make_worth_root(root: Path, *, report: bool = True) -> Layout:
    """
    Return a root with one job, judged.
    """
    layout = Layout(root)
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(layout.journal)
    for key, (name, dataset) in FILES.items():
        journal.datasets.add([Claim(key, name, name.encode(), Priority.NORMAL, 1)])
        journal.datasets.accept(key, dataset_id=dataset, sha256=dataset * 4, n_train=8, n_heldout=1)
    job = journal.jobs.add(Priority.NORMAL, list(FILES))
    journal.jobs.begin(job, config=Config(), parent=None)
    _run(journal, "r000001", RunKind.TRAINING, job, RunOutcome.LOST)
    _run(journal, "r000002", RunKind.TRAINING, job, RunOutcome.FINISH)
    _run(journal, "r000003", RunKind.EVALUATION, job, RunOutcome.FINISH)
    journal.usage.put(USAGE)
    journal.scores.add_trained(
        job, "r000002", [Trained(d, 8, tokens, 4) for d, tokens in TOKENS.items()]
    )
    journal.scores.add(job, "r000003", scores())
    for event in (JobEvent.START, JobEvent.FINISH, JobEvent.START):
        journal.jobs.move(job, event)
    journal.conclude(job, JobEvent.ACCEPT, version="v0001", parent=None, reason="better")
    _set_times(journal)
    journal.close()
    folder = layout.versions / "v0001"
    folder.mkdir()
    if report:
        (folder / REPORT).write_bytes(orjson.dumps(eval_report()))
    return layout


def _run(journal: Journal, run_id: str, kind: RunKind, job: str, outcome: RunOutcome) -> None:
    journal.runs.add(run_id, kind, job_id=job)
    journal.runs.end(run_id, outcome, exit_status=0)


def _set_times(journal: Journal) -> None:
    """The lost run was found an hour later; the others took 90 and 30 seconds."""
    for run_id, start, end in (
        ("r000001", "2026-11-20T09:00:00.000Z", "2026-11-20T10:00:00.000Z"),
        ("r000002", "2026-11-20T10:00:00.000Z", "2026-11-20T10:01:30.000Z"),
        ("r000003", "2026-11-20T10:02:00.000Z", "2026-11-20T10:02:30.000Z"),
    ):
        journal._database.change(
            "UPDATE runs SET started_at = ?, ended_at = ? WHERE id = ?", (start, end, run_id)
        )


def change_journal(layout: Layout, change: Callable[[Journal], object]) -> None:
    """
    Open the journal, change it, close it.
    """
    journal = Journal(layout.journal)
    try:
        change(journal)
    finally:
        journal.close()


def forget_version(layout: Layout) -> None:
    """
    Remove the version's folder, as pruning does in the end.
    """
    shutil.rmtree(layout.versions / "v0001")


def use(number: int, **values: object) -> UsageRow:
    """
    Return what run *number* of USAGE used, changed.
    """
    return replace(USAGE[number - 1], **values)  # type: ignore[arg-type]
