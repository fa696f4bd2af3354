"""
What a launched worker of the tests is asked: a spec of the same make as the product's.
"""

from dataclasses import dataclass
from pathlib import Path

from finetuned.files.spec import RunSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchedSpec(RunSpec):
    """
    Beat until told to stop or to finish; then take so long, by rank, for a checkpoint.
    """

    notes: Path
    checkpoint_seconds: tuple[float, float]
