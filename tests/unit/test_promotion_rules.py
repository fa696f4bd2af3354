"""
What takes a version back, and what says nothing.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.config import WatchConfig
from finetuned.core.promotion_watch import (
    Health,
    is_unhealthy,
    lost_and_late_canaries,
    parse_health,
    watch_is_over,
)

CONFIG = WatchConfig(minutes=30, requests=100, max_error_fraction=0.05, min_requests=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_whatever_is_in_the_file_it_is_a_signal_or_nothing(value: Any) -> None:
    """
    A stranger writes it; it must not end the daemon.
    """
    found = parse_health(value)
    assert found is None or 0 <= found.errors <= found.requests


@pytest.mark.parametrize(
    "value",
    [
        {"version": "v0001", "requests": 10},
        {"version": "v0001", "requests": 10, "errors": 11},
        {"version": "v0001", "requests": -1, "errors": -1},
        {"version": "v0001", "requests": True, "errors": False},
        {"version": 1, "requests": 10, "errors": 1},
    ],
)
def test_a_signal_that_makes_no_sense_is_none(value: Any) -> None:
    """
    Missing evidence against a version is no evidence.
    """
    assert parse_health(value) is None


@pytest.mark.parametrize(
    ("version", "requests", "errors", "failing"),
    [
        ("v0002", 100, 6, True),
        ("v0002", 100, 5, False),
        ("v0002", 19, 19, False),
        ("v0002", 20, 2, True),
        ("v0001", 100, 100, False),
    ],
)
def test_more_failures_than_allowed_of_enough_requests_of_this_version(
    version: str, requests: int, errors: int, failing: bool
) -> None:
    """
    The limits are inclusive, and another version's failures are another version's.
    """
    found = is_unhealthy(Health(version, requests, errors), "v0002", CONFIG)
    assert failing == (found is not None)


def test_it_lasts_its_time_or_its_requests_but_never_ends_unasked() -> None:
    """
    Without its canaries asked again no time is long enough.
    """
    enough = Health("v0002", 100, 0)
    assert not watch_is_over(None, "v0002", seconds=1799, asked=True, config=CONFIG)
    assert watch_is_over(None, "v0002", seconds=1800, asked=True, config=CONFIG)
    assert watch_is_over(enough, "v0002", seconds=0, asked=True, config=CONFIG)
    assert not watch_is_over(enough, "v0003", seconds=0, asked=True, config=CONFIG)
    assert not watch_is_over(enough, "v0002", seconds=1e9, asked=False, config=CONFIG)


def outcome(correct: bool) -> dict[str, Any]:
    return {"correct": correct}


def test_a_canary_counts_if_the_version_before_or_the_gate_saw_it_pass() -> None:
    """
    One that nobody ever passed is no reason to go back.
    """
    items = [
        {"id": "before", "outcomes": {"incumbent": outcome(True), "candidate": outcome(False)}},
        {"id": "gate", "outcomes": {"incumbent": outcome(False), "candidate": outcome(False)}},
        {"id": "never", "outcomes": {"incumbent": outcome(False), "candidate": outcome(False)}},
        {"id": "kept", "outcomes": {"incumbent": outcome(True), "candidate": outcome(True)}},
        {"id": "alone", "outcomes": {"candidate": outcome(False)}},
    ]

    found = lost_and_late_canaries({"items": items}, frozenset({"gate"}))
    assert (["before", "gate"], []) == found
    assert ([], []) == lost_and_late_canaries({}, frozenset({"gate"}))


def test_a_canary_that_was_not_answered_in_time_is_not_lost() -> None:
    """
    A slow moment of the machine takes no version out of use.
    """
    late = {"correct": None, "timed_out": True}
    report = {"items": [{"id": "c", "outcomes": {"incumbent": outcome(True), "candidate": late}}]}

    assert ([], ["c"]) == lost_and_late_canaries(report, frozenset({"c"}))
