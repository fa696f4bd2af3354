"""
What the training side says of itself, read when metrics are asked for.

Reads the status file and the journal and changes nothing: neither the daemon nor a worker ever
waits for a scrape. A number that was true only while the daemon ran is left out once it does
not run or has not written for 30 s; the age of its status says why.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from finetuned.core.phase import Phase
from finetuned.errors import Diverged, FinetunedError
from finetuned.files.journal_counts import JournalCounts
from finetuned.files.journal_view import JournalView
from finetuned.files.status_file import (
    STRANGE,
    DaemonState,
    StatusDocument,
    presence,
    read_status,
)
from finetuned.layout import Layout
from finetuned.serving.gateway import metric_list as m
from finetuned.serving.gateway.metric_list import Metric, Sample

READ_SECONDS = 1.0
"""Younger readings are given again: many scrapes cost one."""
COUNT_SECONDS = 2.0
"""How long the journal may be counted; 10,000 jobs and 50,000 files take 0.3 s."""
STATUS_BYTES = 8 << 20
"""A larger status file is not one of ours, and is not read."""
MOST_GPUS = 64

_OF_THE_JOB: Final[Mapping[Metric, str]] = {
    m.LAST_STEP: "total_steps",
    m.LOSS: "loss",
    m.VALIDATION_LOSS: "validation_loss",
    m.LEARNING_RATE: "learning_rate",
    m.GRAD_NORM: "grad_norm",
    m.TOKENS_PER_SECOND: "tokens_per_second",
    m.ETA: "eta_seconds",
    m.KL: "kl_to_incumbent",
    m.SKIPPED: "steps_skipped",
}
"""Fields of the status that are true while a job runs."""

_OF_THE_HOST: Final[Mapping[Metric, str]] = {
    m.MEMORY_USED: "memory_used_bytes",
    m.MEMORY_SIZE: "memory_total_bytes",
    m.WORKER_MEMORY: "worker_rss_bytes",
}

_OF_A_GPU: Final[Mapping[Metric, str]] = {
    m.GPU_MEMORY_USED: "memory_used_bytes",
    m.GPU_MEMORY_SIZE: "memory_total_bytes",
    m.GPU_HEAT: "temperature_celsius",
    m.GPU_POWER: "power_watts",
}

Stamp = tuple[int, int, int]


class TrainingSource:
    """
    Samples of one root. Several threads may call it: one reads, the others wait for that.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._read_at = -math.inf
        self._samples: tuple[Sample, ...] = ()
        self._stamp: tuple[Stamp | None, Stamp | None] | None = None
        self._counts: JournalCounts | None = None

    def samples(self) -> tuple[Sample, ...]:
        """
        Return what is known now. Never raises; what cannot be read is left out, and said.
        """
        with self._lock:
            if time.monotonic() - self._read_at >= READ_SECONDS:
                self._samples = (
                    *status_samples(self._layout),
                    *self._journal_samples(),
                    *_disk_samples(self._layout.models),
                )
                self._read_at = time.monotonic()
            return self._samples

    def _journal_samples(self) -> Iterator[Sample]:
        counts = self._count()
        yield Sample(m.JOURNAL_READABLE, float(counts is not None))
        if counts is None:
            return
        for metric, words in (
            (m.DATASETS, counts.datasets),
            (m.JOBS, counts.jobs),
            (m.VERDICTS, counts.verdicts),
            (m.PROMOTIONS, counts.promotions),
        ):
            for word, n in words.items():
                yield Sample(metric, n, (str(word),))
        yield Sample(m.REJECTED_RUN, counts.rejected_in_a_row)
        yield Sample(m.JOBS_DIVERGED, counts.diverged)

    def _count(self) -> JournalCounts | None:
        """Count again only if the file or what was appended to it has changed."""
        path = self._layout.journal
        stamp = (_stamp(path), _stamp(path.with_name(f"{path.name}-wal")))
        if stamp == self._stamp and self._counts is not None:
            return self._counts
        self._counts = _counted(path)
        self._stamp = stamp
        return self._counts


def status_samples(layout: Layout) -> Iterator[Sample]:
    """
    Return what the status file says, as far as it is true now.
    """
    status = _status(layout)
    found = presence(status, datetime.now(UTC))
    yield Sample(m.STATUS_READABLE, float(status is not None))
    yield Sample(m.DAEMON_UP, float(found.state is DaemonState.RUNNING))
    for state in DaemonState:
        yield Sample(m.DAEMON_STATE, float(state is found.state), (str(state),))
    if found.age_seconds is not None:
        yield Sample(m.STATUS_AGE, found.age_seconds)
    if status is None:
        return
    yield from _numbers({m.RESTARTS: "restarts"}, status)
    if found.state is DaemonState.RUNNING:
        try:
            yield from tuple(_now(status))
        except STRANGE:  # another program wrote the file
            return


def _now(status: StatusDocument) -> Iterator[Sample]:
    phase = str(status["phase"])
    yield Sample(m.PHASE, 1, (phase if phase in tuple(Phase) else "other",))
    yield Sample(m.PAUSED, float(status["paused_reason"] is not None))
    waiting = str(status["waiting_reason"] or "")
    yield Sample(m.DISK_WAIT, float(waiting.startswith("disk_full")))
    yield Sample(m.DIVERGED, float(status["error_type"] == Diverged.__name__))
    yield from _numbers({m.STEP: "current_step"}, status)
    yield from _numbers({m.INBOX: "inbox"}, status["queue"] or {})
    if status["job"] is not None:
        yield from _numbers(_OF_THE_JOB, status)
        if status["total_evals"]:
            yield from _numbers({m.ACCURACY: "accuracy_percent"}, status, scale=0.01)
    host = status["host"] or {}
    yield from _numbers(_OF_THE_HOST, host)
    yield from _numbers({m.CPU: "cpu_pct"}, host, scale=0.01)
    for gpu in (status["gpus"] or [])[:MOST_GPUS]:
        labels = (str(int(gpu["index"])),)
        yield from _numbers(_OF_A_GPU, gpu, labels)
        yield from _numbers({m.GPU_USE: "utilisation_pct"}, gpu, labels, scale=0.01)


def _numbers(
    names: Mapping[Metric, str],
    values: Mapping[str, object],
    labels: tuple[str, ...] = (),
    *,
    scale: float = 1.0,
) -> Iterator[Sample]:
    """Return a sample for each field that is a finite number; the others are not known."""
    for metric, name in names.items():
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield Sample(metric, value * scale, labels)


def _status(layout: Layout) -> StatusDocument | None:
    try:
        if layout.status_file.stat().st_size > STATUS_BYTES:
            return None
        return read_status(layout)
    except OSError:
        return None


def _counted(path: Path) -> JournalCounts | None:
    try:
        journal = JournalView(path)
    except (OSError, FinetunedError, sqlite3.Error):
        return None
    try:
        return journal.counts(seconds=COUNT_SECONDS)
    except (FinetunedError, sqlite3.Error):
        return None
    finally:
        journal.close()


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _disk_samples(path: Path) -> Iterator[Sample]:
    try:
        disk = os.statvfs(path)
    except OSError:
        return
    yield Sample(m.DISK_FREE, disk.f_bavail * disk.f_frsize)
    yield Sample(m.DISK_SIZE, disk.f_blocks * disk.f_frsize)
