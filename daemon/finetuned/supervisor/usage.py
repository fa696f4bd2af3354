"""
What each run uses (time, processor time, energy), sampled while it goes on.

Into the journal every few seconds, so that a run that is killed, and a daemon that is, lose
no more than the time since. Costs the workers nothing: only their counters are read.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from finetuned.files.journal import Journal
from finetuned.files.rows import UsageRow
from finetuned.supervisor.runs.run import SupervisedRun
from finetuned.telemetry.energy import RunMeter, Spent

log = structlog.get_logger()

LOOK_SECONDS = 5.0
"""Longest time between two looks at a run, and least between two writes into the journal."""

_OFTEN = 0.25
"""A young run is looked at after this share of its age: what follows the last look is not seen."""


@dataclass(slots=True)
class _Metered:
    """
    One run that goes on.
    """

    meter: RunMeter
    began: float
    """When it was first seen, on the monotonic clock; so are the other times."""
    looked: float
    row: UsageRow
    seen: float = field(default=0.0)
    """When it was last seen alive."""

    def due(self, now: float) -> bool:
        return now - self.looked >= min(LOOK_SECONDS, _OFTEN * (now - self.began))


class UsageRecorder:
    """
    Measures the runs that go on, and records what they used.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._runs: dict[str, _Metered] = {}
        self._unwritten: dict[str, UsageRow] = {}
        self._written = float("-inf")
        self._problem: str | None = None

    def look(self, runs: Iterable[SupervisedRun]) -> None:
        """
        Take in what *runs*, all that go on now, used since the last call.

        What the journal refuses is logged once and written later; nothing waits for it.
        """
        now = time.monotonic()
        alive = {run.id: run.worker.pid for run in runs}
        ended = [run_id for run_id in self._runs if run_id not in alive]
        for run_id in ended:
            self._take(run_id, self._runs.pop(run_id), now)
        for run_id, pid in alive.items():
            found = self._runs.get(run_id)
            if found is None:
                row = UsageRow(run_id, 0.0, 0.0, None, None, 0)
                self._runs[run_id] = _Metered(RunMeter(pid), now, now, row, now)
            else:
                found.seen = now
                if found.due(now) or found.meter.pid != pid:
                    self._take(run_id, found, now)
                if found.meter.pid != pid:  # its worker died while it waited for the run
                    found.meter = RunMeter(pid)
        if self._unwritten and (ended or now - self._written >= LOOK_SECONDS):
            self._write(now)

    def _take(self, run_id: str, found: _Metered, now: float) -> None:
        found.looked = now
        found.row = _added(found.row, found.meter.look(), seconds=found.seen - found.began)
        self._unwritten[run_id] = found.row

    def _write(self, now: float) -> None:
        self._written = now
        try:
            self._journal.usage.put(list(self._unwritten.values()))
        except sqlite3.Error as error:
            if self._problem is None:
                log.warning("usage_not_recorded", error=str(error))
            self._problem = str(error)
            return
        self._unwritten.clear()
        self._problem = None


def _added(row: UsageRow, spent: Spent, *, seconds: float) -> UsageRow:
    """Return *row* and *spent* together; a counter that failed once leaves no figure of its own."""
    first = row.seconds == 0.0
    return UsageRow(
        run_id=row.run_id,
        seconds=round(seconds, 3),
        cpu_seconds=round(row.cpu_seconds + spent.cpu_seconds, 3),
        cpu_joules=_sum(row.cpu_joules, spent.cpu_joules, first=first),
        gpu_joules=_sum(row.gpu_joules, spent.gpu_joules, first=row.gpus == 0),
        gpus=max(row.gpus, spent.gpus),
    )


def _sum(before: float | None, now: float | None, *, first: bool) -> float | None:
    if first:
        return now
    return None if before is None or now is None else round(before + now, 3)
