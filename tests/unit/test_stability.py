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
