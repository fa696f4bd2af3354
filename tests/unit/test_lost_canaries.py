"""
Canaries that a candidate lost: which they are, and what a person reads of them.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.lost_canaries import MAX_CHARS, LostCanary, lost_canaries
from finetuned.core.record import from_json, to_json
from finetuned.reports.lost_canaries import MAX_SHOWN, answers, choices, in_short

LOST = LostCanary("motd", "Say hello.", "Hello.", "Hello.", '{"action":"none"}', "release")


def outcome(correct: bool | None, answer: str | None = None) -> dict[str, Any]:
    return {"correct": correct, "answer": answer, "timed_out": correct is None}


def item(name: str, suite: str = "canaries", **outcomes: Any) -> dict[str, Any]:
    return {"suite": suite, "id": name, "prompt": "p?", "golden": "yes", "outcomes": outcomes}


def report(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    suites = [{"name": "canaries", "origin": "canary"}, {"name": "mine", "origin": "benchmark"}]
    return {"suites": suites, "items": list(items), "subjects": {}, **fields}


def test_a_lost_canary_comes_with_both_answers() -> None:
    """
    The question and the expected answer too; a wrong answer of a benchmark is none.
    """
    wrong = {"incumbent": outcome(True, "yes"), "candidate": outcome(False, "{}")}
    found = lost_canaries(report(item("a", **wrong), item("b", suite="mine", **wrong)))

    assert (LostCanary("a", "p?", "yes", "yes", "{}", "release"),) == found
    assert found[0] == from_json(LostCanary, to_json(found[0]), source="status")


@pytest.mark.parametrize("before", [True, False, None])
@pytest.mark.parametrize("now", [True, False, None])
def test_only_what_was_right_and_is_wrong_is_lost(before: bool | None, now: bool | None) -> None:
    """
    What was never right protects nothing, and what time cut is not wrong.
    """
    found = lost_canaries(
        report(item("a", incumbent=outcome(before, "x"), candidate=outcome(now, "y")))
    )

    assert bool(found) == (before is True and now is False)


def test_the_head_speaks_only_if_the_release_lost_nothing() -> None:
    """
    The candidate goes on from the head; what that passes may be lost as well.
    """
    first = item("a", incumbent=outcome(True), head=outcome(True), candidate=outcome(False))
    other = item("b", incumbent=outcome(False), head=outcome(True), candidate=outcome(False))

    assert [("a", "release")] == [(c.id, c.against) for c in lost_canaries(report(first, other))]
    assert [("b", "head")] == [(c.id, c.against) for c in lost_canaries(report(other))]


def test_the_base_is_the_release_until_something_was_promoted() -> None:
    """
    Its outcomes stand under its own name then.
    """
    same = {"incumbent": {"same_as": "base"}}
    found = lost_canaries(
        report(item("a", base=outcome(True), candidate=outcome(False)), subjects=same)
    )

    assert ["a"] == [canary.id for canary in found]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(suites=JSON, items=JSON, outcomes=JSON)
def test_a_damaged_report_loses_nothing(suites: Any, items: Any, outcomes: Any) -> None:
    """
    The verdict on it must still be written down.
    """
    assert () == lost_canaries({"suites": suites, "items": items})
    lost_canaries(report(item("a", incumbent=outcomes, candidate=outcomes)))


def test_long_answers_are_cut_where_they_are_kept() -> None:
    """
    A status file is written every second.
    """
    wrong = {"incumbent": outcome(True, "y" * 9999), "candidate": outcome(False, "n" * 9999)}
    found = lost_canaries(report(item("a", **wrong)))[0]

    assert MAX_CHARS == len(found.before) == len(found.now)


def test_the_reason_names_both_answers_and_where_to_read_on() -> None:
    """
    An empty answer is said to be nothing.
    """
    assert (
        'motd was answered "Hello." by the release, "{"action":"none"}" by the candidate; finetuned'
        " status and finetuned report say what can be done"
    ) == in_short([LOST])
    silent = LostCanary("motd", "p", "e", "Hello.", " ", "head")
    assert '"Hello." by the head, nothing by the candidate' in in_short([silent])


def test_the_answers_are_bounded_and_those_left_out_are_counted() -> None:
    """
    One line each, whatever stands in an answer.
    """
    long = LostCanary("motd", "p" * 900, "e", "b\nb" * 900, "n", "release")
    lines = answers([long] * (MAX_SHOWN + 2))

    assert [*[MAX_SHOWN + 1], "and 2 more"] == [len(lines), lines[-1]]
    assert all("\n" not in line and len(line) < 1000 for line in lines)


def test_each_choice_has_the_command_that_does_it() -> None:
    """
    For a shell, with the root; a rejected version needs --anyway.
    """
    odd = LostCanary("it's me", "p", "e", "b", "n", "release")
    found = [c.how for c in choices([odd], "v0004", rejected=True, where="--root /r")]

    assert "drop a file of rows into inbox/" in found[0]
    assert "training.replay_presentations" in found[1]
    quoted = "'it'\"'\"'s me'"
    assert f"finetuned canary remove {quoted} --confirm {quoted} --root /r" == found[2]
    assert "finetuned versions promote v0004 --anyway --root /r" == found[3]
    held = [c.how for c in choices([LOST, LOST], "v0004", rejected=False)]
    assert "finetuned canary remove motd --confirm motd, and so for each" == held[2]
    assert "finetuned versions promote v0004" == held[3]
