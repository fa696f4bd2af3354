"""
The search space: what a person writes, and what is refused before anything is trained.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.config import Config, TrainingConfig
from finetuned.core.tuning.looks import LOOKS, stage, steps_between_looks
from finetuned.core.tuning.space import (
    NOT_SEARCHED,
    Choices,
    Knob,
    Span,
    default_space,
    holds,
    parse_knob,
    parse_space,
    settings_of,
    with_settings,
    without_effect,
)
from finetuned.errors import ConfigError

rates = st.floats(min_value=1e-7, max_value=1, allow_nan=False)


@settings(deadline=None, max_examples=50)
@given(low=rates, high=rates, scale=st.sampled_from(["", ":log", ":linear"]))
def test_a_range_of_numbers_is_read_again_from_its_own_text(low, high, scale):
    """
    The text that a study keeps means the same space, whatever numbers are in it.
    """
    if low >= high:
        low, high = high, low
    if low == high:
        return
    knob = parse_knob(f"learning_rate={low!r}..{high!r}{scale}")

    assert knob == parse_knob(str(knob))
    assert knob.domain.holds(low)
    assert knob.domain.holds(high)
    assert not knob.domain.holds(math.nextafter(high, 2))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 1024), min_size=2, unique=True))
def test_choices_are_read_again_from_their_own_text(values):
    """
    Every value is kept, in the order in which it was written.
    """
    knob = parse_knob("r=" + ",".join(map(str, values)))

    assert Choices(tuple(values)) == knob.domain
    assert knob == parse_knob(str(knob))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rte=1e-4..1e-3", "there is no setting training.learning_rte"),
        ("seed=1,2", "is not searched"),
        ("r", "is no setting to search"),
        ("r=", "is no setting to search"),
        ("r=8", "nothing to choose from"),
        ("r=8,8", "named twice"),
        ("r=8.5,9", "takes whole numbers, got '8.5'"),
        ("r=0..8", "training.r must be 1 to 1024, got 0"),
        ("learning_rate=1e-3..1e-4", "must be below the second"),
        ("learning_rate=1e-4..2", "training.learning_rate must be 1e-7 to 1, got 2"),
        ("learning_rate=nan..1", "finite"),
        ("learning_rate=1e-4..1e-3:cubic", "not :cubic"),
        ("weight_decay=0..0.1:log", "begins above 0"),
        ("lr_scheduler_type=wsd,cosin", "must be one of"),
        ("lr_scheduler_type=a..b", "takes words, not a range"),
        ("average=yes,no", "takes true or false"),
    ],
)
def test_an_unknown_key_or_range_is_refused_with_what_was_expected(text, said):
    """
    One message: what was found, and what would be right.
    """
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        parse_knob(text)


def test_a_setting_is_named_once():
    """
    Two domains of one setting contradict each other.
    """
    with pytest.raises(ConfigError, match="r: given twice"):
        parse_space(["r=8,16", "training.r=4,8"])


def test_a_wide_range_is_searched_by_its_logarithm():
    """
    Unless a person says otherwise.
    """
    assert Span(1e-4, 1e-3, True, False) == parse_knob("learning_rate=1e-4..1e-3").domain
    assert Span(1e-4, 1e-3, False, False) == parse_knob("learning_rate=1e-4..1e-3:linear").domain
    assert not parse_knob("num_train_epochs=1..4").domain.logarithmic


@settings(deadline=None, max_examples=50)
@given(
    rate=rates,
    rows=st.integers(1, 4096),
    epochs=st.integers(1, 1000),
    r=st.integers(1, 1024),
    alpha=st.integers(1, 4096),
    replay=st.integers(0, 100_000),
)
def test_the_usual_space_holds_the_settings_of_today(rate, rows, epochs, r, alpha, replay):
    """
    They are the first trial, so that a search never ends below them; and every value is valid.
    """
    today = TrainingConfig(
        learning_rate=rate,
        per_device_train_batch_size=rows,
        num_train_epochs=epochs,
        r=r,
        lora_alpha=alpha,
        replay_presentations=replay,
    )
    knobs = default_space(today, new_adapter=True, replays=True)

    assert holds(knobs, settings_of(today, knobs))
    assert list(knobs) == list(parse_space(map(str, knobs)))


def test_what_a_parent_s_adapter_decides_is_not_searched():
    """
    Its rank would be ignored, and all trials would be alike.
    """
    names = {k.name for k in default_space(TrainingConfig(), new_adapter=False, replays=False)}

    assert not names & {"r", "lora_alpha"}
    with pytest.raises(ConfigError, match="r: a job that goes on from v0007"):
        without_effect([parse_knob("r=8,16")], "v0007")


def test_settings_change_only_what_they_name():
    """
    Everything else is as it is today.
    """
    changed = with_settings(Config(), {"r": 8})

    assert 8 == changed.training.r
    assert Config().training == with_settings(changed, {"r": Config().training.r}).training
    assert not NOT_SEARCHED.keys() & {"r"}
    assert not holds([Knob("r", Choices((8, 16)))], {"r": 9})
    assert not holds([Knob("r", Choices((8, 16)))], {})


@settings(deadline=None, max_examples=50)
@given(steps=st.integers(1, 100_000), step=st.integers(0, 100_000))
def test_a_stage_grows_with_the_step_up_to_the_end(steps, step):
    """
    Trials of any length are compared at the same tenth of their plan.
    """
    step = min(step, steps)

    assert 0 <= stage(step, steps) <= LOOKS
    assert stage(step, steps) >= stage(max(0, step - 1), steps)
    assert LOOKS == stage(steps, steps)


@settings(deadline=None, max_examples=50)
@given(rows=st.integers(1, 10_000), epochs=st.integers(1, 20), each=st.integers(1, 64))
def test_a_trial_is_looked_at_about_ten_times(rows, epochs, each):
    """
    Never between two steps, and at most twice as often as planned.
    """
    steps = epochs * -(-rows // each)
    between = steps_between_looks(rows, epochs, each)

    assert 1 <= between <= max(1, steps)
    assert steps // between <= 2 * LOOKS or between == 1
