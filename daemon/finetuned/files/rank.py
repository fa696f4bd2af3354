"""
Which of a run's processes this is.

A run has one process, or several that ``accelerate launch`` started. Only rank
0 writes into the run folder; what the others have to say goes to standard
error. Reads the environment of the process and does not load torch.
"""

from __future__ import annotations

import os


def rank() -> int:
    """
    Return the number of this process within its run, 0 to world() - 1.
    """
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """
    Return how many processes train this run together, over all machines, >= 1.
    """
    return int(os.environ.get("WORLD_SIZE", "1"))
