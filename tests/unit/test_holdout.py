"""
A prompt is on one side, now and in every later dataset.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data import holdout as module
from finetuned.data.holdout import (
    HELD_OUT,
    RESERVED,
    TRAIN,
    Hashes,
    Holdout,
    PromptIndex,
    choose_holdout,
    distinct,
    write_hashes,
)


def _hashes(values: list[int]) -> Hashes:
    return np.array(values, dtype=np.uint64)


def _choose(
    prompts: list[int],
    *,
    fraction: float = 0.05,
    min_rows: int = 1,
    max_rows: int = 200,
    trained: PromptIndex | None = None,
    held_out: PromptIndex | None = None,
) -> Holdout:
    return choose_holdout(
        lambda: [_hashes(prompts)],
        len(prompts),
        fraction=fraction,
        min_rows=min_rows,
        max_rows=max_rows,
        trained=trained or PromptIndex(),
        held_out=held_out or PromptIndex(),
    )


def _index(values: list[int]) -> PromptIndex:
    index = PromptIndex()
    index.add(np.unique(_hashes(values)))
    return index


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 40), min_size=1, max_size=60),
            st.sampled_from([0.0, 0.05, 0.2, 0.5]),
            st.integers(1, 8),
            st.integers(1, 12),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_prompt_is_ever_on_both_sides(
    datasets: list[tuple[list[int], float, int, int]],
) -> None:
    """
    Over any sequence of datasets, what was trained and what was held out stay apart.
    """
    trained, held_out = PromptIndex(), PromptIndex()
    all_trained: set[int] = set()
    all_held_out: set[int] = set()
    for prompts, fraction, max_rows, min_rows in datasets:
        chosen = _choose(
            prompts,
            fraction=fraction,
            min_rows=min_rows,
            max_rows=max_rows,
            trained=trained,
            held_out=held_out,
        )
        values = np.unique(_hashes(prompts))
        split = chosen.split(values)
        rows = chosen.split(_hashes(prompts))
        new_trained = values[split == TRAIN]
        new_held_out = values[split != TRAIN]

        assert not all_held_out & set(new_trained.tolist())
        assert not all_trained & set(new_held_out.tolist())
        assert int((rows == HELD_OUT).sum()) <= max_rows
        assert fraction > 0 or not (split == HELD_OUT).any()
        if set(prompts) - all_held_out:
            assert len(new_trained), "something must be left to train"

        all_trained |= set(new_trained.tolist())
        all_held_out |= set(new_held_out.tolist())
        trained.add(new_trained)
        held_out.add(new_held_out)


def test_the_lowest_hashes_are_held_out() -> None:
    """
    The choice depends on the prompts alone, not on their order.
    """
    prompts = list(range(1000, 1100))

    assert [1000, 1001, 1002, 1003, 1004] == _choose(prompts).held_out.tolist()
    assert [1000, 1001, 1002, 1003, 1004] == _choose(prompts[::-1]).held_out.tolist()


@pytest.mark.parametrize(
    ("n_rows", "fraction", "max_rows", "expected"),
    [
        (1000, 0.05, 200, 50),
        (10_000, 0.05, 200, 200),
        (3, 0.05, 200, 1),
        (2, 0.5, 200, 1),
        (1, 0.5, 200, 0),
        (100, 0.0, 200, 0),
        (4, 1.0, 200, 3),
    ],
)
def test_the_number_held_out_is_the_fraction_within_its_bounds(
    n_rows: int, fraction: float, max_rows: int, expected: int
) -> None:
    """
    1 to max_rows rows, none at fraction 0, none where one prompt is all there is.
    """
    chosen = _choose(list(range(n_rows)), fraction=fraction, max_rows=max_rows)

    assert expected == len(chosen.held_out)
    assert (expected == 0) == (chosen.reason is not None)


@pytest.mark.parametrize(
    ("n_rows", "fraction", "max_rows", "expected"),
    [
        (1000, 0.05, 200, 50),
        (160, 0.05, 200, 8),
        (100, 0.05, 200, 8),
        (40, 0.05, 200, 8),
        (39, 0.05, 200, 7),
        (10, 0.05, 200, 2),
        (4, 0.05, 200, 1),
        (100, 0.05, 5, 5),
        (100, 0.2, 200, 20),
        (100, 0.0, 200, 0),
    ],
)
def test_a_small_file_holds_out_more_than_its_fraction(
    n_rows: int, fraction: float, max_rows: int, expected: int
) -> None:
    """
    min_rows of them, or a fifth of the file where that is less, so that a gain can be shown.
    """
    chosen = _choose(list(range(n_rows)), fraction=fraction, min_rows=8, max_rows=max_rows)

    assert expected == len(chosen.held_out)


@given(st.integers(1, 400), st.integers(1, 50), st.integers(1, 50))
def test_more_is_never_held_out_than_a_fifth_for_the_minimum_alone(
    n_rows: int, min_rows: int, max_rows: int
) -> None:
    """
    Between one row and max_rows; above the fraction only up to a fifth.
    """
    held = len(_choose(list(range(n_rows)), min_rows=min_rows, max_rows=max_rows).held_out)

    assert held <= max_rows
    assert held <= max(round(0.05 * n_rows), n_rows // 5, 1)
    assert held >= min(min_rows, n_rows // 5, max_rows)


def test_one_prompt_on_every_row_is_trained() -> None:
    """
    A file that repeats one prompt has nothing to hold out, and says so.
    """
    chosen = _choose([7] * 500)

    assert [TRAIN] == chosen.split(_hashes([7])).tolist()
    assert "only one distinct prompt" in str(chosen.reason)


def test_a_prompt_with_more_rows_than_room_is_passed_over() -> None:
    """
    The most frequent prompt does not leave training because its hash is low.
    """
    chosen = _choose([1] * 90 + list(range(2, 12)))

    assert [2, 3, 4, 5, 6] == chosen.held_out.tolist()


def test_where_no_prompt_fits_the_rarest_is_held_out() -> None:
    """
    Something is held out as long as it is not more than half of the rows.
    """
    assert [9] == _choose([1] * 3 + [9] * 2).held_out.tolist()
    assert [] == _choose([1] * 300 + [9] * 300).held_out.tolist()


def test_earlier_decisions_bind() -> None:
    """
    Held out stays held out while there is room, then reserved; trained is never held out.
    """
    prompts = list(range(100))
    chosen = _choose(prompts, trained=_index([0, 1, 2]), held_out=_index([50, 51]))
    assert [3, 4, 5, 50, 51] == chosen.held_out.tolist()

    chosen = _choose(prompts, held_out=_index(list(range(40, 60))))
    split = chosen.split(_hashes(prompts))
    assert [40, 41, 42, 43, 44] == chosen.held_out.tolist()
    assert [RESERVED] * 15 == split[45:60].tolist()
    assert [TRAIN] * 40 == split[:40].tolist()

    chosen = _choose(prompts, fraction=0.0, held_out=_index([50]))
    assert RESERVED == chosen.split(_hashes([50]))[0]


def test_a_dataset_that_was_trained_before_holds_nothing_out() -> None:
    """
    Its prompts are known to the model, so asking them would prove nothing.
    """
    chosen = _choose([1, 2, 3], trained=_index([1, 2, 3]))

    assert 0 == len(chosen.held_out)
    assert "trained every prompt" in str(chosen.reason)


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 2**64 - 1)), max_size=20), st.lists(st.integers(0, 9)))
def test_an_index_contains_exactly_what_was_added(added: list[list[int]], asked: list[int]) -> None:
    """
    Merging arrays neither loses nor invents a hash.
    """
    index = PromptIndex()
    for values in added:
        index.add(np.unique(_hashes(values)))
    known = {v for values in added for v in values}
    asked = [*asked, *known]

    assert [a in known for a in asked] == index.contains(_hashes(asked)).tolist()


def test_many_small_datasets_keep_few_arrays() -> None:
    """
    20,000 files must not mean 20,000 searches for each later prompt.
    """
    index = PromptIndex()
    for i in range(5000):
        index.add(_hashes([i]))

    assert len(index._arrays) < 20


def test_large_files_are_mapped_and_searched(tmp_path: Path) -> None:
    """
    A mapped array answers like one in memory; a missing file holds nothing.
    """
    n = module._IN_MEMORY + 5
    assert n == write_hashes(tmp_path / "big", [np.arange(n, dtype=np.uint64) * np.uint64(3)])
    index = PromptIndex()
    index.add_file(tmp_path / "big")
    index.add_file(tmp_path / "missing")

    assert isinstance(index._arrays[0], np.memmap)
    assert [True, False, True] == index.contains(_hashes([0, 1, 3 * (n - 1)])).tolist()


def test_distinct_is_the_same_in_ranges_as_in_one_go() -> None:
    """
    Sorting a range of values at a time loses nothing at the bounds.
    """
    rng = np.random.default_rng(7)
    values = rng.integers(0, 2**64, 3000, dtype=np.uint64)
    values[:500] = values[500:1000]
    values[0], values[1] = 0, 2**64 - 1
    expected, counts = np.unique(values, return_counts=True)
    chunks = np.array_split(values, 7)
    # As many rows claimed as make three ranges of this little data.
    parts = list(distinct(lambda: chunks, 3 * module._RANGE_ROWS))

    assert 3 == len(parts)
    assert expected.tolist() == np.concatenate([u for u, _ in parts]).tolist()
    assert counts.tolist() == np.concatenate([c for _, c in parts]).tolist()
