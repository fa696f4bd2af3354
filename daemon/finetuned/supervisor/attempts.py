"""
Steps that may be refused: by a full disk, by the configuration, by a damaged version.

A refusal becomes the reason why nothing new is started, and the step is tried
again at a later turn. Does not know what a step does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from finetuned.core.action import (
    Action,
    Claim,
    MakeJob,
    StartEvaluation,
    StartIngestion,
    StartTraining,
)
from finetuned.errors import ConfigError, FinetunedError
from finetuned.files.refusal import refusal_reason
from finetuned.supervisor.context import Context

LOOKS = (
    *("control", "inbox", "ingestion", "worker", "watch", "pages", "housekeeping", "journal"),
    *("acknowledge", "status"),
)
"""Steps that run every turn; a block they raised is cleared by their next success."""

WORK = (Claim, StartIngestion, MakeJob, StartTraining, StartEvaluation)
"""Actions that start something new; a success of one clears a block that another one raised."""


class Attempts:
    """
    Runs the steps of a turn.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def run(self, name: str, step: Callable[[], object]) -> bool:
        """
        Run one step, and return whether it was not refused.

        Args:
            name: One of LOOKS, or the class name of an action.
            step: Returns False if it was not its time yet, which clears no block.
        """
        context = self._context
        try:
            done = step()
        except OSError as error:
            context.block(refusal_reason(error), f"{name}: {error}", by=name)
        except sqlite3.OperationalError as error:
            reason = "disk_full" if "full" in str(error) else "journal_unavailable"
            context.block(reason, f"{name}: {error}", by=name)
        except FinetunedError as error:
            # Waiting may help: a person mends the configuration, or restores a version.
            reason = "configuration" if isinstance(error, ConfigError) else "refused"
            context.block(reason, f"{name}: {error}", by=name)
        else:
            if context.blocked_by == name and done is not False:
                context.unblock()
            return True
        return False

    def perform(self, action: Action, step: Callable[[], object]) -> None:
        """
        Run the step of an action.
        """
        if self.run(type(action).__name__, step) and isinstance(action, WORK):
            self.unblock_work()

    def unblock_work(self) -> None:
        """
        Clear a block that an action raised: what was refused works again, or nobody wants it.
        """
        if self._context.blocked_by not in LOOKS:
            self._context.unblock()
