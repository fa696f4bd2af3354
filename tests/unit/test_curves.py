"""
What learning curves show: planted shapes are named, noise is not.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.curve_kinds import KINDS, NOISES, STEPS
from finetuned.core.curves.finding import ALARMS, JobCurves, Kind, Reading
from finetuned.core.curves.looks import Answer, paired
from finetuned.core.curves.outliers import spikes
from finetuned.core.curves.reading import read
from finetuned.core.curves.series import Series
from finetuned.core.curves.shape import errors_of_prefixes, falls, never_rising, rises_again
from finetuned.core.curves.slope import flat_since, slope_of

JOBS = 400 if os.environ.get("FINETUNED_LONG") else 12
"""Of each kind and noise; docs/measurements/curves.md has the figures of 300."""

VALUES = st.lists(st.floats(-100, 100), min_size=1, max_size=40)


def curve(*values: float) -> Series:
    return Series(tuple(range(1, len(values) + 1)), tuple(values))


def readings(kind: str, jobs: int = JOBS) -> list[Reading]:
    """Return what is read from simulated jobs, equally many with each noise."""
    rng = random.Random(kind)
    return [
        read(KINDS[kind](rng, rng.choice(STEPS), noise))
        for noise in NOISES.values()
        for _ in range(jobs)
    ]


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        ("overfit", Kind.OVERFITTING),
        ("plateau", Kind.PLATEAU),
        ("cut short", Kind.UNDERFITTING),
        ("diverging", Kind.DIVERGENCE),
        ("spiky", Kind.SPIKES),
    ],
)
def test_what_was_planted_is_named(kind: str, finding: Kind) -> None:
    """
    In at least 95 of 100 simulated jobs, over four kinds of noise.
    """
    found = [reading.has(finding) for reading in readings(kind)]

    assert sum(found) >= 0.95 * len(found)


def test_noise_raises_no_alarm() -> None:
    """
    In at most 5 of 100 jobs without any shape, all alarms together.
    """
    found = [any(f.kind in ALARMS for f in reading.findings) for reading in readings("noise")]

    assert sum(found) <= 0.05 * len(found)


def test_a_curve_that_falls_and_stays_is_no_overfitting() -> None:
    """
    A plateau is the case next to it.
    """
    found = [reading.has(Kind.OVERFITTING) for reading in readings("plateau")]

    assert sum(found) <= 0.05 * len(found)


def test_where_overfitting_begins_is_where_to_stop() -> None:
    """
    Held-out loss turns at step 100 of 200: the advice says so, and what the rest did.
    """
    rng = random.Random(1)
    noise = [rng.gauss(0, 0.01) for _ in range(40)]
    held_out = [2 - s / 100 if s <= 100 else 1 + (s - 100) / 100 for s in range(5, 201, 5)]
    reading = read(
        JobCurves(
            loss=curve(*(2.5 - s / 100 for s in range(200))),
            held_out=Series(
                tuple(range(5, 201, 5)),
                tuple(v + e for v, e in zip(held_out, noise, strict=True)),
            ),
        )
    )
    (over,) = [f for f in reading.findings if f.kind is Kind.OVERFITTING]
    stop = reading.advice[0]

    assert 90 <= (over.step or 0) <= 110
    assert (over.p or 1) <= 0.01
    assert "stop_at_the_lowest" == stop.rule
    assert not reading.has(Kind.RATE_TOO_LOW)
    assert f"Stop at step {over.step}" in stop.sentence


def test_a_rise_of_right_answers_counts_for_more_than_the_loss() -> None:
    """
    Else a job would be stopped while it learns to answer.
    """
    curves = JobCurves(
        loss=curve(*(2.5 - s / 100 for s in range(200))),
        held_out=curve(*(2 - 0.1 * s for s in range(10)), *(1 + 0.1 * s for s in range(30))),
        accuracy=curve(*([0.1] * 12), *([0.8] * 28)),
    )

    assert "judge_by_the_answers" == read(curves).advice[0].rule


def test_a_job_that_is_not_over_did_not_end_too_early() -> None:
    """
    Nor did one that somebody stopped: its loss falls, and that is all.
    """
    falling = curve(*(3 - 0.01 * s for s in range(100)))
    over = JobCurves(loss=falling, planned_steps=100)

    assert read(over).has(Kind.UNDERFITTING)
    assert not read(replace(over, planned_steps=400)).has(Kind.UNDERFITTING)
    assert read(replace(over, planned_steps=400)).has(Kind.FALLING)


def test_nothing_recorded_says_nothing() -> None:
    """
    An empty curve is no finding.
    """
    assert Reading((), ()) == read(JobCurves())


def test_a_few_steps_are_said_to_be_too_few() -> None:
    """
    Instead of guessing from them.
    """
    kinds = [f.kind for f in read(JobCurves(loss=curve(3.0, 1.0))).findings]

    assert [Kind.TOO_SHORT] == kinds


def test_steps_left_out_drift_and_few_held_out_rows_are_said() -> None:
    """
    They need no test: they are counts.
    """
    curves = JobCurves(
        loss=curve(*(3 - 0.01 * s for s in range(60))),
        skipped=(61, 62),
        held_out_rows=8,
        kl=curve(0.1, 0.9),
        kl_warning=0.5,
    )
    reading = read(curves)

    for kind in (Kind.DIVERGENCE, Kind.FEW_HELD_OUT, Kind.DRIFT, Kind.RATE_TOO_HIGH):
        assert reading.has(kind), kind
    rules = {advice.rule for advice in reading.advice}
    assert {"lower_the_learning_rate", "hold_out_more_rows", "rehearse_more"} <= rules


def test_one_high_loss_needs_a_high_gradient_to_be_a_spike() -> None:
    """
    Else it was one hard row.
    """
    rng = random.Random(2)
    loss = [1 + rng.gauss(0, 0.02) for _ in range(100)]
    gradients = [1 + rng.gauss(0, 0.05) for _ in range(100)]
    loss[50] = 4.0

    assert [] == spikes(curve(*loss), curve(*gradients))
    gradients[50] = 9.0
    (spike,) = spikes(curve(*loss), curve(*gradients))
    assert (51, False) == (spike.step, spike.lingers)


@given(VALUES)
def test_errors_of_prefixes_are_those_of_the_best_never_rising_fits(values: list[float]) -> None:
    """
    The fast way and the plain one agree, for every prefix.
    """
    errors = errors_of_prefixes(values)

    for n in range(1, len(values) + 1):
        fit = never_rising(values[:n])
        assert fit == sorted(fit, reverse=True)
        plain = sum((v - f) ** 2 for v, f in zip(values[:n], fit, strict=True))
        assert pytest.approx(plain, abs=1e-6) == errors[n]


@given(st.lists(st.floats(0, 10), min_size=8, max_size=30))
@settings(max_examples=40, deadline=None)
def test_a_curve_that_never_rises_is_not_said_to_rise(values: list[float]) -> None:
    """
    Whatever its steps look like.
    """
    turn = rises_again(curve(*sorted(values, reverse=True)))

    assert turn is not None
    assert turn.p > 0.01


@given(st.integers(0, 999), st.floats(0.1, 50), st.floats(-50, 50))
@settings(max_examples=20, deadline=None)
def test_a_test_does_not_depend_on_the_unit(seed: int, scale: float, shift: float) -> None:
    """
    Bits or nats: the p-value of a fall is the same.
    """
    rng = random.Random(seed)
    values = [rng.gauss(-0.05 * i, 1) for i in range(20)]

    assert falls(curve(*values)) == pytest.approx(
        falls(curve(*(scale * v + shift for v in values))), abs=0.02
    )


@given(
    st.lists(st.floats(-2, 2), min_size=4, max_size=8),
    st.integers(0, 8),
    st.lists(st.floats(-3, 3), min_size=3, max_size=6),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_hard_questions_do_not_bend_the_curve(
    levels: list[float], lowest: int, questions: list[float], rng: random.Random
) -> None:
    """
    If a loss is a level of the look, falling and then rising, plus one of the question, the
    curve is that of the looks.
    """
    looks = sorted(levels[:lowest], reverse=True) + sorted(levels[lowest:])
    n = len(questions)
    first = [rng.randrange(n) for _ in looks]
    answers = [
        Answer(step, str(q), level + questions[q])
        for step, (level, start) in enumerate(zip(looks, first, strict=True))
        # Neighbouring looks share a question: all levels are tied together.
        for q in {start % n, (start + 1) % n, 0}
    ]
    found = paired(answers)

    wanted = [v - looks[0] for v in looks]
    assert wanted == pytest.approx([v - found.values[0] for v in found.values], abs=0.01)


def test_the_end_of_a_curve_is_flat_only_if_no_fall_is_found_in_it() -> None:
    """
    A slow fall within the margin that a test does show is not flat.
    """
    rng = random.Random(4)
    flat = [1 + rng.gauss(0, 0.01) for _ in range(30)]
    slow = [v - 0.004 * i for i, v in enumerate(flat)]

    assert flat_since(curve(*flat), 0.2) is not None
    assert flat_since(curve(*slow), 0.2) is None
    line = slope_of(curve(*slow))
    assert line is not None
    assert pytest.approx(0.116, abs=0.03) == line.fall


def test_series_refuse_what_is_no_curve() -> None:
    """
    Steps rise and values are finite, so that no test has to ask.
    """
    for steps, values in (((1, 1), (1.0, 2.0)), ((1,), ()), ((1,), (float("nan"),))):
        with pytest.raises(ValueError):
            Series(steps, values)
    assert (2, 4) == Series((1, 2, 3, 4), (1.0, 3.0, 5.0, 7.0)).thinned(2).steps
