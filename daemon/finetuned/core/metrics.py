"""
Numbers made from model outputs. Plain floats in, plain floats out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean_loss(nll: Sequence[float], n_tokens: Sequence[int]) -> float:
    """
    Return the mean negative log-likelihood per predicted token.

    The mean is over tokens, not over examples: summing first keeps one long
    and many short examples from being dominated by the short ones.

    Args:
        nll: Summed NLL of each example, in nats. Length N.
        n_tokens: Predicted (supervised) tokens of each example. Length N.

    Returns:
        Nats per token, >= 0.

    Raises:
        ValueError: The lengths differ, or no token was predicted.
    """
    total = sum(n_tokens)
    if total == 0:
        raise ValueError("no predicted tokens")
    return math.fsum(x for x, _ in zip(nll, n_tokens, strict=True)) / total


def wilson_interval(successes: int, n: int, *, z: float = 1.959964) -> tuple[float, float]:
    """
    Return the score interval of a proportion.

    Args:
        successes: 0 to *n*.
        n: Number of trials, > 0.
        z: Normal quantile; the default gives 95%.

    Returns:
        Lower and upper bound, each 0 to 1. Unlike the normal approximation it
        stays inside that range and is not a point at 0 or *n* successes.

    Raises:
        ValueError: *n* is not positive, or *successes* is outside 0 to *n*.

    Source:
        E. B. Wilson, JASA 22 (1927), 209-212.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"need 0 <= successes <= n and n > 0, got {successes} of {n}")
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # Rounding may put a bound on the wrong side of the estimate at 0 and n successes.
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


def trend(values: Sequence[float], *, tolerance: float, higher_is_better: bool) -> str:
    """
    Return the trend of a series: ``improving``, ``stable`` or ``degrading``.

    Compares the mean of the last half of the last 20 values with that of the
    half before; a difference within *tolerance* is stable.
    """
    window = list(values)[-20:]
    if len(window) < 4:
        return "stable"
    half = len(window) // 2
    before = sum(window[:half]) / half
    after = sum(window[half:]) / (len(window) - half)
    change = after - before if higher_is_better else before - after
    if abs(change) <= tolerance:
        return "stable"
    return "improving" if change > 0 else "degrading"
