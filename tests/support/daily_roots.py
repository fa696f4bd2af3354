"""
A root after a day of work: nine versions, curves, suites by level, an incident, two bad files.
"""

from __future__ import annotations

import random
from pathlib import Path

import orjson

from finetuned.core.run import RunKind, RunOutcome
from finetuned.files.journal import Journal
from finetuned.files.run import utc_now
from finetuned.files.tables.scores import Score
from finetuned.layout import Layout
from support.live_roots import make_root

LEVELS = (("easy", 98), ("medium", 87), ("hard", 53))
"""Right answers of 100 on each benchmark suite."""


def make_day(root: Path) -> Layout:
    """
    Return the root, with a live daemon: this process.
    """
    layout = make_root(root, "failed")
    journal = Journal(layout.journal)
    for number, (job, steps) in enumerate((("j000008", 800), ("j000009", 1200)), start=901):
        run = f"r{number:06d}"
        journal.runs.add(run, RunKind.TRAINING, job_id=job)
        journal.runs.note_last_step(run, steps)
        journal.runs.end(run, RunOutcome.FINISH, exit_status=0)
        curves(layout.runs / run, steps, overfits=number == 901)
    scores = [_score(level, right) for level, right in LEVELS]
    journal.scores.add("j000009", "r000903", scores)
    journal.close()
    (incident,) = layout.incidents.glob("*.json")
    told = orjson.loads(incident.read_bytes()) | {"taken_back_at": utc_now()}
    incident.write_bytes(orjson.dumps(told))
    return layout


def curves(run: Path, steps: int, *, overfits: bool) -> None:
    """
    Write the losses of a run; one that overfits is worse on held-out rows at its end.
    """
    dice = random.Random(steps)
    run.mkdir(parents=True)
    train = [
        {"step": s, "loss": 2.4 / (1 + s / 90) + dice.uniform(0, 0.2)} for s in range(1, steps + 1)
    ]
    turn = steps // 2
    held = [
        {"step": s, "loss": 2.2 / (1 + s / 110) + 0.2 + (overfits and s > turn) * (s - turn) / 900}
        for s in range(0, steps + 1, 20)
    ]
    for name, rows in (("metrics.jsonl", train), ("evals.jsonl", held)):
        (run / name).write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def _score(level: str, right: int) -> Score:
    return Score(
        subject="candidate",
        version=None,
        suite=f"syllo_{level}_100",
        origin="benchmark",
        title=f"syllo_{level}_100",
        n_rows=100,
        n_asked=100,
        n_exact=right,
        n_correct=right,
        loss=0.4,
        complete=True,
        stop_rate=1.0,
        n_timed_out=0,
    )
