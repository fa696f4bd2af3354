"""
The number of this process within its run (rank), and how many processes the run has.

A run has one process, or several that ``accelerate launch`` started. Only rank
0 writes into the run folder; the others write to standard error. Reads the
environment of the process and does not load torch.
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
    Return the number of processes of this run, over all machines, >= 1.
    """
    return int(os.environ.get("WORLD_SIZE", "1"))
