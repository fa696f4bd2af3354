"""
When the held-out loss of a trial is looked at, and how far the trial is at a look.

Trials differ in epochs and rows of a step, so that a step of one is not a step of another.
They are compared at the same tenth of their own plan, where the learning rate of each is
equally far along its schedule.
"""

from __future__ import annotations

from typing import Final

LOOKS: Final = 10
"""Looks at the held-out loss in one trial, if it has so many steps."""


def steps_between_looks(rows: int, epochs: int, rows_of_a_step: int) -> int:
    """
    Return after how many optimizer steps the held-out loss is looked at, >= 1.

    Args:
        rows: That are trained in each epoch, without those that are presented again, >= 1.
        epochs: >= 1.
        rows_of_a_step: >= 1.
    """
    steps = epochs * -(-rows // rows_of_a_step)
    return max(1, steps // LOOKS)


def stage(step: int, steps: int) -> int:
    """
    Return the tenth of its plan that a trial has finished, 0 to LOOKS.

    Args:
        step: Steps that are made, 0 to *steps*.
        steps: Of the whole plan, > 0.
    """
    return min(LOOKS, LOOKS * step // steps)
