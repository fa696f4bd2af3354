"""
How an answer grows, where it ends, and what of it is taken from a scoring pass.
"""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.inference.pending import LOOP_TOKENS, Answer, Generation, PendingAnswer

STOP = 2
GENERATION = Generation(frozenset({STOP}), pad_token_id=0, deadline=math.inf)
TOKENS = st.integers(STOP, 5)


def pending(continuation: list[int], limit: int = 20) -> PendingAnswer:
    return PendingAnswer([7, 8], [(token, True) for token in continuation], limit)


def alone(predict: list[int], limit: int) -> Answer:
    """
    The answer of a model that says *predict*, token by token.
    """
    item = pending([], limit)
    item.done = limit == 0
    for token in predict:
        if not item.done:
            item.add(token, GENERATION)
    return item.answer()


def test_a_stop_token_ends_an_answer_and_is_no_part_of_it() -> None:
    """
    An answer that stops is complete, however few tokens it has.
    """
    item = pending([])
    for token in (5, 4, STOP):
        item.add(token, GENERATION)

    assert item.done
    assert Answer([5, 4], stopped=True, timed_out=False) == item.answer()


def test_an_answer_of_the_longest_length_is_done_but_has_not_stopped() -> None:
    """
    The limit is no time limit.
    """
    assert Answer([5, 4], stopped=False, timed_out=False) == alone([5, 4, 3], limit=2)


def test_an_answer_that_has_not_ended_is_timed_out() -> None:
    """
    Whoever stops generating has to say nothing.
    """
    assert Answer([5], stopped=False, timed_out=True) == alone([5], limit=2)


@given(
    continuation=st.lists(TOKENS, max_size=8),
    predicted=st.lists(TOKENS, min_size=9, max_size=9),
    limit=st.integers(0, 9),
    reuse=st.booleans(),
)
def test_tokens_of_a_scoring_pass_are_those_that_would_be_generated(
    continuation: list[int], predicted: list[int], limit: int, reuse: bool
) -> None:
    """
    The pass knows what follows the continuation only, so the answer is taken along it.

    Then the cache holds all tokens of the answer but the last, which the next step runs.
    """
    item = pending(continuation, limit)

    kept = item.accept(predicted, GENERATION, reuse_agreement=reuse)

    assert item.ids == alone(predicted, limit).ids[: len(item.ids)]
    if item.done:
        assert item.answer() == alone(predicted, limit)
    else:
        assert len(item.ids) == kept + 1
        assert continuation[:kept] == item.ids[:kept]
        assert not reuse or kept + 1 >= len(continuation) or continuation[kept] != item.ids[kept]
    if not reuse:
        assert kept == 0


def looped(period: int, continuation: list[int]) -> int:
    """
    Length at which an answer that repeats *period* tokens is ended, or 0.
    """
    item = pending(continuation, limit=200)
    for n in range(199):
        item.add(3 + n % period, GENERATION)
        item.end_if_in_loop()
        if item.done:
            return len(item.ids)
    return 0


@pytest.mark.parametrize(
    ("period", "length"), [(1, LOOP_TOKENS), (2, LOOP_TOKENS), (8, LOOP_TOKENS), (9, 0)]
)
def test_an_answer_that_repeats_up_to_8_tokens_is_ended(period: int, length: int) -> None:
    """
    As soon as its last 48 tokens do; a longer pattern is left alone.
    """
    assert length == looped(period, [])


def test_a_loop_that_is_expected_is_not_ended() -> None:
    """
    Until the answer is longer than the expected one, or differs from it.
    """
    assert looped(1, [3] * 70) == 72
    assert looped(1, [3] * 60 + [4] * 60) == 64


def test_the_last_answer_of_a_loop_counts_as_not_stopped() -> None:
    """
    It neither ended by itself nor ran out of time.
    """
    item = pending([], limit=200)
    for _ in range(LOOP_TOKENS):
        item.add(3, GENERATION)
    item.end_if_in_loop()

    assert Answer([3] * LOOP_TOKENS, stopped=False, timed_out=False) == item.answer()


def test_an_answer_is_late_by_the_deadline_or_by_its_own_time() -> None:
    """
    No time of its own: only the deadline counts.
    """
    now = time.monotonic()
    past = Generation(frozenset(), 0, deadline=now)
    limited = Generation(frozenset(), 0, deadline=now + 600, item_seconds=2.0)

    assert past.is_late()
    assert not limited.is_late(1.9)
    assert limited.is_late(2.0)
    assert not GENERATION.is_late(1e9)


def test_every_pass_is_reported() -> None:
    """
    The errors of the caller's function end the call.
    """
    calls: list[int] = []
    Generation(frozenset(), 0, math.inf, on_token=lambda: calls.append(1)).report_pass()
    GENERATION.report_pass()

    assert [1] == calls
