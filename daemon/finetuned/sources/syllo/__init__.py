"""
SYLLO puzzles: words hidden behind definitions, to be put together from syllables.

Call ``training_rows()`` for a dataset and ``drop()`` to put it into an inbox;
``test_rows()`` are the fixed benchmarks, made from words that no training row has.
"""

from finetuned.files.drop import drop, to_jsonl
from finetuned.sources.syllo.puzzle import LEVELS
from finetuned.sources.syllo.rows import test_rows, training_rows

__all__ = ["LEVELS", "drop", "test_rows", "to_jsonl", "training_rows"]
