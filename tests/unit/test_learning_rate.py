"""
Laws of the learning rate, over random streams of jobs.
"""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.learning_rate import Mix, WarmUp, next_warm_up, rate_factor
from finetuned.errors import ConfigError

SHAPES = ("constant", "linear", "cosine", "wsd")
FALLING = ("linear", "cosine", "wsd")
NO_WARM_UP = WarmUp(0, 0)

steps = st.integers(0, 300)
jobs = st.integers(1, 300)
warm_ups = st.builds(WarmUp, began=steps, steps=steps)


def rates(kind, warm_up, *, lineage_step, total_steps, job_step=0):
    """
    The factors of all steps of a job that are left, as a run computes them.
    """
    return [
        rate_factor(
            kind,
            lineage_step=lineage_step + i,
            warm_up=warm_up,
            job_step=job_step + i,
            total_steps=total_steps,
        )
        for i in range(total_steps - job_step)
    ]


@given(st.sampled_from(SHAPES), warm_ups, steps, jobs)
def test_a_factor_lies_between_zero_and_one_and_no_step_is_wasted(kind, warm_up, ahead, total):
    """
    Each step of a job, the first and the last too, has a rate above zero.
    """
    found = rates(kind, warm_up, lineage_step=warm_up.began + ahead, total_steps=total)

    assert all(0 < factor <= 1 for factor in found)


@given(warm_ups, jobs)
def test_a_warm_up_rises_in_equal_parts_to_the_full_rate(warm_up, total):
    """
    Its first step has 1 / steps, its last 1, and none is lower than the one before.
    """
    found = rates("constant", warm_up, lineage_step=warm_up.began, total_steps=total)

    assert 1 / max(1, warm_up.steps) == found[0]
    assert sorted(found) == found
    assert {1.0} >= set(found[max(0, warm_up.steps - 1) :])
    for before, after in itertools.pairwise(found):
        assert after - before <= 1 / max(1, warm_up.steps) + 1e-12


@given(warm_ups, st.lists(jobs, min_size=1, max_size=5))
def test_a_constant_stream_does_not_see_where_files_end(warm_up, totals):
    """
    Any cut of the same steps into jobs gives the same rates.
    """
    cut, at = [], warm_up.began
    for total in totals:
        cut += rates("constant", warm_up, lineage_step=at, total_steps=total)
        at += total

    assert rates("constant", warm_up, lineage_step=warm_up.began, total_steps=sum(totals)) == cut


@given(st.sampled_from(SHAPES), warm_ups, steps, jobs, st.data())
def test_a_resumed_job_has_the_rates_of_an_uninterrupted_one(kind, warm_up, ahead, total, data):
    """
    The rate is where the run is, never how it came there.
    """
    lineage_step = warm_up.began + ahead
    done = data.draw(st.integers(0, total))
    whole = rates(kind, warm_up, lineage_step=lineage_step, total_steps=total)
    rest = rates(kind, warm_up, lineage_step=lineage_step + done, total_steps=total, job_step=done)

    assert whole[done:] == rest


@given(st.sampled_from(FALLING), jobs)
def test_a_falling_shape_begins_at_one_and_ends_at_zero(kind, total):
    """
    After the last step nothing is left, exactly; before it no step rises.
    """
    found = rates(kind, NO_WARM_UP, lineage_step=0, total_steps=total)
    end = rate_factor(
        kind, lineage_step=total, warm_up=NO_WARM_UP, job_step=total, total_steps=total
    )

    assert 1.0 == found[0]
    assert 0.0 == end
    assert sorted(found, reverse=True) == found


@given(jobs)
def test_a_constant_job_ends_where_it_began(total):
    """
    The next file goes on at the full rate.
    """
    assert {1.0} == set(rates("constant", NO_WARM_UP, lineage_step=0, total_steps=total))


@given(st.integers(1, 100), st.integers(1, 10))
def test_wsd_holds_and_then_falls_over_its_last_part(hundredth, tenths):
    """
    Until the decay begins the factor is 1; half-way through the decay it is a half.
    """
    total, fraction = 100 * hundredth, tenths / 10
    begin = round(total * (1 - fraction))

    def at(job_step):
        return rate_factor(
            "wsd",
            lineage_step=job_step,
            warm_up=NO_WARM_UP,
            job_step=job_step,
            total_steps=total,
            decay_fraction=fraction,
        )

    for step in range(0, begin + 1, hundredth):
        assert pytest.approx(1.0) == at(step)
    assert pytest.approx(0.5) == at((begin + total) // 2)


def test_the_shapes_half_way():
    """
    Anchors that a plot would show: linear and cosine are at a half, wsd still holds.
    """
    half = {
        kind: rate_factor(kind, lineage_step=50, warm_up=NO_WARM_UP, job_step=50, total_steps=100)
        for kind in SHAPES
    }
    quarter = rate_factor(
        "cosine", lineage_step=25, warm_up=NO_WARM_UP, job_step=25, total_steps=100
    )

    assert {"constant": 1.0, "linear": 0.5, "cosine": pytest.approx(0.5), "wsd": 1.0} == half
    assert pytest.approx(0.5 + math.sqrt(2) / 4) == quarter


def test_an_unknown_shape_is_a_configuration_error():
    """
    A typing error must not train at some rate nobody asked for.
    """
    with pytest.raises(ConfigError, match="lr_scheduler_type"):
        rate_factor("polynomial", lineage_step=0, warm_up=NO_WARM_UP, job_step=0, total_steps=1)


@pytest.mark.parametrize(
    ("lineage_step", "job_step", "total_steps"), [(4, 0, 9), (9, -1, 9), (9, 10, 9), (9, 0, 0)]
)
def test_a_step_outside_the_job_or_before_the_warm_up_is_refused(
    lineage_step, job_step, total_steps
):
    """
    A wrong count is a bug of the caller, not a rate below zero.
    """
    with pytest.raises(ValueError, match="step"):
        rate_factor(
            "linear",
            lineage_step=lineage_step,
            warm_up=WarmUp(5, 10),
            job_step=job_step,
            total_steps=total_steps,
        )


@given(warm_ups, steps, steps, steps)
def test_an_ordinary_file_goes_on_in_its_parents_warm_up(parent, ahead, full, short):
    """
    Nothing changed, or nobody knows what it changed from: no re-warm, no reason.
    """
    mix = Mix(300, 16)
    for parent_mix in (mix, None):
        found = next_warm_up(
            parent,
            lineage_step=parent.began + ahead,
            warmup_steps=full,
            rewarm_steps=short,
            parent_mix=parent_mix,
            mix=mix,
        )

        assert (parent, None) == found


@given(st.none() | warm_ups, steps, steps, steps, st.booleans())
def test_an_optimizer_without_moments_warms_up_in_full(parent, lineage_step, full, short, back):
    """
    Reset or fresh, whatever else happened: the whole warm-up, from here.
    """
    reset = None if parent is None else "rank changed"
    warm_up, reason = next_warm_up(
        parent,
        lineage_step=lineage_step,
        warmup_steps=full,
        rewarm_steps=short,
        optimizer_reset=reset,
        rolled_back=back,
    )

    assert WarmUp(lineage_step, full) == warm_up
    assert ("fresh lineage" if parent is None else "optimizer reset: rank changed") == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rolled_back": True}, "rolled back"),
        ({"merged": True}, "merged"),
        ({"mix": Mix(100, 16)}, "replay_presentations 300 -> 100"),
        ({"mix": Mix(300, 64)}, "rows_per_step 16 -> 64"),
        ({"rolled_back": True, "mix": Mix(0, 16)}, "rolled back; replay_presentations 300 -> 0"),
    ],
)
def test_a_change_re_warms_shortly_and_says_why(change, reason):
    """
    Each reason a stream leaves its path for is written down; 0 steps switch it off.
    """
    facts = {"mix": Mix(300, 16), "parent_mix": Mix(300, 16), "warmup_steps": 20, **change}
    parent = WarmUp(0, 20)

    assert (WarmUp(700, 10), reason) == next_warm_up(
        parent, lineage_step=700, rewarm_steps=10, **facts
    )
    assert (parent, None) == next_warm_up(parent, lineage_step=700, rewarm_steps=0, **facts)


@given(warm_ups, steps, st.integers(1, 300))
def test_a_re_warm_never_overtakes_an_unfinished_warm_up(parent, ahead, short):
    """
    At each later step the rate is at most what the parent's warm-up would have given.
    """
    at = parent.began + ahead
    again, _ = next_warm_up(
        parent, lineage_step=at, warmup_steps=0, rewarm_steps=short, rolled_back=True
    )

    assert again.steps >= short
    for step in range(at, at + again.steps + 1):
        assert again.factor(step) <= parent.factor(step) + 1e-12
