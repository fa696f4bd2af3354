"""
Rows made of rows: the same request said, written or filled in otherwise.

``augment()`` reads a file and writes it with its children; ingestion makes children of the rows
that it trains if ``[data].augment`` says so. Every transform states what must not change, and
proves it for each child; a child that fails is counted and not used.
"""

from finetuned.sources.augment.catalog import TRANSFORMS, chosen
from finetuned.sources.augment.children import Child, ChildMaker, Counts, Known
from finetuned.sources.augment.facts import FileFacts
from finetuned.sources.augment.kept_out import KeptOut

__all__ = [
    "TRANSFORMS",
    "Child",
    "ChildMaker",
    "Counts",
    "FileFacts",
    "KeptOut",
    "Known",
    "chosen",
]
