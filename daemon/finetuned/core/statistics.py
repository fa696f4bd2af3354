"""
Paired tests, intervals and bounds that tell a difference from noise, without numpy.

The gate runs in a process that loads neither torch nor numpy, so these are
plain Python on some hundreds of numbers. Tests compare them with scipy's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Sequence
from statistics import NormalDist

_EXACT_SIGNS = 14
"""Most differences for which all 2^n sign patterns are tried one by one."""

_MANY = 1_000
"""Above so many differences the normal limit of their sum is accurate enough."""

_STEPS = 20
"""Steps of the mean size of a difference, to which sizes are rounded above _EXACT_SIGNS."""

_LANE, _UNIT = 128, 64
"""Bits in which one count of sign patterns is kept, and those of them below the first count."""

_FEW_CLUSTERS = 20
"""Up to so many, clusters are judged by their spread: their signs alone show at most 2^-20."""


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


def sign_flip(differences: Sequence[float]) -> float:
    """
    Return the one-sided p-value that paired *differences* are above zero in the mean.

    At equal quality each difference is as likely to have the other sign; how
    often do random signs sum to at least as much? All sign patterns are counted: one by one
    up to 14 differences, beyond by sums of sizes that are rounded to a twentieth of
    their mean (signs are exchangeable whatever the sizes are, so the test stays exact); the
    normal limit beyond 1,000.

    Args:
        differences: New minus old, one per item, finite.

    Returns:
        > 0 to 1; 1 if there is no difference at all.

    Raises:
        ValueError: A difference is not a finite number: it would compare as smaller than any sum.

    Source:
        Fisher, The Design of Experiments (1935), section 21; Pagano and Tritchler, JASA 78
        (1983), for counting by sums.
    """
    values = [d for d in differences if d]
    observed, size = math.fsum(values), math.fsum(map(abs, values))
    if not math.isfinite(observed):
        raise ValueError("a difference is not a finite number")
    if not values:
        return 1.0
    n = len(values)
    if n <= _EXACT_SIGNS:
        sums = [0.0]
        for value in values:
            sums += [s + abs(value) for s in sums]
        # The sum under random signs is 2 * (sum of those taken as positive) - the sum of all.
        needed = (observed + size) / 2 - 1e-12 * size
        return sum(s >= needed for s in sums) / len(sums)
    if n > _MANY:  # under random signs the sum has mean 0 and the sum of squares as its variance
        spread = math.sqrt(math.fsum(value * value for value in values))
        return max(0.5 * math.erfc((1 - 1e-12) * observed / spread / math.sqrt(2)), 1e-300)
    whole = size <= _STEPS * n and all(value == int(value) for value in values)
    step = 1.0 if whole else size / n / _STEPS
    return _signs_reaching([round(value / step) for value in values])


def _signs_reaching(steps: Sequence[int]) -> float:
    """
    Return the share of sign patterns of *steps* whose sum is at least the sum of *steps*.

    The numbers of patterns by their sum stand side by side in one large integer, a lane
    of _LANE bits for each sum. Counts that would outgrow their lanes are rounded down, and
    what that loses at most is added to the share.
    """
    counts, lost, lanes = 1 << _UNIT, 0, 1
    for i, size in enumerate(sorted(map(abs, steps)), start=1):
        counts += counts << (_LANE * size)
        lanes += size
        if i % 32 == 0:
            low = int.from_bytes((b"\xff" * 12 + b"\x00" * 4) * lanes, "little")
            counts, lost = (counts >> 32) & low, lost + lanes
    needed = sum(step for step in steps if step > 0)
    # The sum of the lanes is the remainder by 2^128 - 1, as that of decimal digits is by 9.
    hits = (counts >> (_LANE * needed)) % ((1 << _LANE) - 1)
    return min(1.0, (hits + lost) / (1 << (_UNIT + len(steps) % 32)))


def student_tail(t: float, freedom: int) -> float:
    """
    Return P(T >= *t*) of Student's distribution with *freedom* degrees of freedom, >= 1.

    Returns:
        1e-15 to 1.

    Source:
        Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.
    """
    angle = math.atan2(t, math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term, terms = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, freedom + 1, 2):
        terms += term
        term *= cosine * cosine * (k - 1) / k
    inside = math.sin(angle) * terms
    if odd:
        inside = 2 / math.pi * (angle + inside)
    return min(1.0, max((1 - inside) / 2, 1e-15))


def by_cluster(
    differences: Sequence[float], clusters: Sequence[Hashable]
) -> tuple[list[float], list[int]]:
    """
    Return the sum of the *differences* of each cluster, and the number of its items.

    Args:
        differences: One per item.
        clusters: The cluster of each item.
    """
    if len(set(clusters)) == len(clusters):
        return list(differences), [1] * len(clusters)
    sums: dict[Hashable, list[float]] = {}
    for difference, cluster in zip(differences, clusters, strict=True):
        sums.setdefault(cluster, []).append(difference)
    return [math.fsum(found) for found in sums.values()], [len(found) for found in sums.values()]


def clustered_sign_flip(differences: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """
    Return the one-sided p-value that *differences* are above zero in the mean, by cluster.

    Items of one cluster move together, so that signs are flipped by cluster. The signs of few
    clusters can show nothing small: 2^-10 is the least that 10 show. Up to 20 clusters
    the sums are therefore judged by their spread, with Student's t, and beside it the items
    must show the gain as if each stood alone.

    Args:
        differences: New minus old, one per item, finite.
        clusters: The cluster of each item.

    Returns:
        > 0 to 1; 1 for one cluster of several items.

    Source:
        Ibragimov and Müller, J. Business and Economic Statistics 28 (2010), for t on few
        clusters of unequal sizes; Cameron and Miller, J. Human Resources 50 (2015).
    """
    sums, _ = by_cluster(differences, clusters)
    n = len(sums)
    if n == len(differences) or n > _FEW_CLUSTERS:
        return sign_flip(sums)
    if n == 1:
        return 1.0
    mean = math.fsum(sums) / n
    error = math.sqrt(math.fsum((s - mean) ** 2 for s in sums) / (n - 1) / n)
    t = mean / error if error else math.copysign(math.inf, mean) if mean else 0.0
    return max(sign_flip(differences), student_tail(t, n - 1))


def units_to_show(mean: float, spread: float, level: float, power: float = 0.8) -> int:
    """
    Return how many independent units would show a mean difference at *level*.

    Args:
        mean: Of a unit, > 0.
        spread: Standard deviation over units, >= 0.
        level: Of the one-sided test, 0 to 0.5, exclusive.
        power: The chance that so many units show it, 0.5 to 1, exclusive.

    Returns:
        At least the number of units, all better, that reaches the level by signs.

    Source:
        Lachin, Controlled Clinical Trials 2 (1981): ((z_level + z_power) spread / mean)^2.
    """
    normal = NormalDist()
    wanted = (normal.inv_cdf(1 - level) + normal.inv_cdf(power)) * spread / mean
    return max(math.ceil(min(wanted * wanted, 1e12)), math.ceil(-math.log2(level)))


def bootstrap_interval(
    differences: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> tuple[float, float]:
    """
    Return the percentile interval of the mean of paired *differences*.

    Args:
        differences: One per item, at least one.
        clusters: The cluster of each item: whole clusters are drawn. None: items are.
        confidence: 0 to 1, exclusive.
        resamples: Clusters drawn with replacement so many times.
        seed: Same seed, same interval.

    Raises:
        ValueError: There is nothing to resample.

    Source:
        Efron, Annals of Statistics 7 (1979); by cluster: Davison and Hinkley (1997), 3.8.
    """
    if not differences:
        raise ValueError("no differences to resample")
    sums, sizes = by_cluster(differences, range(len(differences)) if clusters is None else clusters)
    rng, n, items = random.Random(seed), len(sums), len(differences)
    if n > _MANY:
        mean = math.fsum(sums) / items
        left = (s - mean * size for s, size in zip(sums, sizes, strict=True))
        spread = math.sqrt(math.fsum(x * x for x in left)) / items
        z = NormalDist().inv_cdf((1 + confidence) / 2)
        return mean - z * spread, mean + z * spread
    if n == items:
        means = sorted(sum(rng.choices(sums, k=n)) / n for _ in range(resamples))
    else:
        means = []
        for _ in range(resamples):
            drawn = rng.choices(range(n), k=n)
            means.append(sum(sums[i] for i in drawn) / sum(sizes[i] for i in drawn))
        means.sort()
    tail = (1 - confidence) / 2
    low = means[int(tail * (resamples - 1))]
    high = means[math.ceil((1 - tail) * (resamples - 1))]
    return low, high
