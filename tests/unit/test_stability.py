from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.stability import Seen, StabilityTracker

A = Seen(10, 1, 1)


def test_a_file_is_stable_after_it_kept_still_long_enough():
    """
    Not at first sight, not a moment early.
    """
    tracker = StabilityTracker(5.0)

    assert [] == tracker.observe({b"a": A}, 0.0)
    assert [] == tracker.observe({b"a": A}, 4.9)
    assert [b"a"] == tracker.observe({b"a": A}, 5.0)


@given(st.sampled_from([Seen(11, 1, 1), Seen(10, 2, 1), Seen(10, 1, 2)]))
def test_any_change_starts_the_wait_again(changed):
    """
    Size, mtime and inode each tell that a writer is at work.
    """
    tracker = StabilityTracker(5.0)
    tracker.observe({b"a": A}, 0.0)

    assert [] == tracker.observe({b"a": changed}, 5.0)
    assert [b"a"] == tracker.observe({b"a": changed}, 10.0)


def test_a_file_that_was_renamed_in_need_not_wait():
    """
    A rename delivers whole files.
    """
    tracker = StabilityTracker(5.0)
    tracker.renamed_in(b"a")

    assert [b"a"] == tracker.observe({b"a": A, b"b": A}, 0.0)


def test_a_file_that_went_away_is_forgotten():
    """
    A new file of an old name waits from the beginning.
    """
    tracker = StabilityTracker(5.0)
    tracker.renamed_in(b"a")
    tracker.observe({b"a": A}, 0.0)
    tracker.observe({}, 1.0)

    assert [] == tracker.observe({b"a": A}, 6.0)
    assert 5.0 == tracker.next_due(6.0)


def test_a_file_that_is_stable_needs_no_earlier_scan():
    """
    It can be claimed as it is, or waits for somebody who has it open.
    """
    tracker = StabilityTracker(5.0)
    tracker.observe({b"a": A}, 0.0)
    assert 1.0 == tracker.next_due(4.0)
    tracker.observe({b"a": A}, 5.0)

    assert tracker.next_due(5.0) is None


def test_how_long_a_file_has_waited_is_counted_through_its_changes():
    """
    A file that never stops changing is overdue one day; a new file of its name is not.
    """
    tracker = StabilityTracker(5.0)
    for moment in range(4):
        tracker.observe({b"a": Seen(moment, moment, 1)}, float(moment))
    assert (0.5, 3.5) == (tracker.unchanged_for(b"a", 3.5), tracker.waiting_for(b"a", 3.5))
    tracker.observe({b"a": Seen(3, 3, 2)}, 4.0)

    assert 0.0 == tracker.waiting_for(b"a", 4.0)


def test_a_file_that_was_given_back_has_waited_since_then():
    """
    However often it is claimed, changes while it is read, and comes back.
    """
    tracker = StabilityTracker(0.0)
    for moment in (10.0, 20.0):
        tracker.doubt(b"a", 1, moment)
        tracker.observe({b"a": A}, moment + 1)
        tracker.observe({}, moment + 2)
    tracker.observe({b"a": A}, 30.0)
    assert 20.0 == tracker.waiting_for(b"a", 30.0)
    tracker.observe({b"a": Seen(10, 1, 9)}, 30.0)

    assert 0.0 == tracker.waiting_for(b"a", 30.0)
