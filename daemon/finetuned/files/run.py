"""
The folder through which a worker process talks to the supervisor.

``spec.json`` is written by the supervisor before the worker is born, all else
by the worker: ``heartbeat.json`` (replaced), ``metrics.jsonl`` (appended),
``error.json`` (at a bad end), ``exit.json`` (its last word), and the lock that
tells whether it lives. Of several processes of one run only rank 0 writes.
Does not know what the worker does.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from finetuned.errors import FinetunedError, Unavailable
from finetuned.files.atomic import write_atomic
from finetuned.files.rank import rank

SPEC = "spec.json"
HEARTBEAT = "heartbeat.json"
METRICS = "metrics.jsonl"
EVALS = "evals.jsonl"
"""Looks at held-out rows while training: one line per look."""
ERROR = "error.json"
EXIT = "exit.json"
LOCK = "lock"
CHECKPOINTS = "checkpoints"
CANDIDATE = "candidate"
REPORT = "eval_report.json"
OUTPUT = "output.log"


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


def create_run(folder: Path, spec: dict[str, Any]) -> None:
    """
    Make a run folder with its spec, durably.

    Raises:
        OSError: The file system refused; at worst an empty folder is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / SPEC, orjson.dumps(spec, option=orjson.OPT_INDENT_2))


def read_spec(folder: Path) -> dict[str, Any]:
    """
    Return what the supervisor asks of this run.

    Raises:
        Unavailable: It cannot be read.
    """
    spec = read_json(folder / SPEC)
    if spec is None:
        raise Unavailable("spec_missing", str(folder / SPEC))
    return spec


class Heartbeat:
    """
    What a worker shows of itself, at most every *interval_seconds*.

    A beat also says that the worker goes on: it is written when something was
    done, never by a timer.
    """

    def __init__(self, folder: Path, *, interval_seconds: float = 0.25) -> None:
        self._path = folder / HEARTBEAT
        self._interval = interval_seconds
        self._last = 0.0
        self.fields: dict[str, Any] = {"pid": os.getpid(), "beats": 0}

    def beat(self, *, force: bool = False, **fields: Any) -> None:
        """
        Take in *fields* and write them unless that was done a moment ago.

        A full disk is no reason to stop training: such a beat is dropped. So is
        every beat of another rank than 0.
        """
        if rank() != 0:
            return
        self.fields.update(fields)
        self.fields["beats"] += 1
        now = time.monotonic()
        if not force and now - self._last < self._interval:
            return
        self._last = now
        self.fields["at"] = utc_now()
        try:
            write_atomic(
                self._path,
                orjson.dumps(self.fields, option=orjson.OPT_SERIALIZE_NUMPY),
                durable=False,
            )
        except OSError:
            pass


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


def write_error(folder: Path, error: BaseException) -> None:
    """
    Leave class, message and traceback of a bad end, for the journal and the user.

    Another rank than 0 leaves the traceback in the run's output only.
    """
    if rank() != 0:
        traceback.print_exception(error)
        return
    body = {
        "error_type": type(error).__name__,
        "error_message": str(error),
        "reason": error.reason if isinstance(error, Unavailable) else None,
        "retryable": getattr(error, "retryable", True),
        "ours": isinstance(error, FinetunedError),
        "traceback": traceback.format_exception(error),
        "at": utc_now(),
    }
    try:
        write_atomic(folder / ERROR, orjson.dumps(body, option=orjson.OPT_INDENT_2))
    except OSError:
        pass  # nowhere to write it: the exit status has to say enough


@dataclass(frozen=True, slots=True)
class RunExit:
    """
    A worker's last word on one run.
    """

    status: int
    """What the run ended with, 0 to 255, as a process of its own would have said it."""
    stays: bool
    """Whether the worker now waits for its next run; otherwise it leaves."""


def write_exit(folder: Path, status: int, *, stays: bool) -> None:
    """
    Say that the run is over: the last thing that its worker writes, under the run's lock.

    Written before the lock is given back: a kill between the two leaves a run
    that is over and whose lock the kernel has released. The other way round it
    would leave a run that did everything and looks like a crash.

    Raises:
        OSError: The file system refused; the status of the process has to say it.
    """
    body = {"status": status, "stays": stays, "pid": os.getpid(), "at": utc_now()}
    write_atomic(folder / EXIT, orjson.dumps(body))


def read_exit(folder: Path) -> RunExit | None:
    """
    Return the worker's last word on a run, or None while there is none.
    """
    body = read_json(folder / EXIT)
    if body is None or type(body.get("status")) is not int:
        return None
    return RunExit(body["status"], body.get("stays") is True)


def was_taken_up(folder: Path) -> bool:
    """
    Return whether a worker ever began with this run.
    """
    return (folder / LOCK).exists()
