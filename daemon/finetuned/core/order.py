"""
What a person may order through control/, and what each order means.

Knows words; does not know files.
"""

from __future__ import annotations

from enum import StrEnum


class OrderKind(StrEnum):
    PAUSE = "pause"  # checkpoint, free the device, start nothing until resume
    RESUME = "resume"  # end a pause
    SKIP = "skip"  # end the current job for good; its file is not trained any further
    STOP = "stop"  # checkpoint and end the daemon
    CONSOLIDATE = "consolidate"  # merge the adapter in use into a full model, when its turn comes


def order_kind(file_name: str) -> OrderKind | None:
    """
    Return the order that a file of this name in control/ gives, if any.

    Dotted names are the ancestors' spelling: ``.pause`` means ``pause``.
    """
    try:
        return OrderKind(file_name.removeprefix("."))
    except ValueError:
        return None
