"""
Single steps whose loss stands far above the steps around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist, median

from finetuned.core.curves.series import Series

_WINDOW = 31
"""Steps around one step whose median is the level there."""

_LEAST_RISE = 0.5
"""A spike is at least this much above the level, as a share of it."""

_LEVEL = 0.01
"""Chance that normal noise of the same spread has one such step among all steps."""

_ABOVE_DIPS = 2.5
"""
A spike is this many times as far above the level as the deepest dip is below it: noise with
heavy tails has dips as well.
"""

_ECHO = 3.0
"""Deviations of the gradient or the next loss that confirm a spike."""

_LINGER_STEPS = 3
"""Steps after a spike whose median says whether the model was damaged."""

MIN_STEPS = 40
"""Fewer steps do not tell what is usual."""


@dataclass(frozen=True, slots=True)
class Spike:
    """
    One step whose loss jumped.
    """

    step: int
    lingers: bool
    """
    Whether the loss of the next steps is high as well: the step has damaged the model. If it
    is not, the rows of the step were hard.
    """


def spikes(loss: Series, grad_norm: Series, least: float = 0.0) -> list[Spike]:
    """
    Return the steps whose loss jumped, and whose gradient or next loss jumped as well.

    Deviations are shares of a running median; what is usual among them is told by their median
    and by the deepest dip. One high loss alone may be one hard row; it is confirmed by the
    gradient of the same step or, if gradients are not known, by the loss of the next one.

    Args:
        loss: Of each step.
        grad_norm: Of the same steps; empty if unknown.
        least: Nats by which a loss must at least jump.
    """
    n = len(loss)
    if n < MIN_STEPS:
        return []
    above = _deviations(loss)
    usual = _usual([d for d, _ in above.values()])
    high = NormalDist().inv_cdf(1 - _LEVEL / n)
    deepest = min(d for d, _ in above.values())
    threshold = max(high * usual, _LEAST_RISE, -_ABOVE_DIPS * deepest)
    gradients = _deviations(grad_norm) if len(grad_norm) >= MIN_STEPS else {}
    usual_gradient = _usual([d for d, _ in gradients.values()])
    found: list[Spike] = []
    for i, step in enumerate(loss.steps):
        share, level = above[step]
        if share <= threshold or share * level < least:
            continue
        after = [above[s][0] for s in loss.steps[i + 1 : i + 1 + _LINGER_STEPS]]
        lingers = len(after) == _LINGER_STEPS and median(after) > _ECHO * usual
        confirmed = (
            gradients.get(step, (0.0, 0.0))[0] > _ECHO * usual_gradient
            if gradients
            else bool(after) and after[0] > _ECHO * usual
        )
        if confirmed:
            found.append(Spike(step, lingers))
    return found


def _deviations(series: Series) -> dict[int, tuple[float, float]]:
    """Return by step how far a value is above the running median, as a share of it, and it."""
    values, half, found = series.values, _WINDOW // 2, {}
    for i, step in enumerate(series.steps):
        level = max(median(values[max(0, i - half) : i + half + 1]), 1e-12)
        found[step] = (values[i] / level - 1, level)
    return found


def _usual(deviations: list[float]) -> float:
    """Return the standard deviation that normal noise of this median deviation has."""
    return 1.4826 * median(map(abs, deviations)) if deviations else 0.0
