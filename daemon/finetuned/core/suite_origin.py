"""
Where the questions of a suite come from.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

HELD_OUT: Final = "heldout-"
"""Before a dataset's id, the name of the suite of its held-out rows."""


class SuiteOrigin(StrEnum):
    """
    The source of a suite; each rule of the gate applies to suites of certain origins.
    """

    NEW = "new"  # held-out rows of the datasets of this job
    OLD = "old"  # held-out rows of datasets of earlier jobs
    BENCHMARK = "benchmark"  # a file of benchmarks/
    CANARY = "canary"  # benchmarks/canaries.jsonl
