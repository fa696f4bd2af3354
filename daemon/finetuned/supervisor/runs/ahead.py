"""
Workers that are started before there is a run for them, with their imports done.

A training worker waits while its candidate is evaluated beside it, an evaluation
worker while the next file is trained; a start takes seconds that nobody waits for then.
"""

from __future__ import annotations

import time

import structlog

from finetuned.core.run import RunKind
from finetuned.core.run_end import Foresight, foresee
from finetuned.process.spares import WaitingWorkers
from finetuned.supervisor.context import Context
from finetuned.supervisor.runs.run import SupervisedRun, spawn

log = structlog.get_logger()


class WorkersAhead:
    """
    Owns at most one waiting worker of each kind, and decides when one is started or let go.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.spares = WaitingWorkers()
        self._not_before = 0.0  # a worker that dies at once is not started at every turn
        self._foreseen: str | None = None

    def warm_up(self) -> None:
        """
        Start a training worker ahead of time unless one is idle.

        Raises:
            OSError: It could not be started.
        """
        now = time.monotonic()
        if self._context.config.training.accelerate_config:
            return  # a launched worker is told its run when it starts
        if RunKind.TRAINING in self.spares or now < self._not_before:
            return
        self._not_before = now + self._context.config.supervisor.retry_seconds
        self._start(RunKind.TRAINING)

    def cool_down(self) -> None:
        """
        End the workers that wait; return when they are gone and their memory is free.
        """
        self.spares.dismiss()

    def look(self, run: SupervisedRun) -> None:
        """
        Start the evaluation's worker when *run*, a training, is near its end; or let one go.

        Raises:
            OSError: It could not be started.
        """
        if run.kind is not RunKind.TRAINING or run.asked is not None or run.worker.launched:
            return
        if self._foreseen == run.id:
            return  # else a worker that dies at once would be started at every heartbeat
        eta = None if run.heartbeat is None else run.heartbeat.eta_seconds
        match foresee(eta, warm_seconds=self._context.config.supervisor.warm_worker_seconds):
            case Foresight.SOON:
                self._foreseen = run.id
                if RunKind.EVALUATION not in self.spares:
                    self._start(RunKind.EVALUATION)
            case Foresight.FAR:
                self.spares.dismiss(RunKind.EVALUATION)

    def _start(self, kind: RunKind) -> None:
        worker = spawn(self._context, kind)
        self.spares.keep(worker)
        log.debug("worker_warmed_up", kind=kind, pid=worker.pid)
