"""
Infrastructure commands in plain English, each with its one canonical answer.

Call ``training_rows()`` for the demo dataset and ``drop()`` to put it into an
inbox; ``test_rows()`` is the fixed test set and is for evaluation only. These know
the first set of commands; ``domain_rows()`` and ``domain_suite()`` know all of one or
several domains.
"""

from finetuned.files.drop import drop, to_jsonl
from finetuned.sources.intents.domains import domain_rows, domain_suite
from finetuned.sources.intents.rows import test_rows, training_rows

__all__ = ["domain_rows", "domain_suite", "drop", "test_rows", "to_jsonl", "training_rows"]
