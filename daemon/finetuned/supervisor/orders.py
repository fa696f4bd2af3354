"""
Orders from control/: consumed once, obeyed, acknowledged.

Does not stop anything itself: it sets what core.decide looks at.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from finetuned.core.order import OrderKind
from finetuned.errors import ModelError, RegistryError
from finetuned.files.control import Order, acknowledge, consume, last_sequence, pending, unfinished
from finetuned.files.run import utc_now
from finetuned.supervisor.context import Context

log = structlog.get_logger()

ROUNDS_PER_TURN = 10


class Orders:
    """
    The orders that were given and are not answered yet.
    """

    def __init__(
        self,
        context: Context,
        skippable: Callable[[], str | None],
        consolidate: Callable[[], str],
    ) -> None:
        """
        Args:
            context: Shared state.
            skippable: Returns the job that a skip means now, or None.
            consolidate: Queues a merge, and says what came of it.
        """
        self._context = context
        self._skippable = skippable
        self._consolidate = consolidate
        self._waiting: list[Order] = []
        self._unread_orders: list[Order] = []
        self.stop_requested = False
        self.skip_job: str | None = None

    @property
    def paused(self) -> bool:
        """Whether a pause is in force; it survives a restart."""
        return self._context.journal.settings.paused() is not None

    def recover(self) -> None:
        """
        Obey orders that were consumed just before a crash.
        """
        for order in unfinished(self._context.layout):
            if order.kind is OrderKind.STOP:
                # It ended the last daemon; somebody has started this one since.
                self._answer(order, "obeyed: the daemon had ended")
            else:
                self._unread_orders.append(order)
        self._unread_orders.sort(key=lambda order: order.touched_ns)
        self._read_orders()

    def look(self) -> None:
        """
        Take in new orders, oldest first.

        Raises:
            OSError: control/ is missing or refuses; nothing was lost.
        """
        self._read_orders()
        layout = self._context.layout
        # A file may be touched again between the listing and its rename, and another one
        # appear: only when none is left is it known which order was given last.
        for _ in range(ROUNDS_PER_TURN):
            found = pending(layout)
            if not found:
                break
            layout.acks.mkdir(exist_ok=True)  # control/ may have been made again without it
            for command, name in found:
                number = self._context.journal.orders.next_number(above=last_sequence(layout))
                order = consume(layout, name, command, number)
                if order is not None:
                    self._unread_orders.append(order)
        self._unread_orders.sort(key=lambda order: order.touched_ns)
        self._read_orders()

    def _read_orders(self) -> None:
        """Act on consumed orders; one that the disk refuses is tried again at the next turn."""
        while self._unread_orders:
            self._take(self._unread_orders[0])
            del self._unread_orders[0]

    def _take(self, order: Order) -> None:
        self._context.journal.orders.receive(order.id, order.kind, order.reason)
        log.info("command_received", command=order.kind, reason=order.reason)
        self._context.board.update(
            last_command={
                "id": order.id,
                "command": order.kind,
                "reason": order.reason,
                "received_at": utc_now(),
                "outcome": "received",
            }
        )
        match order.kind:
            case OrderKind.PAUSE:
                self._context.journal.settings.pause(order.reason)
                self._wait(order)
            case OrderKind.RESUME:
                was_paused = self.paused
                self._context.journal.settings.resume()
                for waiting in [w for w in self._waiting if w.kind is OrderKind.PAUSE]:
                    self._finish(waiting, "ended by resume")
                self._answer(order, "obeyed" if was_paused else "nothing to do: not paused")
            case OrderKind.SKIP:
                self.skip_job = self.skip_job or self._skippable()
                if self.skip_job is None:
                    self._answer(order, "nothing to do: no dataset is being trained")
                else:
                    self._wait(order)
            case OrderKind.STOP:
                self.stop_requested = True
                self._wait(order)
            case OrderKind.CONSOLIDATE:
                try:
                    self._answer(order, self._consolidate())
                except (ModelError, RegistryError) as error:
                    self._answer(order, f"refused: {error}")

    def _wait(self, order: Order) -> None:
        acknowledge(self._context.layout, order, {"received_at": utc_now(), "outcome": "received"})
        if order not in self._waiting:
            self._waiting.append(order)

    def settle(self, *, worker_gone: bool, leaving: bool, skipped: bool) -> None:
        """
        Acknowledge as obeyed what has taken effect.

        Args:
            worker_gone: No training or evaluation worker lives.
            leaving: The daemon is about to end.
            skipped: The job to skip is in a final state.
        """
        for order in list(self._waiting):
            if (
                (order.kind is OrderKind.PAUSE and worker_gone)
                or (order.kind is OrderKind.STOP and leaving)
                or (order.kind is OrderKind.SKIP and skipped)
            ):
                outcome = "obeyed"
                if order.kind is OrderKind.SKIP:
                    outcome = f"obeyed: {self.skip_job} skipped"
                self._finish(order, outcome)
        if skipped:
            self.skip_job = None

    def _finish(self, order: Order, outcome: str) -> None:
        self._answer(
            order, outcome
        )  # first: if this is refused, the order is answered at the next turn
        self._waiting.remove(order)

    def _answer(self, order: Order, outcome: str) -> None:
        board = self._context.board
        step = board.fields["current_step"]
        acknowledge(
            self._context.layout,
            order,
            {"obeyed_at": utc_now(), "outcome": outcome, "step": step},
        )
        self._context.journal.orders.finish(order.id, outcome)
        log.info("command_obeyed", command=order.kind, outcome=outcome, step=step)
        board.update(
            last_command={
                "id": order.id,
                "command": order.kind,
                "reason": order.reason,
                "obeyed_at": utc_now(),
                "outcome": outcome,
            }
        )
