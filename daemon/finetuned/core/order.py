"""
What a person may order through control/, and what each order means.

Knows words; does not know files.
"""

from __future__ import annotations

from enum import StrEnum


class OrderKind(StrEnum):
    """
    An order, by the name of its file in control/.
    """

    PAUSE = "pause"
    RESUME = "resume"
    SKIP = "skip"
    STOP = "stop"
    CONSOLIDATE = "consolidate"

    @property
    def meaning(self) -> str:
        """What the daemon does when it is given, in one line of help."""
        return _MEANINGS[self]


_MEANINGS = {
    OrderKind.PAUSE: "checkpoint and free the device; nothing starts until resume",
    OrderKind.RESUME: "go on",
    OrderKind.SKIP: "end the current job for good; its file is not trained any further",
    OrderKind.STOP: "checkpoint and end the daemon",
    OrderKind.CONSOLIDATE: "merge the adapter in use into a full model, between two jobs",
}


def order_kind(file_name: str) -> OrderKind | None:
    """
    Return the order that a file of this name in control/ gives, if any.

    Dotted names are the ancestors' spelling: ``.pause`` means ``pause``.
    """
    try:
        return OrderKind(file_name.removeprefix("."))
    except ValueError:
        return None
