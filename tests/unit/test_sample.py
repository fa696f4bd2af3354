"""
A sample of suites: spread evenly, growing by adding, as large as there is time for.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.sample import LEAST_ASKED, growing_sizes, sample_order, sizes_within

texts = st.lists(st.text(max_size=3), max_size=40)
costs = st.lists(st.lists(st.floats(0, 10), max_size=30), max_size=6)


@given(texts)
def test_every_item_joins_once(found: list[str]) -> None:
    """
    Whatever the texts are.
    """
    assert list(range(len(found))) == sorted(sample_order(found))


def test_each_template_has_its_share_in_every_sample() -> None:
    """
    Of 60 rows of one template and 20 of another, a quarter of each sample is of the other.
    """
    rows = [f"{'stop' if i % 4 == 0 else 'add'} {i:02}" for i in range(80)]
    order = sample_order(rows)

    for n in (8, 16, 32, 64):
        share = sum(rows[i].startswith("stop") for i in order[:n]) / n
        assert abs(share - 0.25) <= 1.5 / n


@given(costs, st.floats(0, 200))
def test_a_sample_fits_and_no_larger_one_does(suites: list[list[float]], limit: float) -> None:
    """
    Unless one item of each suite is too much already.
    """
    sizes = sizes_within(suites, limit)
    most = max(sizes, default=0)

    def cost(n: int) -> float:
        return sum(sum(suite[:n]) for suite in suites)

    assert [min(most, len(suite)) for suite in suites] == sizes
    assert most <= 1 or cost(most) <= limit * (1 + 1e-9)
    larger = most < max(map(len, suites), default=0)
    assert not larger or cost(most + 1) >= limit * (1 - 1e-9)


def test_what_costs_nothing_is_asked_whole() -> None:
    """
    Answers that are known already take no time.
    """
    assert [100, 5] == sizes_within([[0.0] * 100, [1.0] * 5], 5.0)
    assert [5, 5] == sizes_within([[1.0] * 100, [1.0] * 100], 10.9)
    assert [] == sizes_within([], 1.0)


@settings(deadline=None, max_examples=50)
@given(costs, st.floats(-5, 200), st.data())
def test_no_limit_cuts_a_sample_below_its_least(
    suites: list[list[float]], limit: float, data: st.DataObject
) -> None:
    """
    And beyond it a sample is never larger than the limit allows.
    """
    least = data.draw(st.tuples(*(st.integers(0, 30) for _ in suites)))
    sizes = sizes_within(suites, limit, least)

    floors = [min(max(1, n), len(suite)) for n, suite in zip(least, suites, strict=True)]
    assert all(a <= b for a, b in zip(floors, sizes, strict=True))
    spent = sum(sum(suite[:n]) for n, suite in zip(sizes, suites, strict=True))
    assert sizes == floors or spent <= limit * (1 + 1e-9)


@given(st.integers(0, 5000))
def test_growing_samples_end_below_the_whole(largest: int) -> None:
    """
    The first stands for its suite; each is larger than the one before.
    """
    sizes = growing_sizes(largest)

    assert all(LEAST_ASKED <= n < largest for n in sizes)
    assert sizes == sorted(set(sizes))
    assert sizes or largest <= LEAST_ASKED
