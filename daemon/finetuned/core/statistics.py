"""
Paired tests, intervals and bounds that tell a difference from noise, without numpy.

The gate runs in a process that loads neither torch nor numpy, so these are
plain Python on some hundreds of numbers. Tests compare them with scipy's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import NormalDist

_EXACT_SIGNS = 14
"""Most differences for which all 2^n sign patterns are tried."""

_MANY = 2_000
"""Above so many differences the normal limit of their sum is accurate enough."""

_RESAMPLES = 9_999
"""Random sign patterns tried above _EXACT_SIGNS; p-values near 0.05 vary by about 0.002."""


def binomial_tail(successes: int, n: int, p: float) -> float:
    """
    Return P(X >= *successes*) of a binomial of *n* trials with chance *p*.

    Args:
        successes: 0 to n + 1.
        n: >= 0.
        p: 0 to 1.
    """
    if successes <= 0:
        return 1.0
    if p <= 0.0 or successes > n:
        return 0.0
    if p >= 1.0:
        return 1.0
    log_p, log_q = math.log(p), math.log1p(-p)
    logs = [
        math.lgamma(n + 1)
        - math.lgamma(k + 1)
        - math.lgamma(n - k + 1)
        + k * log_p
        + (n - k) * log_q
        for k in range(successes, n + 1)
    ]
    top = max(logs)
    return min(1.0, math.exp(top) * math.fsum(math.exp(x - top) for x in logs))


def mcnemar(better: int, worse: int) -> float:
    """
    Return the one-sided exact p-value that *better* outweighs *worse*.

    Items on which both models do the same say nothing: of the others, at equal
    quality each is a fair coin.

    Args:
        better: Items that only the new model got right, >= 0.
        worse: Items that only the old model got right, >= 0.

    Returns:
        P(at least *better* of better + worse), 0 to 1; 1 if nothing differs.

    Source:
        McNemar, Psychometrika 12 (1947); the exact form is the sign test.
    """
    n = better + worse
    ways = one = 1  # of n items none is lost; in whole numbers, so that 6 of 6 is 1/64
    for k in range(n, better, -1):
        one = one * k // (n - k + 1)
        ways += one
    return ways / (1 << n)


def lower_bound(successes: int, n: int, confidence: float = 0.95) -> float:
    """
    Return the one-sided lower bound of a proportion.

    Args:
        successes: 0 to *n*.
        n: > 0.
        confidence: 0.5 to 1, exclusive: how sure the true proportion is above the bound.

    Returns:
        0 to 1. 59 of 59 is the least that shows 0.95 at 95%.

    Raises:
        ValueError: *successes* is outside 0 to *n*, or *n* is 0.

    Source:
        Clopper and Pearson, Biometrika 26 (1934).
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"need 0 <= successes <= n and n > 0, got {successes} of {n}")
    if successes == 0:
        return 0.0
    low, high = 0.0, successes / n
    for _ in range(60):  # each halves the interval: 1e-18
        middle = (low + high) / 2
        if binomial_tail(successes, n, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def least_items(threshold: float, confidence: float = 0.95) -> int:
    """
    Return the least number of items, all right, whose lower bound reaches *threshold* (0 to 1).
    """
    if threshold <= 0:
        return 1
    if threshold >= 1:
        raise ValueError("no number of items shows that nothing ever fails")
    return math.ceil(math.log(1 - confidence) / math.log(threshold) - 1e-9)


def sign_flip(differences: Sequence[float], *, seed: int = 0) -> float:
    """
    Return the one-sided p-value that paired *differences* are above zero in the mean.

    At equal quality each difference is as likely to have the other sign; how
    often do random signs sum to at least as much? Exact up to 14 differences,
    random signs beyond, the observed ones counted as one of them; the normal limit
    beyond 2,000.

    Args:
        differences: New minus old, one per item, finite.
        seed: Of the random signs.

    Returns:
        > 0 to 1; 1 if there is no difference at all.

    Raises:
        ValueError: A difference is not a finite number: it would compare as smaller than any sum.

    Source:
        Fisher's randomisation test; Phipson and Smyth (2010) for counting the observed.
    """
    values = [abs(d) for d in differences if d]
    observed = math.fsum(differences)
    if not math.isfinite(observed):
        raise ValueError("a difference is not a finite number")
    if not values:
        return 1.0
    slack = 1e-12 * math.fsum(values)
    # The sum under random signs is 2 * (sum of those taken as positive) - the sum of all.
    needed = (observed + math.fsum(values)) / 2 - slack
    n = len(values)
    if n <= _EXACT_SIGNS:
        sums = [0.0]
        for value in values:
            sums += [s + value for s in sums]
        return sum(s >= needed for s in sums) / len(sums)
    if n > _MANY:  # under random signs the sum has mean 0 and the sum of squares as its variance
        spread = math.sqrt(math.fsum(value * value for value in values))
        return max(0.5 * math.erfc((observed - slack) / spread / math.sqrt(2)), 1e-300)
    tables = [_sums_of_subsets(values[i : i + 8]) for i in range(0, n, 8)]
    rng = random.Random(seed)
    hits = 1
    for _ in range(_RESAMPLES):
        signs = rng.getrandbits(8 * len(tables)).to_bytes(len(tables), "little")
        total = 0.0
        for table, byte in zip(tables, signs, strict=True):
            total += table[byte & (len(table) - 1)]
        hits += total >= needed
    return hits / (_RESAMPLES + 1)


def _sums_of_subsets(values: Sequence[float]) -> list[float]:
    """Return the sum of each subset of up to 8 values, by its bits."""
    sums = [0.0]
    for value in values:
        sums += [s + value for s in sums]
    return sums


def bootstrap_interval(
    differences: Sequence[float], *, confidence: float = 0.95, resamples: int = 2_000, seed: int = 0
) -> tuple[float, float]:
    """
    Return the percentile interval of the mean of paired *differences*.

    Args:
        differences: One per item, at least one.
        confidence: 0 to 1, exclusive.
        resamples: Items drawn with replacement so many times.
        seed: Same seed, same interval.

    Raises:
        ValueError: There is nothing to resample.

    Source:
        Efron, Annals of Statistics 7 (1979).
    """
    if not differences:
        raise ValueError("no differences to resample")
    rng, n = random.Random(seed), len(differences)
    if n > _MANY:
        mean = math.fsum(differences) / n
        spread = math.sqrt(math.fsum((d - mean) ** 2 for d in differences)) / n
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        return mean - z * spread, mean + z * spread
    means = sorted(sum(rng.choices(differences, k=n)) / n for _ in range(resamples))
    tail = (1 - confidence) / 2
    low = means[int(tail * (resamples - 1))]
    high = means[math.ceil((1 - tail) * (resamples - 1))]
    return low, high
