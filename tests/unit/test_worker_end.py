"""
What the end of a worker process means for its job.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.action import StopCause
from finetuned.core.job import JobEvent
from finetuned.core.worker_end import WorkerEnd, judge_end


@pytest.mark.parametrize(
    ("end", "event"),
    [
        (WorkerEnd(0, None, None, ""), JobEvent.FINISH),
        (WorkerEnd(0, StopCause.SKIP, None, ""), JobEvent.SKIP),
        (WorkerEnd(75, StopCause.STOP, None, ""), JobEvent.INTERRUPT),
        (WorkerEnd(75, None, "disk_full", ""), JobEvent.INTERRUPT),
        (WorkerEnd(75, StopCause.SKIP, None, ""), JobEvent.SKIP),
        (WorkerEnd(78, None, None, ""), JobEvent.INTERRUPT),
        (WorkerEnd(65, None, None, ""), JobEvent.FAIL),
        (WorkerEnd(70, None, None, ""), JobEvent.RETRY),
        (WorkerEnd(-9, None, None, ""), JobEvent.RETRY),
        (WorkerEnd(-9, StopCause.STUCK, None, ""), JobEvent.RETRY),
        (WorkerEnd(-9, StopCause.PAUSE, None, ""), JobEvent.INTERRUPT),
    ],
)
def test_what_the_end_of_a_worker_means(end, event):
    """
    Stops, full disks and wrong settings are free; crashes and hangs cost an attempt.
    """
    assert event == judge_end(end, attempts=0, max_attempts=3)


def test_the_last_attempt_fails_the_job():
    """
    A job that always crashes ends, and the next one gets the device.
    """
    end = WorkerEnd(-11, None, None, "")

    assert JobEvent.FAIL == judge_end(end, attempts=2, max_attempts=3)


ends = st.builds(
    WorkerEnd,
    st.integers(-64, 255),
    st.sampled_from([None, *StopCause]),
    st.sampled_from([None, "disk_full", "read_only"]),
    st.text(max_size=5),
)


@given(ends, st.integers(0, 5), st.integers(1, 5))
def test_only_a_crash_or_a_hang_costs_an_attempt(end, attempts, max_attempts):
    """
    A job is retried only while attempts are left; a stop and a full disk never end it.
    """
    event = judge_end(end, attempts=attempts, max_attempts=max_attempts)

    if event is JobEvent.RETRY:
        assert attempts + 1 < max_attempts
    if end.asked in (StopCause.STOP, StopCause.PAUSE) or end.refused is not None:
        assert event in (JobEvent.INTERRUPT, JobEvent.FINISH, JobEvent.FAIL, JobEvent.SKIP)
        assert (event is JobEvent.FAIL) <= (end.exit_status == 65)
