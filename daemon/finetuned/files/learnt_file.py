"""
Where a file on the books and its dataset are, so that rows that were trained can be read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetuned.core.line_set import LineSet
from finetuned.files.claims import claimed_file
from finetuned.files.rows import DatasetRow
from finetuned.layout import MANIFEST, Layout


@dataclass(frozen=True, kw_only=True, slots=True)
class LearntFile:
    """
    A file that a version has learnt.
    """

    dataset: Path
    """Folder of its dataset."""
    path: Path
    """Where the file is now."""
    name: str
    """What people called it."""
    unseen: frozenset[int] = frozenset()
    """Lines that no step had, which are not learnt."""


def learnt_file(layout: Layout, row: DatasetRow, unseen: LineSet) -> LearntFile | None:
    """
    Return a validated file with its dataset; None if either is gone.

    Args:
        layout: The root.
        row: Of the journal.
        unseen: Its lines that no step had.

    Raises:
        OSError: The file system refused.
    """
    moved = None if row.final_path is None else layout.root / row.final_path
    path = claimed_file(layout, row.key) if moved is None else moved
    if row.dataset_id is None or path is None or not path.is_file():
        return None
    dataset = layout.datasets / row.dataset_id
    if not (dataset / MANIFEST).is_file():
        return None
    return LearntFile(dataset=dataset, path=path, name=row.name, unseen=frozenset(unseen.lines()))
