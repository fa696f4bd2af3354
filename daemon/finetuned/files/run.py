"""
The folder of one run, through which its worker talks to the supervisor.

The supervisor writes ``spec.json`` (files/spec.py) first; all else is the worker's:
``heartbeat.json`` (files/heartbeat.py), ``metrics.jsonl`` (appended), ``error.json``
(why the run ended badly), ``exit.json`` (that it is over), and the lock that is held
while it lives. Of several processes of one run only rank 0 writes. Does not know what
the worker does.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from finetuned.core.record import from_json, to_json
from finetuned.errors import FinetunedError, Unavailable
from finetuned.files.atomic import write_atomic
from finetuned.files.rank import rank

METRICS = "metrics.jsonl"
EVALS = "evals.jsonl"
"""Looks at held-out rows while training: one line per look."""
HELD_OUT = "held_out.jsonl"
"""The loss on always the same held-out rows, if early stopping looks at it: one line per look."""
ERROR = "error.json"
EXIT = "exit.json"
LOCK = "lock"
CHECKPOINTS = "checkpoints"
CANDIDATE = "candidate"
REPORT = "eval_report.json"
OUTPUT = "output.log"
CORRECTIONS = "corrections.jsonl"
"""Rows that an evaluation made of what its candidate answered wrong, if there are any."""
CORRECTIONS_REPORT = "corrections.json"
"""What came of making them: counts, or why there are none."""


def interpolated_candidate(share: float) -> str:
    """
    Return the folder, in an evaluation's run, of weights with this share of the candidate's.
    """
    return f"{CANDIDATE}-{share:g}"


def utc_now() -> str:
    """
    Return the wall clock as RFC 3339 UTC, e.g. ``2026-11-20T09:00:00.123Z``.
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_json(path: Path) -> dict[str, Any] | None:
    """
    Return the object in *path*, or None when the file is missing, cut or no object.
    """
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return value if isinstance(value, dict) else None


def append_metrics(folder: Path, record: dict[str, Any], name: str = METRICS) -> None:
    """
    Append one line to the run's metrics, in one write. Rank 0 does it for all.
    """
    if rank() != 0:
        return
    fd = os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, orjson.dumps(record) + b"\n")
    finally:
        os.close(fd)


def each_metric(folder: Path, name: str = METRICS) -> Iterator[dict[str, Any]]:
    """
    Yield the whole lines of a run's metrics, one in memory at a time; a cut one is left out.
    """
    try:
        lines = (folder / name).open("rb")
    except FileNotFoundError:
        return
    with lines:
        for line in lines:
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(record, dict):
                yield record


def read_metrics(folder: Path, name: str = METRICS) -> list[dict[str, Any]]:
    """
    Return the whole lines of a run's metrics; a line cut by a crash is left out.
    """
    return list(each_metric(folder, name))


def redirect_output(folder: Path) -> None:
    """
    Send this process's standard output and error into its run folder, from now on.

    What libraries print belongs to the run; before the run is known it goes to
    the file that the supervisor opened.
    """
    fd = os.open(folder / OUTPUT, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunError:
    """
    Why a run ended badly.
    """

    error_type: str
    """Name of the exception's class."""
    error_message: str
    reason: str | None
    """What the file system refused (disk_full ...), None for any other error."""
    traceback: tuple[str, ...] = ()
    at: str = ""


def write_error(folder: Path, error: BaseException) -> None:
    """
    Write class, message and traceback of a bad end, for the journal and the user.

    Another rank than 0 prints the traceback into the run's output only.
    """
    if rank() != 0:
        traceback.print_exception(error)
        return
    record = RunError(
        error_type=type(error).__name__,
        error_message=_message(folder, error),
        reason=error.reason if isinstance(error, Unavailable) else None,
        traceback=tuple(traceback.format_exception(error)),
        at=utc_now(),
    )
    try:
        write_atomic(folder / ERROR, orjson.dumps(to_json(record), option=orjson.OPT_INDENT_2))
    except OSError:
        pass  # it cannot be written: the exit status has to say enough


def _message(folder: Path, error: BaseException) -> str:
    """Return what an error says; one that nobody raises on purpose says little by itself."""
    if isinstance(error, FinetunedError | OSError):
        return str(error)
    where = f"models/runs/{folder.name}/{ERROR}"
    return f"{type(error).__name__}: {error}; this is a bug, its traceback is in {where}"


def read_error(folder: Path) -> RunError | None:
    """
    Return why the run ended badly, None if its worker did not say.

    Raises:
        RecordError: It has other keys or types than RunError.
    """
    value = read_json(folder / ERROR)
    return None if value is None else from_json(RunError, value, source=folder / ERROR)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunExit:
    """
    That a run is over: the last thing that its worker writes.
    """

    status: int
    """What the run ended with, 0 to 255, as the exit status of a process of its own."""
    stays: bool
    """Whether the worker waits for another run; otherwise it ends."""
    pid: int = 0
    at: str = ""


def write_exit(folder: Path, status: int, *, stays: bool) -> None:
    """
    Write the exit record, durably, while the run's lock is still held.

    A kill between the two leaves a run that is over and whose lock the kernel has
    released. The other order would leave a finished run that looks like a crash.

    Raises:
        OSError: The file system refused; the exit status of the process has to say it.
    """
    record = RunExit(status=status, stays=stays, pid=os.getpid(), at=utc_now())
    write_atomic(folder / EXIT, orjson.dumps(to_json(record)))


def read_exit(folder: Path) -> RunExit | None:
    """
    Return the exit record of a run, None while there is none.

    Raises:
        RecordError: It has other keys or types than RunExit.
    """
    value = read_json(folder / EXIT)
    return None if value is None else from_json(RunExit, value, source=folder / EXIT)


def was_taken_up(folder: Path) -> bool:
    """
    Return whether a worker ever began with this run.
    """
    return (folder / LOCK).exists()
