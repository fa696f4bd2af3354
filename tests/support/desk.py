"""
A supervisor's desk without processes: a root, a journal, a status, and workers made of paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from finetuned.config import Config
from finetuned.core.run import RunKind
from finetuned.files.journal import Journal
from finetuned.files.lock import FileLock
from finetuned.files.run import LOCK, write_exit
from finetuned.layout import Layout
from finetuned.supervisor.context import Context, check_root
from finetuned.supervisor.status import StatusBoard


@dataclass
class PaperWorker:
    """
    What a WorkerProcess shows and takes, with no process behind it.
    """

    kind: RunKind
    pid: int = 4_000_000
    started: float = 1.0
    status: int | None = None
    """Exit status that poll() returns; None while it lives."""
    launched: bool = False
    orphaned: bool = False
    runs: list[Path] = field(default_factory=list)
    asked: int = 0
    """How often it was asked to stop."""
    dismissed: bool = False

    def assign(self, run_dir: Path) -> None:
        self.runs.append(run_dir)

    def poll(self) -> int | None:
        return self.status

    def stop(self) -> None:
        self.asked += 1

    def kill(self) -> None:
        self.status = -9

    def dismiss(self) -> None:
        self.dismissed = True
        self.kill()

    def close(self) -> None:
        pass

    def finish(self, status: int = 0, *, stays: bool = False) -> None:
        """
        End the last run as a worker does: the exit record first, then the process.
        """
        with FileLock(self.runs[-1] / LOCK):
            write_exit(self.runs[-1], status, stays=stays)
        if not stays:
            self.status = status


@contextmanager
def desk(root: Path, config: Config | None = None) -> Iterator[Context]:
    """
    Yield the context of a supervisor on a new root.
    """
    layout = Layout(root)
    check_root(layout)
    journal = Journal(layout.journal)
    yield Context(layout, config or Config(), journal, StatusBoard(layout.status_file))
    journal.close()


def configure(context: Context, section: str, **values: Any) -> None:
    """
    Change some values of one section of the context's configuration.
    """
    changed = replace(getattr(context.config, section), **values)
    context.config = replace(context.config, **{section: changed})
