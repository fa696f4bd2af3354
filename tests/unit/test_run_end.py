"""
When a run is over and what its end was, as tables and as laws over all signs.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.run_end import (
    SLACK_BYTES,
    START_AHEAD_SECONDS,
    Foresight,
    RunObservation,
    foresee,
    is_over,
    outgrown,
    run_status,
    should_reassign,
)

ALIVE = RunObservation(said=None, stays=False, process=None, taken_up=True, asked=False)

statuses = st.sampled_from([None, 0, 1, 65, 70, 75, 78, -9, -15])
signs = st.builds(
    RunObservation,
    said=st.sampled_from([None, 0, 65, 70, 75, 78]),
    stays=st.booleans(),
    process=statuses,
    taken_up=st.booleans(),
    asked=st.booleans(),
    launched=st.booleans(),
    refused=st.booleans(),
)


@pytest.mark.parametrize(
    ("seen", "over"),
    [
        (ALIVE, False),
        (replace(ALIVE, said=0, stays=True), True),
        (replace(ALIVE, said=0), False),  # it leaves: a process is waited for
        (replace(ALIVE, said=75), False),
        (replace(ALIVE, said=0, stays=True, asked=True), False),  # a pause means a free device
        (replace(ALIVE, process=0, said=0), True),
        (replace(ALIVE, process=-9), True),
    ],
)
def test_a_run_is_over_with_its_last_word_or_its_process(seen, over):
    """
    The word of a worker that stays is enough; any other one is waited for.
    """
    assert over == is_over(seen)


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (replace(ALIVE, said=0, stays=True), 0),
        (replace(ALIVE, said=0, process=-9), 0),  # killed after its last word
        (replace(ALIVE, said=65, process=65), 65),
        (replace(ALIVE, said=65, process=1, launched=True), 65),  # a launcher only knows 1
        (replace(ALIVE, process=-9), -9),
        (replace(ALIVE, process=1, launched=True), 1),
        (replace(ALIVE, process=0), 0),  # the word did not fit on the disk
        (replace(ALIVE, process=0, taken_up=False), 75),
        (replace(ALIVE, process=-9, taken_up=False), -9),  # died in its imports
        (replace(ALIVE, said=75, process=1, launched=True), 70),  # another rank died
        (replace(ALIVE, said=75, process=1, launched=True, asked=True), 75),
        (replace(ALIVE, said=75, process=1, launched=True, refused=True), 75),
        (replace(ALIVE, said=75, process=75), 75),
    ],
)
def test_how_a_run_ended(seen, status):
    """
    exit.json first, the process where there is none, and a launcher's stop is a crash.
    """
    assert status == run_status(seen)


@given(signs)
def test_only_a_finished_or_full_disked_run_counts_as_done(seen):
    """
    0 is never made up: somebody said it who had begun with the run.
    """
    if is_over(seen) and run_status(seen) == 0:
        assert seen.said == 0 or (seen.said is None and seen.process == 0 and seen.taken_up)


@given(signs, st.booleans())
def test_a_missed_run_is_over_and_was_never_begun(seen, reused):
    """
    What is given to another worker was done by nobody, not even in part.
    """
    if should_reassign(seen, reused=reused):
        assert is_over(seen)
        assert (None, False, False, True) == (seen.said, seen.taken_up, seen.asked, reused)


def test_a_worker_born_for_its_run_that_dies_has_failed_it():
    """
    Otherwise a broken installation would be started for ever.
    """
    died = replace(ALIVE, process=-9, taken_up=False)

    assert should_reassign(died, reused=True)
    assert not should_reassign(died, reused=False)
    assert not should_reassign(replace(died, asked=True), reused=True)


def test_an_end_is_asked_for_only_when_there_is_one():
    """
    A status for a run that goes on would be an invention.
    """
    with pytest.raises(ValueError, match="not over"):
        run_status(ALIVE)


@given(st.integers(0, 2**40), st.floats(1.0, 100))
def test_a_worker_that_holds_what_it_held_stays(first, growth):
    """
    Nor is the slack ever held against it.
    """
    assert not outgrown(first, first, growth)
    assert not outgrown(first + SLACK_BYTES, first, growth)


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.floats(0.01, 100))
def test_more_memory_never_makes_a_worker_stay(held, more, growth):
    """
    Over the limit once means over it with every byte on top.
    """
    if outgrown(held, 2**30, growth):
        assert outgrown(held + more, 2**30, growth)
    assert outgrown(int(growth * (2**30 + SLACK_BYTES)) + 1, 2**30, growth)


@given(
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
)
def test_the_next_worker_is_needed_sooner_the_less_is_left(one, other, warm):
    """
    Soon in the last seconds whatever may wait, never soon while the end is unknown.
    """
    order = [Foresight.SOON, Foresight.LATER, Foresight.FAR]
    near, far = (order.index(foresee(eta, warm_seconds=warm)) for eta in sorted((one, other)))

    assert near <= far
    assert (foresee(one, warm_seconds=warm) is Foresight.SOON) == (one <= START_AHEAD_SECONDS)
    assert (foresee(one, warm_seconds=warm) is Foresight.FAR) == (
        one > max(START_AHEAD_SECONDS, warm)
    )
    assert foresee(None, warm_seconds=warm) is Foresight.LATER
