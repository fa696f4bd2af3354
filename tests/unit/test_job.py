import pytest

from finetuned.core.job import FINAL_STATES, LIVE_STATES, JobEvent, JobState, can, next_state
from finetuned.errors import InvalidTransition


@pytest.mark.parametrize("state", sorted(LIVE_STATES))
def test_an_interrupted_job_falls_back_to_rest(state):
    """
    After a crash no job is left in a state that needs a process nobody runs.
    """
    rest = next_state(state, JobEvent.INTERRUPT)

    assert rest not in LIVE_STATES
    assert state == next_state(rest, JobEvent.START)


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
@pytest.mark.parametrize("event", JobEvent)
def test_nothing_leaves_a_final_state(state, event):
    """
    Promoted, rejected, skipped and failed jobs are history.
    """
    with pytest.raises(InvalidTransition):
        next_state(state, event)


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL_STATES))
def test_a_person_can_skip_whatever_is_not_history(state):
    """
    No state before the end is out of reach of a skip.
    """
    assert can(state, JobEvent.SKIP)


def test_promotion_needs_an_evaluation():
    """
    No road leads to promoted but the one through evaluating.
    """
    roads = {s for s in JobState for e in JobEvent if can(s, e) and next_state(s, e) == "promoted"}

    assert {JobState.EVALUATING} == roads
