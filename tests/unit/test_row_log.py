"""
What a check keeps of accepted rows: repeats are counted like a person would count them.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.training_sequence import TrainingSequence
from finetuned.ingestion.row_log import RowLog


def logged(log: RowLog, rows: Sequence[tuple[int, int]]) -> None:
    """Add rows of a prompt and an answer, two lines apart."""
    for i, (prompt, answer) in enumerate(rows):
        sequence = TrainingSequence([prompt, answer], [False, True])
        log.add(line=2 * i + 1, offset=0, n_bytes=0, prompt_hash=prompt, sequences=[sequence])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_repeats_are_rows_that_stood_before(rows: list[tuple[int, int]]) -> None:
    """
    Wholly, or with another answer; each example names a line and the earlier one that is the same.
    """
    with RowLog(n_shown=2) as log:
        logged(log, rows)
        found = log.repeats()

    assert len(rows) - len(set(rows)) == found.rows
    assert len(set(rows)) - len({prompt for prompt, _ in rows}) == found.other_answers
    again = [i for i, row in enumerate(rows) if row in rows[:i]]
    assert [(2 * i + 1, 2 * rows.index(rows[i]) + 1) for i in again[:3]] == list(found.examples)
    assert [1, 3][: len(rows)] == [row.line for row in log.shown]


def test_the_same_tokens_with_another_mask_are_another_row() -> None:
    """
    What is trained of a row is part of it.
    """
    with RowLog(n_shown=0) as log:
        for mask in ([False, True], [True, True]):
            sequences = [TrainingSequence([1, 2], mask)]
            log.add(line=1, offset=0, n_bytes=0, prompt_hash=1, sequences=sequences)
        assert (0, 1) == (log.repeats().rows, log.repeats().other_answers)


def test_many_rows_are_read_in_chunks_and_can_be_read_twice_at_once() -> None:
    """
    Ranges of hashes are read one after another from the same rows.
    """
    with RowLog(n_shown=0) as log:
        logged(log, [(i % 40_000, 0) for i in range(70_000)])
        sizes = [
            len(a) for a, b in zip(log.prompts(), log.prompts(), strict=True) if (a == b).all()
        ]
        assert [65_536, 4_464] == sizes
        assert (30_000, 0) == (log.repeats().rows, log.repeats().other_answers)
        assert ((80_001, 1), (80_003, 3), (80_005, 5)) == log.repeats().examples
        assert 70_000 == sum(int(n.sum()) for *_, n in log.families_and_sequences())
