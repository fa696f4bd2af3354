"""
Whether a file with a name of its own is in inbox/, or was taken from there.

It is looked for in the order in which it moves, so that it is not missed on its way.
"""

from __future__ import annotations

from pathlib import Path

from finetuned.files.inbox_names import encode_name
from finetuned.files.tables.datasets import Datasets
from finetuned.layout import Layout


def arrived(layout: Layout, name: str, datasets: Datasets | None) -> bool:
    """
    Return whether a file of that name is in inbox/ or was taken from there.

    Args:
        layout: The root.
        name: Of the file, in inbox/ itself.
        datasets: Of the journal; None if there is none yet.
    """
    if (layout.inbox / name).exists() or _is_claimed(layout, name):
        return True
    if datasets is not None and datasets.size_of(name.encode()) is not None:
        return True
    stem = Path(name).stem
    return any(any(f.glob(f"{stem}.d*.jsonl")) for f in (layout.done, layout.quarantine))


def _is_claimed(layout: Layout, name: str) -> bool:
    return any(layout.processing.glob(f"*/{encode_name(name.encode())}"))
