"""
Numbers and text as pages and tables show them.
"""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.reports.charts import known_points
from finetuned.reports.examples import SHOWN_CHARS, cut, judged, spread
from finetuned.reports.wording import (
    NOTHING,
    count,
    finite,
    interval,
    nats,
    number,
    percent,
    shorten,
    signed,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=50)
@given(JSON)
def test_only_a_number_is_a_finite_number(value: object) -> None:
    """
    A boolean is none, though Python counts with it, nor is a number that JSON cannot hold.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    expected = float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]

    assert expected == finite(value)


@pytest.mark.parametrize("show", [percent, number, nats, signed])
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, [], {}, "0.5"])
def test_a_value_that_is_no_number_is_never_shown_as_one(show, value: object) -> None:
    """
    A page of a damaged report says so in place, and is still a page.
    """
    shown = show(value)

    assert isinstance(shown, str)
    assert shown not in ("0", "0%", "0.0", "0.000", "+0.0", "nan%", "+nan")


def test_a_share_that_is_missing_is_not_none_right() -> None:
    """
    ``0%`` would be a judgement.
    """
    assert NOTHING == percent(None)


@settings(max_examples=50)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_share_is_never_shown_as_a_lower_one(a: float, b: float) -> None:
    """
    Rounding keeps the order.
    """
    low, high = sorted((a, b))

    assert int(percent(low)[:-1]) <= int(percent(high)[:-1])


@settings(max_examples=50)
@given(st.floats(-100, 100))
def test_a_change_has_a_sign_unless_it_is_shown_as_none(points: float) -> None:
    """
    ``-0.0`` would be a loss of nothing.
    """
    shown = signed(points)

    assert ("0.0" == shown) == (shown[0] not in "+-")
    assert abs(float(shown) - points) <= 0.05 + 1e-9


@settings(max_examples=50)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 6))
def test_a_number_is_shown_about_right_and_short(value: float, digits: int) -> None:
    """
    Neither 300 digits nor a zero for what is small: very large and small ones have an exponent.
    """
    shown = number(value, digits=digits)

    assert len(shown) <= 14 + digits
    # Decimal: 1.75e308 rounded to 1.8e308 is more than a float can hold.
    distance = abs(Decimal(shown) - Decimal(value))
    assert distance <= max(Decimal("0.06") * abs(Decimal(value)), Decimal(10) ** -digits)
    assert (0 == Decimal(shown)) == (0 == value)


@pytest.mark.parametrize(
    ("bounds", "shown"),
    [
        ([-1.0, 8.0], "-1.0 to +8.0"),
        ([0.01, -0.01], "0.0 to 0.0"),
        (None, ""),
        ([], ""),
        ([1.0], ""),
        ([1.0, 2.0, 3.0], ""),
        ([1.0, None], ""),
        ([math.nan, 1.0], ""),
    ],
)
def test_half_an_interval_is_none(bounds: list[float] | None, shown: str) -> None:
    """
    One bound alone would be read as the change itself.
    """
    assert shown == interval(bounds)


@pytest.mark.parametrize(
    ("n", "nouns", "shown"),
    [
        (0, ("item",), "0 items"),
        (1, ("item",), "1 item"),
        (2, ("item",), "2 items"),
        (1, ("canary", "canaries"), "1 canary"),
        (2, ("canary", "canaries"), "2 canaries"),
    ],
)
def test_a_noun_is_in_its_number(n: int, nouns: tuple[str, ...], shown: str) -> None:
    """
    Also one whose plural is not made with an s.
    """
    assert shown == count(n, *nouns)


@settings(max_examples=50)
@given(st.text(max_size=80), st.integers(5, 40))
def test_a_shortened_text_fits_and_keeps_both_ends(text: str, chars: int) -> None:
    """
    On one line; a text that fits is shown whole.
    """
    whole = shorten(text, 10_000)
    short = shorten(text, chars)

    assert "\n" not in whole
    assert "\t" not in whole
    if len(whole) <= chars:
        assert whole == short
    else:
        head, _, tail = short.partition("...") if "." not in whole else ("", "", "")
        assert chars == len(short)
        assert whole.startswith(head)
        assert whole.endswith(tail)


def test_a_cut_text_says_how_much_is_missing() -> None:
    """
    A text of just the limit is whole.
    """
    assert "x" * SHOWN_CHARS == cut("x" * SHOWN_CHARS)
    assert cut("x" * (SHOWN_CHARS + 1)).endswith("x\n... 1 more character")
    assert cut("x" * (SHOWN_CHARS + 9)).endswith("x\n... 9 more characters")
    assert "" == cut(None)


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (None, "unjudged"),
        ({}, "unjudged"),
        ({"correct": None}, "unjudged"),
        ({"correct": True}, "right"),
        ({"correct": False}, "wrong"),
    ],
)
def test_an_item_that_nobody_judged_is_neither_right_nor_wrong(outcome, word: str) -> None:
    """
    Suites of losses only have no verdicts.
    """
    assert word == judged(outcome)


@settings(max_examples=50)
@given(st.lists(st.sampled_from("abc"), max_size=20))
def test_spreading_keeps_every_item_and_takes_suites_in_turns(suites: list[str]) -> None:
    """
    In any beginning no suite is ahead of one that still has items; within a suite the order stays.
    """
    items = [{"suite": suite, "id": i} for i, suite in enumerate(suites)]
    found = spread(items)

    assert items == sorted(found, key=lambda item: item["id"])
    for end in range(len(found)):
        seen = [item["suite"] for item in found[:end]]
        for suite in set(suites):
            if seen.count(suite) < suites.count(suite):
                assert max(map(seen.count, set(suites))) - seen.count(suite) <= 1
    for suite in set(suites):
        ids = [item["id"] for item in found if item["suite"] == suite]
        assert sorted(ids) == ids


@settings(max_examples=50)
@given(JSON | st.lists(st.lists(JSON, min_size=2, max_size=2), max_size=5))
def test_a_curve_has_only_points_that_can_be_drawn(curve: object) -> None:
    """
    Whatever a damaged metrics file holds, the rest of the curve is shown.
    """
    points = known_points(curve)

    assert all(math.isfinite(x) and math.isfinite(y) for x, y in points)
    assert len(points) <= (len(curve) if isinstance(curve, list) else 0)


def test_good_points_of_a_curve_stay_in_order() -> None:
    """
    What is between them is left out, not drawn as zero.
    """
    curve = [[1, 2.0], [2, None], [3], "x", [4, math.nan], [5, 1], [True, 1], [6, 7, 8]]

    assert [(1.0, 2.0), (5.0, 1.0)] == known_points(curve)
