"""
How two samples differ: two-sample tests, the population stability index, many tests at once.

In plain Python; tests compare the p-values with scipy's.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

from finetuned.core.drift.measure import KINDS, RATES, UPWARDS, YES, Difference, Measure, Value

BINS: Final = 10
"""Parts of the reference, equally large, between which numbers are counted."""

LEAST_EXPECTED: Final = 5.0
"""Kinds of which fewer are expected in one of the samples are counted together."""


def difference(
    measure: Measure, before: Sequence[Value], now: Sequence[Value]
) -> Difference | None:
    """
    Return how *now* differs from *before*; None if the measure applies to nothing in one of them.

    Numbers are compared by the test of Kolmogorov and Smirnov, one-sided if only a rise matters;
    kinds by the chi-square test of homogeneity.
    """
    if measure in KINDS:
        return _of_kinds(
            measure,
            [str(v) for v in before if v is not None],
            [str(v) for v in now if v is not None],
        )
    old = sorted(float(v) for v in before if v is not None)
    new = sorted(float(v) for v in now if v is not None)
    if not old or not new:
        return None
    rises = measure in UPWARDS
    p = kolmogorov_smirnov(old, new, upwards=rises)
    first, second = binned(old, old), binned(old, new)
    effect = stability_index(first, second)
    if rises and median(new) <= median(old) and _mean(new) <= _mean(old):
        effect = 0.0
    return Difference(effect, p, median(old), median(new))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _of_kinds(measure: Measure, old: Sequence[str], new: Sequence[str]) -> Difference | None:
    if not old or not new:
        return None
    first, second = Counter(old), Counter(new)
    change = {k: second[k] / len(new) - first[k] / len(old) for k in {*first, *second}}
    kind = YES if measure in RATES else max(sorted(change), key=lambda k: abs(change[k]))
    tables = _merged(first, second)
    effect = abs(change.get(kind, 0.0)) if measure in RATES else stability_index(*tables)
    return Difference(
        effect, homogeneity(*tables), first[kind] / len(old), second[kind] / len(new), kind
    )


def _merged(first: Counter[str], second: Counter[str]) -> tuple[list[int], list[int]]:
    """Return the counts of each kind in both samples, rare kinds together."""
    n, m = first.total(), second.total()
    least = LEAST_EXPECTED * (n + m) / min(n, m)
    rows = sorted((first[kind] + second[kind], first[kind]) for kind in {*first, *second})
    merged: list[tuple[int, int]] = []
    for both, old in rows:  # the rarest first: each is added to the one before while that is rare
        if merged and sum(merged[-1]) < least:
            merged[-1] = (merged[-1][0] + old, merged[-1][1] + both - old)
        else:
            merged.append((old, both - old))
    if len(rows) == 2:
        merged = [(old, both - old) for both, old in rows]
    return [old for old, _ in merged], [new for _, new in merged]


def binned(reference: Sequence[float], values: Sequence[float]) -> list[int]:
    """
    Return how many of *values* are at, and between, the deciles of *reference* (sorted).

    Values that equal a decile have a place of their own, so that samples with many equal values,
    such as zeros, are told apart too.
    """
    n = len(reference)
    edges = sorted({reference[min(n - 1, n * i // BINS)] for i in range(1, BINS)})
    counts = [0] * (2 * len(edges) + 1)
    for value in values:
        counts[bisect_left(edges, value) + bisect_right(edges, value)] += 1
    return counts


def stability_index(expected: Sequence[int], found: Sequence[int]) -> float:
    """
    Return the population stability index of two tables of counts, less what chance adds.

    sum((q - p) ln(q / p)) over the places, half a count added to each. Two samples of n
    and m from one distribution have an index of about (places - 1)(1/n + 1/m), which is
    subtracted: without that, small samples always look moved.

    Args:
        expected: Counts of the reference, by place.
        found: Likewise of the other sample.

    Returns:
        >= 0. By custom below 0.1 is no change, and above 0.25 a large one.

    Source:
        Yurdakul, Statistical Properties of Population Stability Index, Western Michigan
        University (2018): the index times nm/(n + m) follows a chi-square distribution.
    """
    pairs = [(e, f) for e, f in zip(expected, found, strict=True) if e or f]
    n, m = sum(e for e, _ in pairs), sum(f for _, f in pairs)
    if len(pairs) < 2 or not n or not m:
        return 0.0
    half = 0.5 * len(pairs)
    total = 0.0
    for e, f in pairs:
        p, q = (e + 0.5) / (n + half), (f + 0.5) / (m + half)
        total += (q - p) * math.log(q / p)
    return max(0.0, total - (len(pairs) - 1) * (1 / n + 1 / m))


def homogeneity(first: Sequence[int], second: Sequence[int]) -> float:
    """
    Return the p-value that two tables of counts are of one distribution.

    Two places are compared by Fisher's exact test, which holds for rare events; more by the
    chi-square test.

    Source:
        Pearson, Biometrika 8 (1911); Fisher, Statistical Methods for Research Workers (1934).
    """
    n, m = sum(first), sum(second)
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a or b]
    if len(pairs) < 2 or not n or not m:
        return 1.0
    if len(pairs) == 2:
        return _fisher(pairs[0][0], n, pairs[0][1], m)
    found = 0.0
    for a, b in pairs:
        both = a + b
        for seen, size in ((a, n), (b, m)):
            expected = both * size / (n + m)
            found += (seen - expected) ** 2 / expected
    return chi_square_tail(found, len(pairs) - 1)


def _fisher(a: int, n: int, b: int, m: int) -> float:
    """Return the two-sided p-value of *a* of *n* beside *b* of *m*, given *a* + *b*."""

    def log_ways(k: int) -> float:
        return _log_choose(n, k) + _log_choose(m, a + b - k)

    least, most = max(0, a + b - m), min(n, a + b)
    seen, whole = log_ways(a), _log_choose(n + m, a + b)
    terms = (log_ways(k) for k in range(least, most + 1))
    return min(1.0, math.fsum(math.exp(t - whole) for t in terms if t <= seen + 1e-7))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def chi_square_tail(x: float, freedom: int) -> float:
    """
    Return P(X >= *x*) of the chi-square distribution with *freedom* degrees of freedom, >= 1.

    Source:
        Abramowitz and Stegun (1964), 26.4.4 and 26.4.5.
    """
    if x <= 0:
        return 1.0
    half = x / 2
    total = math.erfc(math.sqrt(half)) if freedom % 2 else math.exp(-half)
    power = 0.5 if freedom % 2 else 1.0
    while power < freedom / 2 - 0.25:
        total += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
        power += 1
    return min(1.0, total)


def kolmogorov_smirnov(first: Sequence[float], second: Sequence[float], *, upwards: bool) -> float:
    """
    Return the p-value that two sorted samples are of one distribution.

    By the limit distribution, which is too careful if values are equal.

    Args:
        first: Of the reference, sorted, not empty.
        second: Likewise of the other sample.
        upwards: Whether only a second sample that is larger counts.

    Source:
        Smirnov, Annals of Mathematical Statistics 19 (1948); Stephens, JRSS B 32 (1970), for
        the correction of small samples.
    """
    n, m = len(first), len(second)
    above = below = 0.0
    for value in sorted({*first, *second}):
        gap = bisect_right(first, value) / n - bisect_right(second, value) / m
        above, below = max(above, gap), max(below, -gap)
    root = math.sqrt(n * m / (n + m))
    if upwards:
        return min(1.0, math.exp(-2 * (root * above) ** 2))
    x = (root + 0.12 + 0.11 / root) * max(above, below)
    if x < 0.3:
        return 1.0  # the series below converges slowly there; the value is above 0.99999
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, math.fsum(terms)))


def holm(p_values: Sequence[float]) -> list[float]:
    """
    Return *p_values* corrected for being looked at together, in their order.

    Source:
        Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected
