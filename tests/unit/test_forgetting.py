"""
What a lineage forgot, by the definitions of the papers.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.forgetting import (
    Drop,
    Stage,
    backward_transfer,
    matrix,
    replay_weights,
    second_replay_presentations,
    worst_drop,
)

TASKS = ("dns", "users", "samba", "arithmetic", "strings", "numbers")

# Exact match in %, task (column) after file (line): a measured run with and without replay.
WITH_REPLAY = (
    (95, 0, 0, 0, 0, 0),
    (95, 95, 0, 0, 0, 0),
    (92, 95, 97, 0, 0, 0),
    (38, 78, 82, 60, 0, 0),
    (37, 60, 67, 37, 78, 0),
    (12, 75, 72, 28, 28, 78),
)
WITHOUT = (
    (95, 0, 0, 0, 0, 0),
    (0, 95, 0, 0, 0, 0),
    (0, 0, 100, 0, 0, 0),
    (0, 0, 0, 48, 0, 3),
    (0, 0, 0, 15, 92, 0),
    (0, 0, 0, 5, 15, 78),
)


def lineage(rows, *, whole=True):
    return [
        Stage(
            version=f"v{i + 1:04d}",
            titles=(TASKS[i],),
            new=frozenset({TASKS[i]}),
            accuracy={
                task: x / 100
                for j, (task, x) in enumerate(zip(TASKS, row, strict=True))
                if whole or j <= i
            },
        )
        for i, row in enumerate(rows)
    ]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("rows", "points"), [(WITH_REPLAY, -42.0), (WITHOUT, -82.0)])
def test_backward_transfer_is_the_mean_change_since_each_task_was_learnt(rows, points, whole):
    """
    Mean over all tasks but the last of R[last][j] - R[j][j]; tasks yet to come do not count.
    """
    assert points == pytest.approx(backward_transfer(lineage(rows, whole=whole)))


@pytest.mark.parametrize(
    ("rows", "suite", "points"), [(WITH_REPLAY, "dns", 83), (WITHOUT, "samba", 100)]
)
def test_the_worst_drop_is_from_the_best_ever_to_now(rows, suite, points):
    """
    Of one task, from whichever earlier version was best at it.
    """
    found = worst_drop(lineage(rows))

    assert suite == found.suite
    assert points == pytest.approx(found.points)


def test_the_best_need_not_be_the_version_that_learnt_it():
    """
    What came later may have helped, and that is lost as well.
    """
    stages = [
        Stage("v0001", (), frozenset({"a"}), {"a": 0.5}),
        Stage("v0002", (), frozenset({"b"}), {"a": 0.9, "b": 1.0}),
        Stage("v0003", (), frozenset({"c"}), {"a": 0.6, "b": 1.0, "c": 1.0}),
    ]

    assert Drop("a", 0.9, 0.6) == worst_drop(stages)
    assert 5.0 == pytest.approx(backward_transfer(stages))


def test_where_nothing_came_before_nothing_was_forgotten():
    """
    No lineage, a first version, or nothing asked twice: None, never 0.
    """
    first = Stage("v0001", (), frozenset({"a"}), {"a": 1.0})
    other = Stage("v0002", (), frozenset({"b"}), {"b": 1.0})

    for stages in ([], [first], [first, other], [Stage("v0001", (), frozenset({"a"}), {}), other]):
        assert backward_transfer(stages) is None
        assert worst_drop(stages) is None


def test_a_lineage_that_only_gains_has_a_drop_below_zero():
    """
    The nearest that it came to forgetting.
    """
    stages = [
        Stage("v0001", (), frozenset({"a"}), {"a": 0.5}),
        Stage("v0002", (), frozenset(), {"a": 0.7}),
    ]

    assert worst_drop(stages).points == pytest.approx(-20)
    assert backward_transfer(stages) == pytest.approx(20)


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), max_size=6),
        max_size=6,
    )
)
def test_the_matrix_holds_every_figure_at_its_suite(rows):
    """
    A line per version, a column per suite in the order they appeared, None where not asked.
    """
    stages = [Stage(f"v{i}", (), frozenset(row), row) for i, row in enumerate(rows)]
    suites, table = matrix(stages)

    assert list(dict.fromkeys(s for row in rows for s in row)) == suites
    assert [[row.get(s) for s in suites] for row in rows] == table
    transfer = backward_transfer(stages)
    assert transfer is None or -100 <= transfer <= 100


def test_a_second_try_rehearses_more() -> None:
    """
    Four times as often, 400 times at least.
    """
    assert [400, 400, 1200] == [second_replay_presentations(n) for n in (1, 50, 300)]


def history(*accuracies: float | None, asked: int = 200) -> list[Stage]:
    return [
        Stage(
            f"v{i:04d}",
            (),
            frozenset({"a"} if i == 0 else {f"other{i}"}),
            {} if accuracy is None else {"a": accuracy},
            {} if accuracy is None else {"a": asked},
        )
        for i, accuracy in enumerate(accuracies)
    ]


@pytest.mark.parametrize(
    ("accuracies", "asked", "weight"),
    [
        ((0.9,), 200, None),
        ((0.9, 0.9), 200, None),
        ((0.9, 0.81), 200, 2.0),
        ((0.9, 0.81), 20, None),
        ((0.9, 0.5), 20, 4.0),
        ((0.9, 0.5, 0.9), 200, None),
        ((0.8, 0.95, 0.88), 200, 2.0),
        ((0.9, None, 0.5), 200, 4.0),
        ((0.9, 0.89, 0.9, 0.91), 200, 0.5),
        ((0.9, 0.7, 0.89, 0.9, 0.91), 200, 0.5),
        ((0.9, 0.89, 0.9, 0.91, 0.8), 200, 4.0),
        ((0.9, 0.89), 10**6, None),
        ((0.9, 0.87, 0.87, 0.87), 200, None),
        ((1.0, 0.0), 1, None),
        ((1.0, 1.0, 1.0, 1.0), 3, None),
        ((1.0, 0.75), 8, None),
        ((1.0, 0.0), 8, 4.0),
    ],
)
def test_a_file_that_slips_is_rehearsed_more_and_one_that_holds_less(
    accuracies: tuple[float | None, ...], asked: int, weight: float | None
) -> None:
    """
    Against its best so far, and only beyond what chance does to so few rows.
    """
    found = replay_weights(history(*accuracies, asked=asked))

    assert weight == found.get("a")
    assert found.keys() <= {"a"}


def test_what_was_asked_before_a_file_was_learnt_is_no_evidence_that_it_is_held() -> None:
    """
    Only versions after the one that learnt it count.
    """
    before = [Stage(f"v{i:04d}", (), frozenset({f"b{i}"}), {"a": 0.9}) for i in range(3)]
    held = Stage("v0009", (), frozenset({"a"}), {"a": 0.9})

    assert {} == replay_weights([*before, held])
    assert {"a": 0.5} == replay_weights([held, *before])
