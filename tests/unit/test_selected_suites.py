"""
Which questions are asked: rows shared out evenly, and suites that cannot be asked never lost.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.evaluation.selected_suites import pick_benchmarks, pick_held_out, spread

ITEM = '{"prompt": "2 + 2?", "completion": "4"}\n'


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "canaries"):
        (tmp_path / f"{name}.jsonl").write_text(ITEM)
    return tmp_path


@given(st.lists(st.integers(0, 60), max_size=12), st.integers(0, 300))
def test_rows_are_shared_out_whole_and_evenly(counts, limit):
    """
    As many as there are room and rows for; no set is more than one ahead of another with rows left.
    """
    taken = spread(counts, limit)

    assert sum(taken) == min(limit, sum(counts))
    assert all(0 <= n <= count for n, count in zip(taken, counts, strict=True))
    short = [n for n, count in zip(taken, counts, strict=True) if n < count]
    assert not short or max(taken) <= min(short) + 1


@pytest.mark.parametrize(
    ("counts", "limit", "expected"),
    [
        ([], 5, []),
        ([3, 3], 0, [0, 0]),
        ([10, 10, 10], 6, [2, 2, 2]),
        ([1, 10, 10], 9, [1, 4, 4]),
        ([10, 10], 5, [3, 2]),
        ([2, 2], 100, [2, 2]),
    ],
)
def test_rows_as_they_are_shared(counts, limit, expected):
    """
    What a small set leaves goes to the others.
    """
    assert expected == spread(counts, limit)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("*", ["a", "b", "canaries"]),
        ("", []),
        ("b", ["b"]),
        (" b , a,b", ["b", "a"]),
        ("a, *", ["a", "b", "canaries"]),
    ],
)
def test_the_configuration_names_the_suites(folder, wanted, names):
    """
    By name without .jsonl, each once; "*" is whatever is there.
    """
    picked = pick_benchmarks(folder, wanted)

    assert names == [p.suite.name for p in picked]
    assert {None} >= {p.problem for p in picked}


def test_a_suite_that_is_not_there_has_a_problem(folder):
    """
    Named by the configuration, or asked of the incumbent: it is required and not shown.
    """
    (named,) = pick_benchmarks(folder, "gone")
    *_, also = pick_benchmarks(folder, "*", also=["a", "gone"])

    for picked in (named, also):
        assert "gone" == picked.suite.name
        assert "gone.jsonl: cannot be read" in picked.problem
        assert picked.record().required
        assert 0 == picked.record().n_items


def test_a_suite_with_a_bad_line_has_a_problem(folder):
    """
    The others are asked all the same.
    """
    (folder / "b.jsonl").write_text(ITEM + "{\n")
    problems = {p.suite.name: p.problem for p in pick_benchmarks(folder, "*")}

    assert problems["a"] is problems["canaries"] is None
    assert problems["b"].startswith("b.jsonl:2: ")


def test_no_dataset_gives_no_suite():
    """
    The first file of all has no older ones.
    """
    assert [] == pick_held_out([], [], 400)
