"""
Workers that wait for a run: at most one of each kind.

Each was started ahead of its first run, or stayed after its last. Knows
processes; does not know jobs, nor when a worker is wanted.
"""

from __future__ import annotations

from finetuned.core.run import RunKind
from finetuned.process.child import WorkerProcess


class WaitingWorkers:
    """
    Owns each waiting worker until it is taken or dismissed.
    """

    def __init__(self) -> None:
        self._by_kind: dict[RunKind, WorkerProcess] = {}

    def __bool__(self) -> bool:
        """Whether any worker waits."""
        return bool(self._by_kind)

    def __contains__(self, kind: RunKind) -> bool:
        """Whether a worker of this kind waits."""
        return kind in self._by_kind

    def keep(self, worker: WorkerProcess) -> None:
        """
        Let *worker* wait; a worker of its kind that waited before is dismissed.
        """
        self.dismiss(worker.kind)
        self._by_kind[worker.kind] = worker

    def take(self, kind: RunKind) -> WorkerProcess | None:
        """
        Hand over the worker of this kind, or None if none is alive.
        """
        self.reap()
        return self._by_kind.pop(kind, None)

    def reap(self) -> None:
        """
        Forget the workers that have ended by themselves.
        """
        for kind, worker in list(self._by_kind.items()):
            if worker.poll() is not None:
                worker.close()
                del self._by_kind[kind]

    def dismiss(self, *kinds: RunKind) -> None:
        """
        End the workers of *kinds*, or of every kind if none is given, and wait for their end.

        Afterwards their memory is free.
        """
        for kind in kinds or list(self._by_kind):
            worker = self._by_kind.pop(kind, None)
            if worker is not None:
                worker.dismiss()
