"""
The orders as a table, read from their enumeration.
"""

from __future__ import annotations

from experiments.pages.table import table


def orders() -> str:
    """
    Return a table of every order and what the daemon does.
    """
    from finetuned.core.order import OrderKind

    return table(("order", "the daemon"), ((f"`{kind}`", kind.meaning) for kind in OrderKind))
