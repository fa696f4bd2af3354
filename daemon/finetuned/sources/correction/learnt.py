"""
Where the rows of a file on the books are, so that they can be asked again.
"""

from __future__ import annotations

from finetuned.core.line_set import LineSet
from finetuned.files.claims import claimed_file
from finetuned.files.rows import DatasetRow
from finetuned.layout import MANIFEST, Layout
from finetuned.sources.correction.trained_rows import LearntFile


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
