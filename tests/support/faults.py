"""
Faults planted in the workers of a daemon under test; tests/faults/planted has them.
"""

from __future__ import annotations

import os
from pathlib import Path

from support.daemon import PACKAGE_PARENT

PLANTED = Path(__file__).resolve().parents[1] / "faults" / "planted"


def environment(faults: Path) -> dict[str, str]:
    """
    Return what a daemon, or a worker by itself, needs to meet the faults in that folder.
    """
    return {
        "PYTHONPATH": os.pathsep.join((str(PLANTED), str(PACKAGE_PARENT))),
        "FINETUNED_FAULTS": str(faults),
    }
