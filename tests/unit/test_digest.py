"""
Notices become few messages: none is lost, none comes in quiet hours, what is rare is not held up.
"""

from datetime import datetime, time, timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.digest import (
    MOST_SECONDS,
    Digest,
    Pending,
    Spacing,
    after_message,
    from_text,
    is_quiet,
    is_time,
    to_text,
)
from finetuned.core.notice import NoticeKind

NOON = datetime(2026, 11, 16, 12, 0)
KINDS = st.sampled_from(list(NoticeKind))
QUIET = st.none() | st.tuples(st.times(), st.times()).filter(lambda pair: pair[0] != pair[1])
SPACINGS = st.builds(
    Spacing,
    gather_seconds=st.integers(0, 120).map(float),
    again_seconds=st.integers(0, 3600).map(float),
    quiet=QUIET,
)


def play(arrivals, spacing, *, step=30.0, hours=60):
    """
    Return the messages, as (time, notices), of a daemon that looks every *step* seconds.

    Args:
        arrivals: Seconds after noon and kind of each notice.
        spacing: How they are put together.
        step: Seconds between two looks.
        hours: How long it looks.
    """
    waiting, state, messages = [], Digest(), []
    coming = sorted(
        (Pending(kind, NOON + timedelta(seconds=at)) for at, kind in arrivals), key=lambda p: p.at
    )
    now, end = NOON, NOON + timedelta(hours=hours)
    while now < end and (waiting or coming):
        if not waiting:
            now = max(now, coming[0].at)
        while coming and coming[0].at <= now:
            waiting.append(coming.pop(0))
        if is_time(state, waiting, spacing, now):
            state = after_message(state, waiting, spacing, now)
            messages.append((now, waiting))
            waiting = []
        now += timedelta(seconds=step)
    return messages, waiting + coming


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 6 * 3600), KINDS), max_size=12), SPACINGS)
def test_every_notice_is_told_once_and_none_in_quiet_hours(arrivals, spacing):
    """
    Whatever comes when, each notice is in exactly one message, and no message in quiet hours.
    """
    messages, left = play(arrivals, spacing, step=600.0, hours=50)

    assert [] == left
    assert sorted(kind for _, kind in arrivals) == sorted(
        n.kind for _, told in messages for n in told
    )
    assert not any(is_quiet(now, spacing.quiet) for now, _ in messages)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32))
def test_three_hundred_rejections_at_once_are_one_message(seed):
    """
    What comes while the first is gathered goes out with it.
    """
    dice = Random(seed)
    arrivals = [(dice.randrange(25), NoticeKind.REJECTED) for _ in range(300)]
    messages, _ = play(arrivals, Spacing(30, 900), step=5.0, hours=0.1)

    assert [300] == [len(told) for _, told in messages]


def test_three_hundred_rejections_over_a_night_are_one_message_in_the_morning():
    """
    Quiet hours from ten to seven: one message at seven.
    """
    ten = 10 * 3600
    arrivals = [(ten + 60 * i, NoticeKind.REJECTED) for i in range(300)]
    spacing = Spacing(30, 900, (time(22), time(7)))
    messages, _ = play(arrivals, spacing, step=60.0, hours=30)

    assert [(datetime(2026, 11, 17, 7, 0), 300)] == [(now, len(told)) for now, told in messages]


def test_a_stream_of_rejections_is_few_messages_a_day():
    """
    One a minute for a day: the pauses double, up to eight hours.
    """
    arrivals = [(60 * i, NoticeKind.REJECTED) for i in range(1440)]
    messages, _ = play(arrivals, Spacing(30, 900), step=60.0, hours=40)

    assert 1440 == sum(len(told) for _, told in messages)
    assert len(messages) <= 9


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 20_000), min_size=1, max_size=40),
    st.sampled_from([kind for kind in NoticeKind if kind is not NoticeKind.REJECTED]),
    st.integers(0, 20_000),
)
def test_what_is_rare_is_not_held_back_by_what_is_frequent(frequent, rare, at):
    """
    The first notice of another kind waits for the gathering only, and takes the rest along.
    """
    arrivals = [*((second, NoticeKind.REJECTED) for second in frequent), (at, rare)]
    messages, _ = play(arrivals, Spacing(30, 900), step=15.0, hours=8)

    told = next(now for now, notices in messages if any(n.kind is rare for n in notices))
    assert told - NOON <= timedelta(seconds=at + 30 + 15)


@given(st.integers(1, 10**6))
def test_a_clock_that_goes_back_holds_nothing_up(seconds):
    """
    What was told and what happened in the future do not delay the next message.
    """
    spacing = Spacing(30, 900)
    pending = [Pending(NoticeKind.FAILED, NOON + timedelta(seconds=seconds))]
    state = after_message(Digest(), pending, spacing, NOON + timedelta(seconds=seconds))

    assert is_time(state, pending, spacing, NOON)


@given(st.dictionaries(KINDS, st.tuples(st.datetimes(), st.floats(0, MOST_SECONDS))))
def test_what_is_remembered_survives_a_restart(told):
    """
    Written as JSON and read again it is the same; what is no state is none.
    """
    state = Digest()
    for kind, (at, gap) in told.items():
        state = after_message(state, [Pending(kind, at)], Spacing(0, gap), at)

    assert state == from_text(to_text(state))
    assert Digest() == from_text([1]) == from_text({"promoted": 7, "nothing": ["x", 1]})
