"""
What is wrong with an answer, as codes (core/mistakes.py).
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.mistakes import LITTLE, MUCH, Code, Mistake, mistakes_of

PIECES = st.sampled_from(
    [
        *("word", "Words,", "of", "", " ", "\n", "- item\n", "1. one\n", "```\n", "{}", "[1, 2]"),
        *("12", "-3.5", "1,000", "\N{MINUS SIGN}4", "1e999", '{"action": "dns_add", "n": 3}'),
    ]
)
TEXTS = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=8).map(" ".join))
LENGTHS = st.integers(0, 500)

OPPOSITES = [
    (Code.SHORT_BY, Code.LONG_BY),
    (Code.NUMBERS_LACK, Code.NUMBERS_EXTRA),
    (Code.NOT_A_LIST, Code.NOT_PROSE),
    (Code.NO_CODE_BLOCK, Code.CODE_BLOCK),
]


def codes(answer: str, expected: str, n: int = 5, wanted: int = 5) -> list[str]:
    """Return the codes of an answer as text."""
    found = mistakes_of(answer, expected, answer_tokens=n, expected_tokens=wanted)
    return [str(mistake) for mistake in found]


def numbers(found: tuple[Mistake, ...]) -> dict[Code, int | None]:
    """Return the number of each code."""
    return {mistake.code: mistake.n for mistake in found}


@settings(deadline=None)
@given(TEXTS, TEXTS, LENGTHS, LENGTHS)
def test_an_answer_has_no_mistake_only_if_it_is_as_expected(
    answer: str, expected: str, n: int, wanted: int
) -> None:
    """
    Otherwise a wrong answer would have no hint, or a right one would.
    """
    found = mistakes_of(answer, expected, answer_tokens=n, expected_tokens=wanted)

    assert (not found) == (answer.strip() == expected.strip())


@settings(deadline=None)
@given(TEXTS, TEXTS, LENGTHS, LENGTHS)
def test_every_code_is_one_of_the_table_once_and_in_its_order(
    answer: str, expected: str, n: int, wanted: int
) -> None:
    """
    A number stands where the code has one, in its range, and nowhere else.
    """
    found = mistakes_of(answer, expected, answer_tokens=n, expected_tokens=wanted)

    order = list(Code)
    places = [order.index(mistake.code) for mistake in found]
    assert places == sorted(set(places))
    for mistake in found:
        assert (mistake.n is not None) == ("{n}" in mistake.code.value)
        assert re.fullmatch(re.escape(mistake.code.value).replace(r"\{n\}", r"\d+"), str(mistake))
        if mistake.code is Code.SIMILARITY:
            assert 0 <= (mistake.n or 0) <= 100
        elif mistake.n is not None:
            assert mistake.n >= 1


@settings(deadline=None)
@given(TEXTS, TEXTS, LENGTHS, LENGTHS)
def test_exchanging_answer_and_expected_exchanges_opposite_codes(
    answer: str, expected: str, n: int, wanted: int
) -> None:
    """
    Too short one way is too long the other way, by as many; and never both at once.
    """
    there = numbers(mistakes_of(answer, expected, answer_tokens=n, expected_tokens=wanted))
    back = numbers(mistakes_of(expected, answer, answer_tokens=wanted, expected_tokens=n))

    for one, other in OPPOSITES:
        assert (one in there) == (other in back)
        assert there.get(one) == back.get(other)
    assert not {Code.SHORT_BY, Code.LONG_BY} <= there.keys()
    assert not {Code.NOT_A_LIST, Code.NOT_PROSE} <= there.keys()
    assert not {Code.NO_CODE_BLOCK, Code.CODE_BLOCK} <= there.keys()
    assert there.get(Code.SIMILARITY) == back.get(Code.SIMILARITY)


@settings(deadline=None)
@given(TEXTS, TEXTS, LENGTHS, LENGTHS)
def test_words_for_a_size_follow_from_the_size(
    answer: str, expected: str, n: int, wanted: int
) -> None:
    """
    Brief, verbose, different and close are said by the numbers beside them, never against them.
    """
    found = numbers(mistakes_of(answer, expected, answer_tokens=n, expected_tokens=wanted))

    if not found:
        return
    alike = found[Code.SIMILARITY]
    assert alike is not None
    assert (Code.VERY_DIFFERENT in found) == (alike < LITTLE)
    assert (Code.CLOSE in found) == (alike >= MUCH)
    assert (Code.TOO_BRIEF in found) == (2 * n < wanted)
    assert (Code.TOO_VERBOSE in found) == (n > 2 * wanted)
    if Code.OFF_TOPIC in found:
        assert alike == 0
    if Code.NO_NUMBERS in found:
        assert Code.NUMBERS_LACK in found
        assert Code.NUMBERS_EXTRA not in found


@pytest.mark.parametrize(
    ("answer", "expected", "wanted"),
    [
        ("13", "12", "NUMERIC_ERROR_MISSING_1_VALUES"),
        ("13", "12", "NUMERIC_ERROR_EXTRA_1_VALUES"),
        ("twelve", "12", "MISSING_NUMBERS"),
        ("red", "red and green apples", "MISSING_KEY_CONCEPTS_2_TERMS"),
        ("a cat", "the dog", "OFF_TOPIC_CONTENT"),
        ("a cat", "the dog", "VERY_DIFFERENT_CONTENT"),
        ("one two three four", "one two three five", "SIMILARITY_75%"),
        ("The house is Red.", "The house is red.", "CLOSE_BUT_INACCURATE"),
        ("we add 3 and 4", "3 + 4 is 7\n#### 7", "PRIMARY_ANSWER_MISSING"),
        ('{"action": "dns_remove"}', '{"action": "dns_add"}', "PRIMARY_ANSWER_MISSING"),
        ("bread and milk", "- bread\n- milk", "STRUCTURE_SHOULD_BE_LIST"),
        ("1. bread\n2. milk", "bread and milk", "STRUCTURE_SHOULD_BE_PROSE"),
        ("ls", "```\nls\n```", "MISSING_CODE_BLOCK"),
        ("```\nls\n```", "ls", "UNEXPECTED_CODE_BLOCK"),
        ('{"action": "dns_add"', '{"action": "dns_add"}', "FORMAT_SHOULD_BE_JSON"),
    ],
)
def test_each_code_is_given_for_what_it_names(answer: str, expected: str, wanted: str) -> None:
    """
    One answer for each code of the table; lengths are below.
    """
    assert wanted in codes(answer, expected)


def test_lengths_are_counted_in_the_tokens_that_were_given() -> None:
    """
    The model's tokens, not words: 2 of 5 is too brief, 3 of 5 is only short.
    """
    assert codes("a", "b", 2, 5)[:2] == ["LENGTH_SHORT_BY_3_TOKENS", "TOO_BRIEF"]
    assert "TOO_BRIEF" not in codes("a", "b", 3, 5)
    assert codes("a", "b", 11, 5)[:2] == ["LENGTH_LONG_BY_6_TOKENS", "TOO_VERBOSE"]
    assert "TOO_VERBOSE" not in codes("a", "b", 10, 5)
