"""
Which way is chosen from noisy timings: simulated, with the differences known.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.fastest_way import (
    JOB_SHARE,
    LEAST_SECONDS,
    LEAST_TURNS,
    MOST_SECONDS,
    MOST_TURNS,
    Judgement,
    evidence,
    judge,
    seconds_to_look,
    tokens_a_turn,
)


def _look(
    rng: np.random.Generator,
    seconds: list[float],
    *,
    noise: float = 0.1,
    disturbed: float = 0.0,
) -> tuple[Judgement, int]:
    """
    Time ways of known *seconds* in turns until the choice is clear; return it and the turns.
    """
    turns: list[list[float]] = [[] for _ in seconds]
    judged, n = judge(turns), 0
    waiting: tuple[int, ...] = tuple(range(len(seconds)))
    while waiting and n < MOST_TURNS:
        for way in waiting:
            seen = seconds[way] * np.exp(rng.normal(0, noise))
            turns[way].append(float(seen * (3.0 if rng.random() < disturbed else 1.0)))
        n += 1
        judged = judge(turns)
        waiting = judged.open
    return judged, n


def _share_of(
    way: int,
    seconds: list[float],
    *,
    noise: float = 0.1,
    disturbed: float = 0.0,
    looks: int = 400,
) -> float:
    """
    Return in what share of simulated looks *way* was chosen.
    """
    rng = np.random.default_rng(5)
    chosen = [_look(rng, seconds, noise=noise, disturbed=disturbed)[0].chosen for _ in range(looks)]
    return chosen.count(way) / looks


@pytest.mark.parametrize("seconds", [[1.1, 1.0], [1.0, 1.1], [1.34, 1.0], [1.0, 1.34]])
def test_a_way_that_is_a_tenth_slower_is_hardly_ever_chosen(seconds: list[float]) -> None:
    """
    With 10% noise on every timing, in at most 2% of looks, whichever way it is.
    """
    assert _share_of(seconds.index(max(seconds)), seconds) <= 0.02


def test_a_tie_goes_to_the_way_with_fewer_operations() -> None:
    """
    Of two and of four equal ways, with little noise and with much.
    """
    for noise, n in ((0.03, 2), (0.1, 2), (0.03, 4)):
        assert _share_of(0, [1.0] * n, noise=noise, looks=100) >= 0.9


def test_a_machine_that_does_something_else_now_and_then_decides_nothing() -> None:
    """
    One timing in ten three times as long: the way that is a tenth slower is not chosen for it.
    """
    assert _share_of(0, [1.1, 1.0], noise=0.03, disturbed=0.1) <= 0.02
    assert _share_of(1, [1.0, 1.1], noise=0.03, disturbed=0.1) <= 0.02


def test_what_is_clear_is_clear_after_few_turns() -> None:
    """
    A third faster with 3% noise: known after three to five turns; a tie after ten or so.
    """
    rng = np.random.default_rng(6)
    looks = [_look(rng, [1.34, 1.0], noise=0.03) for _ in range(50)]
    assert all(judged == Judgement(1, ()) for judged, _ in looks)
    assert LEAST_TURNS <= np.mean([n for _, n in looks]) < 5
    ties = [_look(rng, [1.0, 1.0], noise=0.03) for _ in range(50)]
    assert np.mean([judged.is_clear for judged, _ in ties]) > 0.95
    assert np.mean([n for _, n in ties]) < 12


def test_the_turn_that_chose_a_slower_way_would_choose_nothing() -> None:
    """
    134 s and 113 s were two turns of one way: one turn is no evidence, and three are too few.
    """
    assert Judgement(0, (0, 1)) == judge([[134.0], [113.0]])
    assert Judgement(0, (0, 1)) == judge([[134.0, 134.0], [67.0, 67.0]])
    assert Judgement(0, (0, 1)) == judge([[134.0, 113.0, 120.0], [113.0, 134.0, 118.0]])


@settings(deadline=None)
@given(
    st.lists(st.lists(st.floats(1e-6, 1e6, allow_nan=False), max_size=12), min_size=1, max_size=5)
)
def test_any_timings_give_a_way(turns: list[list[float]]) -> None:
    """
    Too few turns, unequal ones, equal seconds: a way that exists, and no more than open ways.
    """
    judged = judge(turns)
    assert 0 <= judged.chosen < len(turns)
    assert set(judged.open) <= set(range(len(turns)))
    assert len(judged.open) != 1
    if all(len(seconds) < LEAST_TURNS for seconds in turns):
        assert 0 == judged.chosen
    names = [f"way {i}" for i in range(len(turns))]
    assert names[judged.chosen] in evidence(names, turns, judged)


def test_faster_ways_are_chosen_among_many() -> None:
    """
    The fastest of five wherever it stands; those that are out need no more turns.
    """
    for fastest in range(5):
        seconds = [1.5] * 5
        seconds[fastest] = 1.0
        assert 1.0 == _share_of(fastest, seconds, noise=0.03, looks=20)
    judged = judge([[1.0, 1.0, 1.0], [2.0, 2.1, 2.0], [1.0, 1.2, 0.9]])
    assert Judgement(0, (0, 2)) == judged


@settings(deadline=None)
@given(
    seconds=st.floats(-5, 100),
    ways=st.integers(1, 8),
    per_token=st.floats(1e-6, 10),
)
def test_a_turn_is_cut_to_the_time_there_is(seconds: float, ways: int, per_token: float) -> None:
    """
    Warm-up and the least turns of ways that are half as slow again stay within the seconds.
    """
    tokens = tokens_a_turn(seconds, ways=ways, seconds_per_token=per_token)
    first = tokens * per_token * (LEAST_TURNS + 1)
    assert 0 <= tokens
    assert first + first * 1.5 * (ways - 1) <= max(0.0, seconds) * 1.000001


def test_the_time_to_look_follows_the_job() -> None:
    """
    A twentieth of the job and at most 20 s; a first look has 2 s in any job, a further one not.
    """
    assert MOST_SECONDS == seconds_to_look(None, again=False)
    assert MOST_SECONDS == seconds_to_look(1e6, again=True)
    assert LEAST_SECONDS == seconds_to_look(1.0, again=False)
    assert JOB_SHARE == seconds_to_look(1.0, again=True)


def test_the_evidence_has_the_figures() -> None:
    """
    Median, least, most and turns of each way, and whether it was close.
    """
    turns = [[0.2, 0.201, 0.202], [0.1, 0.102, 0.101]]
    text = evidence(["split", "cache"], turns, judge(turns))
    assert text.startswith("cache: clear; split 201 ms (200 to 202, 3 turns), cache 101 ms (")
    none = evidence(["split", "cache"], [[], []], judge([[], []]))
    assert "not timed: there was no time; split has the fewest operations" == none
