"""
A training log that somebody names: which job it is of, or what it says of one by itself.

Known are a run folder and its metrics.jsonl, a log of the daemon, which names jobs, the
trainer_state.json of transformers, and text in which transformers printed its records as
``{'loss': 0.42, 'epoch': 0.1}``. A line that cannot be read is counted and left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from finetuned.errors import DatasetError
from finetuned.files.job_curves import JobRecord, Records
from finetuned.files.run import EVALS, HELD_OUT, METRICS

_PRINTED = re.compile(rb"\{'(?:loss|eval_loss)':[^{}]*\}")
_FILES = (METRICS, EVALS, HELD_OUT)
_MAX_STATE_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """
    What a log says.
    """

    jobs: tuple[str, ...]
    """Jobs that a log of the daemon names, in their order."""
    record: JobRecord | None
    """Curves that are in the log itself."""
    unread_lines: int
    """Lines that are no JSON, such as one that is being written."""


def read_log(path: Path) -> TrainingLog:
    """
    Return what the log *path* says.

    Raises:
        DatasetError: It is empty, or holds nothing of a training.
        OSError: It cannot be read.
    """
    if path.is_dir() or path.name in _FILES:
        return _run_folder(path if path.is_dir() else path.parent)
    if path.stat().st_size == 0:
        raise DatasetError(f"{path} is empty: nothing was written to it yet")
    if path.name.endswith(".json"):
        return _trainer_state(path)
    return _lines(path)


def _run_folder(folder: Path) -> TrainingLog:
    records = Records()
    records.add_run(folder)
    if not records.train["loss"] and not records.fixed and not records.looks["loss"]:
        raise DatasetError(
            f"{folder} has no readable line in {METRICS}, {EVALS} or {HELD_OUT}: no step was "
            "trained there yet, or it is not the folder of a training run"
        )
    return TrainingLog((), _record(folder.name, records), 0)


def _lines(path: Path) -> TrainingLog:
    jobs: dict[str, None] = {}
    records, unread = Records(), 0
    with path.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                printed = list(_printed(line))
                for record in printed:
                    _add_stock(records, record)
                unread += not printed
                continue
            if not isinstance(value, dict):
                unread += 1
            elif isinstance(value.get("job_id"), str) and "event" in value:
                jobs[value["job_id"]] = None
            elif isinstance(value.get("step"), int):
                records.add_step(value)
    found = records.train["loss"] or records.fixed
    if not found and not jobs:
        unreadable = f"; {unread} of its lines cannot be read" if unread else ""
        raise DatasetError(f"{path} says nothing of a training{unreadable}")
    return TrainingLog(tuple(jobs), _record(path.name, records) if found else None, unread)


def _trainer_state(path: Path) -> TrainingLog:
    if path.stat().st_size > _MAX_STATE_BYTES:
        raise DatasetError(f"{path} is larger than any trainer_state.json")
    try:
        state = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DatasetError(f"{path} is no whole JSON document: {error}") from error
    history = state.get("log_history") if isinstance(state, dict) else None
    records = Records()
    for record in history if isinstance(history, list) else ():
        if isinstance(record, dict):
            _add_stock(records, record)
    if not records.train["loss"] and not records.fixed:
        raise DatasetError(f"{path} has no log_history with a loss: it is no trainer_state.json")
    total = state.get("max_steps")
    planned = total if isinstance(total, int) and total > 0 else None
    return TrainingLog((), _record(path.name, records, planned_steps=planned), 0)


def _printed(line: bytes) -> Iterator[Mapping[str, Any]]:
    for match in _PRINTED.finditer(line):
        try:
            value = ast.literal_eval(match[0].decode())
        except (ValueError, SyntaxError, UnicodeDecodeError):
            continue
        if isinstance(value, dict):
            yield {str(k): _as_number(v) for k, v in value.items()}


def _as_number(value: object) -> object:
    """Return a figure that newer versions of transformers print in quotes."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _add_stock(records: Records, record: Mapping[str, Any]) -> None:
    """Add a record of transformers; without a step it is counted on from the one before."""
    loss, held_out = record.get("loss"), record.get("eval_loss")
    last = max((*records.train["loss"], *records.fixed), default=0)
    step = record.get("step")
    if not isinstance(step, int):
        step = last + 1 if loss is not None else max(1, last)
    if loss is not None:
        records.add_step({**record, "step": step})
    if isinstance(held_out, int | float):
        records.fixed[step] = float(held_out)


def _record(name: str, records: Records, *, planned_steps: int | None = None) -> JobRecord:
    return JobRecord(
        job=name,
        state="",
        version=None,
        datasets=(),
        running=False,
        curves=records.curves(planned_steps=planned_steps),
    )
