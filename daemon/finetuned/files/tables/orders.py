"""
Orders in the journal: received, and what came of them.
"""

from __future__ import annotations

from finetuned.core.order import OrderKind
from finetuned.files.database import Database
from finetuned.files.run import utc_now


class OrderRecords:
    """
    The table ``commands``, named as orders were called when it was made.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def next_number(self, *, above: int) -> int:
        """
        Return a number that no order ever had, greater than *above*.
        """
        return self._database.next_number("order", floor=above)

    def receive(self, order_id: str, kind: OrderKind, reason: str) -> bool:
        """
        Record a received order; return False if it was recorded before.
        """
        return 1 == self._database.change(
            "INSERT OR IGNORE INTO commands (id, command, reason, received_at) VALUES (?, ?, ?, ?)",
            (order_id, kind, reason, utc_now()),
        )

    def finish(self, order_id: str, outcome: str) -> None:
        """
        Record that an order was obeyed, or why there was nothing to do.
        """
        self._database.change(
            "UPDATE commands SET obeyed_at = ?, outcome = ? WHERE id = ?",
            (utc_now(), outcome, order_id),
        )
