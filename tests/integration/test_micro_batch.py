"""
Rows and the micro-batch made of them say the same.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.loss.micro_batch import (
    MIN_SHARED,
    MaskedTokens,
    make_micro_batch,
    shared_length,
    supervised_count,
)

PAD = 99


@st.composite
def rows(draw: st.DrawFn) -> list[MaskedTokens]:
    head = [k % 4 for k in range(draw(st.sampled_from([0, 8, *range(14, 24)])))]
    found: list[MaskedTokens] = []
    for _ in range(draw(st.integers(1, 4))):
        tail = draw(st.lists(st.integers(0, 1), min_size=1, max_size=12))
        ids = head + tail
        flags = draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids)))
        # Where the first answer may begin: mostly near the end of what is shared.
        quiet = max(0, len(head) + draw(st.sampled_from([-20, -2, -1, 0, 1, 2, 9])))
        found.append((ids, [f and i >= quiet for i, f in enumerate(flags)]))
    return found


@settings(max_examples=300, deadline=None)
@given(rows(), st.booleans())
def test_every_supervised_token_is_a_target_once_and_in_its_place(
    made: list[MaskedTokens], share: bool
) -> None:
    """
    Prefix and branch give each row back; what predicts a target stands right before it.
    """
    batch = make_micro_batch(made, PAD, share=share)
    prefix, branches = batch.prefix.tolist(), batch.branches.tolist()
    width, slots = len(branches[0]), batch.slots.tolist()
    lengths = [sum(slot // width == i for slot in slots) for i in range(len(made))]
    assert width == max(lengths)
    for (ids, flags), branch, length in zip(made, branches, lengths, strict=True):
        assert list(ids)[: len(prefix) + length] == prefix + branch[:length]
        assert [PAD] * (width - length) == branch[length:]
        # What is cut off predicts nothing; what is left ends with what does.
        end = len(prefix) + length
        assert not any(flags[end + 1 :])
        assert any(flags[1:]) == (end < len(ids) and flags[end])
    assert slots == [i * width + k for i, n in enumerate(lengths) for k in range(n)]
    expected = [
        (i, t - 1, ids[t])
        for i, (ids, flags) in enumerate(made)
        for t in range(1, len(ids))
        if flags[t]
    ]
    places = [slots[at] for at in batch.scored.tolist()]
    found = [
        (owner, at % width + len(prefix), target)
        for owner, at, target in zip(
            batch.owners.tolist(), places, batch.targets.tolist(), strict=True
        )
    ]
    assert expected == found
    assert [at // width for at in places] == batch.owners.tolist()
    assert len(expected) == sum(map(supervised_count, made))


@settings(max_examples=300, deadline=None)
@given(rows())
def test_what_is_shared_is_equal_unsupervised_and_as_long_as_can_be(
    made: list[MaskedTokens],
) -> None:
    """
    Every row keeps what predicts its first supervised token; one more token would break a rule.
    """
    n = shared_length(made)
    assert n == 0 or n >= MIN_SHARED
    if len(made) < 2:
        assert 0 == n
        return

    def fits(length: int) -> bool:
        return all(
            length < len(ids) and ids[:length] == made[0][0][:length] and not any(f[: length + 1])
            for ids, f in made
        )

    longest = max((k for k in range(64) if fits(k)), default=0)
    assert n == (longest if longest >= MIN_SHARED else 0)
