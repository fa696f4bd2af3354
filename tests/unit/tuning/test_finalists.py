"""
What the trials of a study show together: the front, the finalists, the winner, the seeds.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from finetuned.core.tuning.comparison import (
    SeedPair,
    advice_of,
    compare,
    interval,
    student_quantile,
)
from finetuned.core.tuning.trial import (
    Trial,
    TrialState,
    finalists,
    pareto_front,
    steps_until,
)
from finetuned.core.tuning.winner import changed, winner

values = st.integers(0, 6).map(float)


def trial(number: int, loss: float | None, forgetting: float | None = None, **other) -> Trial:
    state = TrialState.PRUNED if loss is None else TrialState.DONE
    return Trial(
        number=number,
        state=state,
        origin="search",
        settings=other.pop("settings", {"r": number}),
        loss=loss,
        forgetting=forgetting,
        **other,
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(values, values)))
def test_no_trial_beats_one_of_the_front_in_both(points):
    """
    And every trial that is not on it is beaten, or equalled, by one that is.
    """
    trials = [trial(i, loss, forgot) for i, (loss, forgot) in enumerate(points)]
    front = pareto_front(trials)

    for one in trials:
        beats = [
            f
            for f in front
            if f.loss <= one.loss and f.forgetting <= one.forgetting and f is not one
        ]
        assert (one in front) != bool(beats)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.none() | values, values)), st.integers(1, 5))
def test_finalists_are_the_front_first_and_never_a_pruned_trial(points, most):
    """
    The best held-out loss is always among them.
    """
    trials = [trial(i, loss, forgot) for i, (loss, forgot) in enumerate(points)]
    chosen = finalists(trials, most)
    ended = [t for t in trials if t.state is TrialState.DONE]

    assert len(chosen) == min(most, len(ended))
    assert all(t.state is TrialState.DONE for t in chosen)
    if ended:
        assert min(t.loss for t in ended) == chosen[0].loss


def test_the_winner_does_no_harm():
    """
    A lower loss does not outweigh something that broke.
    """
    first, second = trial(0, 0.1), trial(1, 0.2)

    assert first is winner([first, second], {0: (), 1: ()})
    assert second is winner([first, second], {0: ("old_loss: ...",), 1: ()})
    assert winner([first], {0: ("canaries_worse: ...",)}) is None
    assert {"r": (1, 2)} == changed({"r": 2, "x": 3}, {"r": 1, "x": 3})


def test_steps_are_counted_until_a_trial_ends_low_enough():
    """
    Those of pruned trials as well.
    """
    trials = [trial(0, 2.0, steps=10), trial(1, None, steps=3), trial(2, 1.0, steps=10)]

    assert 10 == steps_until(trials, 2.0)
    assert 23 == steps_until(trials, 1.5)
    assert steps_until(trials, 0.5) is None


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9])
def test_the_interval_is_student_s(freedom):
    """
    As scipy computes it.
    """
    assert student_quantile(0.05, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-6)
    sample = [0.1 * i * i for i in range(freedom + 1)]
    low, high = stats.t.interval(0.95, freedom, sum(sample) / len(sample), stats.sem(sample))
    assert interval(sample).low == pytest.approx(low)
    assert interval(sample).high == pytest.approx(high)


def pairs(*differences: float, forgetting: tuple[float, ...] = ()) -> list[SeedPair]:
    return [
        SeedPair(
            seed=i,
            loss_today=1.0,
            loss_found=1.0 + d,
            forgetting_today=0.0 if forgetting else None,
            forgetting_found=forgetting[i] if forgetting else None,
        )
        for i, d in enumerate(differences)
    ]


def test_settings_are_recommended_only_if_they_are_better_beyond_noise():
    """
    A better mean is not enough, and neither is a gain that is paid for by forgetting.
    """
    assert compare(pairs(-0.10, -0.11, -0.12)).recommended
    assert not compare(pairs(-0.30, -0.01, 0.02)).recommended
    assert not compare(pairs(0.1, 0.1, 0.11)).recommended
    forgets = compare(pairs(-0.10, -0.11, -0.12, forgetting=(0.2, 0.21, 0.2)))
    assert not forgets.recommended
    assert "more is forgotten" in advice_of(forgets)
    assert compare(pairs(-0.10, -0.11, -0.12, forgetting=(0.2, -0.2, 0.0))).recommended


def test_fewer_than_three_seeds_are_refused():
    """
    Two say nothing of noise; one twice neither.
    """
    with pytest.raises(ValueError, match="3 different seeds"):
        compare(pairs(-0.1, -0.2))
