"""
Two-sample tests, the stability index, and days put together: laws on random samples.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from itertools import pairwise

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.drift.difference import (
    binned,
    chi_square_tail,
    difference,
    holm,
    homogeneity,
    kolmogorov_smirnov,
    stability_index,
)
from finetuned.core.drift.measure import NO, YES, Measure
from finetuned.core.drift.spans import grouped

SAMPLES = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=40)
KINDS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 80), st.integers(1, 12))
def test_the_chi_square_tail_is_scipys(x: float, freedom: int) -> None:
    """
    For every number of kinds that can occur.
    """
    assert scipy.stats.chi2.sf(x, freedom) == pytest.approx(chi_square_tail(x, freedom), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_two_rare_kinds_are_compared_exactly(a: int, b: int, c: int, d: int) -> None:
    """
    As by Fisher's test: the chi-square test calls 9 of 60 beside 4 of 100 impossible.
    """
    expected = 1.0 if not all((a + b, c + d, a + c, b + d)) else None
    if expected is None:
        expected = scipy.stats.fisher_exact([[a, b], [c, d]]).pvalue

    assert expected == pytest.approx(homogeneity([a, b], [c, d]), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(-1, 1))
def test_the_test_of_numbers_is_scipys(seed: int, shift: float) -> None:
    """
    Two-sided and one-sided, up to the correction of the limit for small samples.
    """
    rng = random.Random(seed)
    first = sorted(rng.gauss(0, 1) for _ in range(200))
    second = sorted(rng.gauss(shift, 1) for _ in range(100))
    both = scipy.stats.ks_2samp(first, second).pvalue
    up = scipy.stats.ks_2samp(first, second, alternative="greater").pvalue

    assert both == pytest.approx(
        kolmogorov_smirnov(first, second, upwards=False), rel=0.3, abs=0.03
    )
    assert up == pytest.approx(kolmogorov_smirnov(first, second, upwards=True), rel=0.3, abs=0.03)


@settings(max_examples=50, deadline=None)
@given(SAMPLES, SAMPLES)
def test_order_says_nothing_and_equal_samples_do_not_differ(
    first: list[float], second: list[float]
) -> None:
    """
    For numbers; every value has a place beside the deciles.
    """
    one = difference(Measure.LENGTH, first, second)
    assert one == difference(Measure.LENGTH, first[::-1], second[::-1])
    same = difference(Measure.LENGTH, first, first)
    assert same is not None
    assert (0.0, 1.0) == (same.effect, same.p)
    assert len(second) == sum(binned(sorted(first), second))


@settings(max_examples=50, deadline=None)
@given(KINDS, KINDS)
def test_kinds_have_an_index_that_is_never_negative_and_a_p_value(
    first: list[str], second: list[str]
) -> None:
    """
    The kind that is named is one that occurs.
    """
    found = difference(Measure.FORMAT, first, second)

    assert found is not None
    assert found.effect >= 0
    assert 0 <= found.p <= 1
    assert found.kind in {*first, *second}


def test_small_samples_of_one_distribution_do_not_look_moved() -> None:
    """
    Without what chance adds the index of 50 values beside 500 is about 0; a raw one is 0.2.
    """
    rng = random.Random(1)
    indexes = []
    for _ in range(200):
        counts = [[0] * 10, [0] * 10]
        for sample, n in ((0, 500), (1, 50)):
            for _ in range(n):
                counts[sample][rng.randrange(10)] += 1
        indexes.append(stability_index(*counts))

    assert sum(indexes) / len(indexes) < 0.06
    assert sum(i > 0.2 for i in indexes) <= 10


def test_what_only_matters_if_it_rises_does_not_differ_if_it_falls() -> None:
    """
    Prompts that are nearer to what was trained harm nobody.
    """
    far, near = [0.5 + i / 500 for i in range(100)], [0.1 + i / 500 for i in range(100)]
    fell = difference(Measure.WORDING, far, near)
    rose = difference(Measure.WORDING, near, far)
    assert fell is not None
    assert rose is not None

    assert (0.0, 1.0) == (fell.effect, fell.p)
    assert rose.effect > 1
    assert rose.p < 1e-9


def test_a_measure_that_applies_to_nothing_is_no_difference() -> None:
    """
    Answers of which no form is expected; a rate is the change of its share.
    """
    assert difference(Measure.VALID, [None, None], [YES]) is None
    found = difference(Measure.REFUSED, [NO] * 9 + [YES], [NO] * 7 + [YES] * 3)
    assert found is not None
    assert 0.2 == pytest.approx(found.effect)
    assert (0.1, 0.3) == (found.before, found.now)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_corrected_p_values_are_larger_and_keep_their_order(ps: list[float]) -> None:
    """
    Holm: the smallest is multiplied by their number.
    """
    found = holm(ps)

    assert all(a <= b <= 1 for a, b in zip(ps, found, strict=True))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert sorted(found) == [found[i] for i in order]
    assert not ps or min(found) == pytest.approx(min(1.0, len(ps) * min(ps)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=15), st.integers(1, 12))
def test_every_item_is_in_one_group_and_every_group_is_large_enough(
    sizes: list[int], least: int
) -> None:
    """
    Groups are days on end; the newest ends with the last day that has items.
    """
    first = date(2026, 1, 1)
    days = {first + timedelta(days=i): [(i, k) for k in range(n)] for i, n in enumerate(sizes)}
    groups, few = grouped(days, least)

    assert sum(sizes) == few + sum(len(items) for _, _, items in groups)
    assert few < least
    assert not (few and groups)
    assert all(len(items) >= least for _, _, items in groups)
    for (_, end, _), (begin, _, _) in pairwise(groups):
        assert end < begin
    if groups:
        assert groups[-1][1] == max(day for day, items in days.items() if items)
        for begin, end, items in groups:
            assert {first + timedelta(days=i) for i, _ in items} <= {
                begin + timedelta(days=k) for k in range((end - begin).days + 1)
            }
