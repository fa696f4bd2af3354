"""
Keys of rows that no reader knows, as people read of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MOST_SHOWN: Final = 5


def unused_keys(counts: Mapping[str, int], rows: int) -> str:
    """
    Return the counts in words: ``context in 60 of 60 rows``.

    Args:
        counts: Key -> rows that have it, >= 1, the most first.
        rows: Accepted rows, >= 1.
    """
    shown = [f"{key} in {n} of {rows} rows" for key, n in list(counts.items())[:MOST_SHOWN]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more keys" if more > 0 else "")
