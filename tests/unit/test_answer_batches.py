"""
Which prompts are run together.
"""

from __future__ import annotations

from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.inference.batches import (
    MIN_SHARED,
    PASS_LOGITS,
    choices_at_once,
    cut_batches,
    shared_length,
)
from finetuned.inference.pending import PendingAnswer

LENGTHS = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 300)), max_size=40)


def items(lengths: list[tuple[int, int]]) -> list[PendingAnswer]:
    return [PendingAnswer([5] * p, [(6, True)] * c, 10) for p, c in lengths]


def logits(batch: list[PendingAnswer], vocabulary: int) -> int:
    return len(batch) * max(1, *(len(x.continuation) for x in batch), 1) * vocabulary


@given(lengths=LENGTHS, size=st.integers(1, 9), vocabulary=st.sampled_from([500, 32_000, 262_144]))
def test_batches_hold_every_item_once_and_stay_within_size_and_logits(
    lengths: list[tuple[int, int]], size: int, vocabulary: int
) -> None:
    """
    A batch is full: the first item of the next one would not have fitted.
    """
    given_items = items(lengths)

    batches = list(cut_batches(given_items, size, vocabulary))

    assert sorted(map(id, given_items)) == sorted(map(id, chain.from_iterable(batches)))
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or logits(batch, vocabulary) <= PASS_LOGITS
    for batch, following in pairwise(batches):
        fuller = [*batch, following[0]]
        assert len(batch) == size or logits(fuller, vocabulary) > PASS_LOGITS


@given(lengths=LENGTHS)
def test_the_shortest_items_come_first(lengths: list[tuple[int, int]]) -> None:
    """
    Items of about equal length need little padding.
    """
    order = [
        len(x.prompt) + len(x.continuation)
        for x in chain.from_iterable(cut_batches(items(lengths), 4, 500))
    ]

    assert sorted(order) == order


@given(
    head=st.lists(st.integers(0, 3), max_size=20),
    tails=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=6),
)
def test_what_prompts_share_is_their_longest_common_beginning(
    head: list[int], tails: list[list[int]]
) -> None:
    """
    Each prompt keeps a token; few common tokens are not worth a pass, a single prompt has none.
    """
    prompts = [head + tail for tail in tails]
    shortest = min(map(len, prompts))
    common = 0
    while common < shortest and len({prompt[common] for prompt in prompts}) == 1:
        common += 1
    common = min(common, shortest - 1)
    expected = common if len(prompts) > 1 and common >= MIN_SHARED else 0

    assert expected == shared_length(prompts)


@pytest.mark.parametrize(
    ("longest", "vocabulary", "size", "n"),
    [
        (0, 1000, 32, 32),
        (10, 1000, 32, 32),
        (1000, 2**17, 32, 1),
        (2**10, 2**15, 32, 4),
        (10**9, 10**6, 5, 1),
    ],
)
def test_choices_are_run_together_as_far_as_their_logits_allow(
    longest: int, vocabulary: int, size: int, n: int
) -> None:
    """
    At least one is run, however long it is.
    """
    assert n == choices_at_once(longest, vocabulary, size)
