"""
The rows of one dataset beside those of earlier ones, read from disk: see data/near_rows.py.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from finetuned.data.near_rows import NearRowIndex, NearRows
from finetuned.data.store import TokenisedDataset
from finetuned.errors import FinetunedError
from finetuned.layout import Layout

MAX_ROWS: Final = 1_000
"""As many rows of a file are looked at, spread evenly over it."""
MAX_ALL: Final = 20_000
"""As many rows are looked at of all files together: that takes about 5 seconds."""


class NearFiles:
    """
    The rows of some datasets. What is deleted is known as missing.
    """

    def __init__(self, layout: Layout, dataset_ids: Collection[str]) -> None:
        most = max(1, min(MAX_ROWS, MAX_ALL // max(1, len(dataset_ids))))
        found = {name: _rows(layout, name, most) for name in dataset_ids}
        self._known = {name for name, rows in found.items() if rows is not None}
        self._index = NearRowIndex({n: rows for n, rows in found.items() if rows is not None})

    def near(self, dataset_id: str, earlier: Collection[str]) -> tuple[NearRows | None, int]:
        """
        Return how many rows of a dataset are near one of *earlier* datasets.

        Returns:
            The counts, None if the dataset cannot be read; and how many earlier ones cannot.
        """
        if dataset_id not in self._known:
            return None, 0
        known = self._known.intersection(earlier)
        return self._index.near(dataset_id, known), len(set(earlier) - known)


def _rows(layout: Layout, dataset_id: str, most: int) -> list[npt.NDArray[Any]] | None:
    """Return the tokens of at most *most* training sequences; None if they cannot be read."""
    try:
        dataset = TokenisedDataset.open(layout.datasets / dataset_id)
    except (FinetunedError, OSError, KeyError, ValueError):
        return None
    n = len(dataset)
    chosen = np.unique(np.linspace(0, max(0, n - 1), min(n, most)).astype(np.int64))
    return [dataset[int(i)][0] for i in chosen]
