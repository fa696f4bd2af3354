from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.remaining_time import RemainingTime


def test_steady_work_takes_as_long_again_after_half_of_it():
    """
    Ten items a second: with 100 of 200 done, ten seconds are left.
    """
    rest = RemainingTime()
    estimates = [rest.observe(10 * second, 200, float(second)) for second in range(11)]

    assert None is estimates[0]
    assert 10.0 == estimates[-1]


def test_nothing_is_said_before_the_first_item():
    """
    No speed, no estimate, however long it takes.
    """
    rest = RemainingTime()

    assert [None] * 50 == [rest.observe(0, 10, float(second)) for second in range(50)]


def test_answers_that_were_known_already_do_not_count_as_fast_work():
    """
    300 of 400 questions are answered from memory at once; the others take a second each.
    """
    rest = RemainingTime()
    rest.observe(0, 400, 0.0)
    rest.observe(300, 400, 0.5)

    assert 90.0 == rest.observe(310, 400, 10.0)


def test_the_estimate_counts_down_between_changes_and_is_never_zero():
    """
    A suite is counted when all of it is done: until then the time passes, and then nobody knows.
    """
    rest = RemainingTime()
    rest.observe(0, 40, 0.0)

    assert 30.0 == rest.observe(10, 40, 10.0)
    assert 20.0 == rest.observe(10, 40, 20.0)
    assert None is rest.observe(10, 40, 40.0)
    assert 50.0 == rest.observe(20, 40, 50.0)


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.01, 100)), max_size=30))
def test_an_estimate_is_positive_or_none(steps):
    """
    Whatever the pace: "0 s left" is never said of work that goes on.
    """
    rest, done, now = RemainingTime(), 0, 0.0
    total = sum(n for n, _ in steps) + 1
    for n, seconds in steps:
        done, now = done + n, now + seconds
        left = rest.observe(done, total, now)
        assert left is None or left > 0
