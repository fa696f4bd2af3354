"""
Infrastructure commands in plain English, each with its one canonical answer.

Call ``training_rows()`` for the demo dataset and ``drop()`` to put it into an
inbox; ``test_rows()`` is the fixed test set and is for evaluation only.
"""

from finetuned.files.drop import drop, to_jsonl
from finetuned.sources.intents.rows import test_rows, training_rows

__all__ = ["drop", "test_rows", "to_jsonl", "training_rows"]
