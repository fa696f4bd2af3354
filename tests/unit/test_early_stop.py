"""
Laws of early stopping, over random losses; and of the evidence a stopped job leaves.
"""

import copy
import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.early_stop import EarlyStop, why_incomplete
from finetuned.errors import ModelError

DIGEST = "5f" * 32
BAD = (math.nan, math.inf, -math.inf, None)

losses = st.floats(0, 12)
deltas = st.floats(0, 1)
patiences = st.integers(1, 60)
any_losses = losses | st.sampled_from(BAD)


@st.composite
def looks(draw, loss=any_losses):
    """
    Rising steps, each with the loss that was seen there.
    """
    steps = sorted(draw(st.sets(st.integers(1, 200), min_size=1, max_size=20)))
    return [(step, draw(loss)) for step in steps]


def after(state, seen):
    for step, loss in seen:
        state = state.seen(step, loss)
    return state


def stopped(**fields):
    """
    A job of 100 steps that stopped at step 40: nothing better since step 10.
    """
    state = after(EarlyStop(30, 0.01), [(5, 2.0), (10, 1.5), (20, 1.6), (30, math.nan), (40, 1.5)])
    return {
        "job_steps": 40,
        "plan_digest": DIGEST,
        "early_stop": state.evidence(DIGEST),
        **fields,
    }


RULE = {"planned_steps": 100, "patience": 30, "min_delta": 0.01}


def is_complete(manifest, **rule):
    """
    Tell whether nothing speaks against a candidate being the end of its job.
    """
    return why_incomplete(manifest, **rule) is None


@given(looks(), deltas)
def test_the_best_is_the_lowest_loss_to_within_min_delta(seen, min_delta):
    """
    Nothing that was seen beats the best by more than min_delta; with 0 it is the minimum.
    """
    state = after(EarlyStop(0, min_delta), seen)
    finite = [x for _, x in seen if x is not None and math.isfinite(x)]

    assert (None if not finite else dict(seen)[state.best_step]) == state.best
    assert all(loss >= state.best - min_delta for loss in finite)
    if finite:
        assert min(finite) == after(EarlyStop(0, 0.0), seen).best


@pytest.mark.parametrize(("loss", "best"), [(0.75, 1.0), (0.5, 1.0), (0.25, 0.25)])
def test_only_more_than_min_delta_is_an_improvement(loss, best):
    """
    A fall by half of it, or by exactly it, is none.
    """
    assert best == after(EarlyStop(10, 0.5), [(1, 1.0), (2, loss)]).best


@given(looks(), looks(st.sampled_from(BAD)), patiences, deltas)
def test_a_loss_that_is_no_number_is_never_an_improvement(seen, bad, patience, min_delta):
    """
    NaN, Inf and a missing loss leave the best and its step as they were.
    """
    before = after(EarlyStop(patience, min_delta), seen)
    later = after(before, [(seen[-1][0] + step, loss) for step, loss in bad])

    assert (before.best, before.best_step) == (later.best, later.best_step)


@given(looks(), patiences, deltas)
def test_it_stops_when_patience_steps_passed_without_improvement(seen, patience, min_delta):
    """
    Told again from the pairs: stop exactly where no look of the last patience steps improved.
    """
    state = EarlyStop(patience, min_delta)
    since, best = seen[0][0], math.inf
    for step, loss in seen:
        state = state.seen(step, loss)
        if loss is not None and math.isfinite(loss) and loss < best - min_delta:
            since, best = step, loss
        assert (step - since >= patience) == state.should_stop


@given(looks(losses), patiences, deltas)
def test_more_patience_never_stops_earlier(seen, patience, min_delta):
    """
    And patience 0 never stops.
    """
    for n in range(len(seen) + 1):
        if after(EarlyStop(patience + 1, min_delta), seen[:n]).should_stop:
            assert after(EarlyStop(patience, min_delta), seen[:n]).should_stop
        assert not after(EarlyStop(0, min_delta), seen[:n]).should_stop


@given(patiences, st.integers(1, 20))
def test_a_loss_that_stays_stops_at_the_first_look_after_patience(patience, every):
    """
    A flat line is not an improvement, also with min_delta 0.
    """
    state, step = EarlyStop(patience, 0.0), every
    while not state.should_stop:
        state = state.seen(step, 1.25)
        step += every

    assert -(-patience // every) * every == state.steps[-1] - every


def test_a_slow_fall_counts_once_it_has_added_up():
    """
    0.004 nats a look is below min_delta and above it over three looks: no stop.
    """
    state = EarlyStop(40, 0.01)
    for i in range(100):
        state = state.seen(10 * (i + 1), 3.0 - 0.004 * i)
        assert not state.should_stop

    assert pytest.approx(3.0 - 0.004 * 99) == state.best


@given(looks(), patiences, deltas, st.data())
def test_a_resumed_job_stops_where_an_uninterrupted_one_does(seen, patience, min_delta, data):
    """
    The state travels through JSON at any look and goes on as if nothing had happened.
    """
    cut = data.draw(st.integers(0, len(seen)))
    state = after(EarlyStop(patience, min_delta), seen[:cut])
    back = EarlyStop.from_dict(orjson.loads(orjson.dumps(state.as_dict())))

    assert state == back
    assert after(EarlyStop(patience, min_delta), seen) == after(back, seen[cut:])


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"patience": 5},
        {"patience": -1, "min_delta": 0, "steps": [], "losses": [], "best": None},
        {**stopped()["early_stop"], "steps": [5, 10]},
        {**stopped()["early_stop"], "steps": [5, 5, 20, 30, 40]},
        {**stopped()["early_stop"], "best": 0.1},
        {**stopped()["early_stop"], "best_step": 5},
    ],
)
def test_a_state_that_contradicts_itself_is_not_loaded(fields):
    """
    A job must not stop, or run on, because of a broken file.
    """
    with pytest.raises(ModelError, match="early-stop state"):
        EarlyStop.from_dict(fields)


@pytest.mark.parametrize(("patience", "min_delta"), [(-1, 0.0), (1, -0.1), (1, math.nan)])
def test_a_rule_that_makes_no_sense_is_refused(patience, min_delta):
    """
    Negative patience would stop at once, a NaN min_delta never improve.
    """
    with pytest.raises(ValueError, match="patience"):
        EarlyStop(patience, min_delta)


@pytest.mark.parametrize("step", [-1, 9, 10])
def test_looks_only_go_forward(step):
    """
    A step that was looked at already is counted once or not at all.
    """
    with pytest.raises(ValueError, match="look at step"):
        after(EarlyStop(5, 0.0), [(10, 1.0)]).seen(step, 1.0)


@given(st.integers(1, 10**6))
def test_all_planned_steps_are_complete_without_further_evidence(planned):
    """
    One step fewer, or one more, is not.
    """
    for made, expected in ((planned, True), (planned - 1, False), (planned + 1, False)):
        assert expected == is_complete(
            {"job_steps": made}, planned_steps=planned, patience=1, min_delta=0.0
        )


@given(looks(losses), patiences, deltas)
def test_evidence_is_complete_exactly_where_the_rule_stops(seen, patience, min_delta):
    """
    For any course of losses the check agrees with the rule that made it.
    """
    state = after(EarlyStop(patience, min_delta), seen)
    manifest = {
        "job_steps": seen[-1][0],
        "plan_digest": DIGEST,
        "early_stop": orjson.loads(orjson.dumps(state.evidence(DIGEST))),
    }

    assert state.should_stop == is_complete(
        manifest, planned_steps=500, patience=patience, min_delta=min_delta
    )


def forged(**fields):
    return stopped(early_stop={**stopped()["early_stop"], **fields})


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (stopped(early_stop=None), "no evidence"),
        (stopped(plan_digest="ab" * 32), "another plan"),
        (stopped(plan_digest=None), "another plan"),
        (forged(plan_digest="ab" * 32), "another plan"),
        (forged(losses=[2.0, 1.5, 1.6, None, 1.2]), "contradicts"),
        (forged(losses=[2.0, 1.5, 1.6, None, 1.2], best=1.2, best_step=40), "not justify"),
        (forged(best=1.4), "contradicts"),
        (forged(patience=3), "another rule"),
        (forged(min_delta=0.2), "another rule"),
        (stopped(job_steps=30), "evidence of step 40"),
        (stopped(job_steps=99), "evidence of step 40"),
        (stopped(job_steps=True), "True steps"),
        ({}, "None steps"),
    ],
)
def test_evidence_that_does_not_hold_is_refused_with_the_reason(manifest, why):
    """
    Of another plan, another rule, another step, or with losses that do not stop the job.
    """
    assert is_complete(stopped(), **RULE)
    assert why in (why_incomplete(manifest, **RULE) or "complete")


def test_evidence_without_a_plan_is_evidence_of_no_plan():
    """
    Two missing digests are equal and say nothing.
    """
    for digest in (None, ""):
        manifest = forged(plan_digest=digest) | {"plan_digest": digest}

        assert not is_complete(manifest, **RULE)


def test_no_evidence_justifies_a_step_that_was_not_planned():
    """
    A count above the plan, or one that is no number, is a bug to be seen.
    """
    assert not is_complete(stopped(), **{**RULE, "planned_steps": 39})
    assert not is_complete({"job_steps": True}, **{**RULE, "planned_steps": 1})


def test_a_job_without_early_stopping_accepts_no_evidence():
    """
    With patience 0 only all planned steps are the end.
    """
    never = stopped(early_stop={**stopped()["early_stop"], "patience": 0})

    assert not is_complete(never, planned_steps=100, patience=0, min_delta=0.01)
    assert not is_complete(stopped(), planned_steps=100, patience=0, min_delta=0.01)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 50) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(stopped()["early_stop"])), values)
def test_no_manifest_crashes_the_check_and_no_change_of_a_field_passes(name, value):
    """
    Whatever one field holds instead, the candidate is complete only if it says the same.
    """
    manifest = copy.deepcopy(stopped())
    same = manifest["early_stop"][name] == value
    manifest["early_stop"][name] = value

    assert same == is_complete(manifest, **RULE)


@given(values, values)
def test_garbage_is_not_complete(made, evidence):
    """
    A manifest is a file: anything may stand in it.
    """
    manifest = {"job_steps": made, "plan_digest": DIGEST, "early_stop": evidence}

    assert not is_complete(manifest, **RULE)
