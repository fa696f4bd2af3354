"""
The table that a person reads after ``finetuned test`` and ``finetuned canary run``.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.cli.suite_table import table, title
from finetuned.cli.terminal import MAX_NAMES

SCORE = {
    "accuracy": 0.75,
    "n_correct": 6,
    "n_asked": 8,
    "n_items": 8,
    "n_cached": 2,
    "interval_95": [0.4, 0.93],
    "loss": 0.5,
    "stop_rate": 1.0,
    "mean_answer_tokens": 12.34,
    "json": None,
    "format": None,
}
UNASKED = {**SCORE, "accuracy": None, "n_asked": 0, "stop_rate": None}


def suite(name: str = "syllo_easy", score: Any = SCORE, **changes: Any) -> dict[str, Any]:
    return {"name": name, "score": score, "timed_out": [], "missing": [], **changes}


def document(*suites: dict[str, Any], **overall: Any) -> dict[str, Any]:
    return {
        "model": {"name": "v0002"},
        "suites": list(suites),
        "overall": {**SCORE, "n_cached": 0, **overall},
        "seconds": 3.21,
    }


def test_a_suite_is_a_line_and_its_accuracy() -> None:
    """
    With the counts and the interval, and the model and the time below.
    """
    lines = table(document(suite())).splitlines()

    assert ["Syllo easy: 75% (6/8, 40-93)", "", "v0002: 8 items, 3.2 s"] == lines


def test_numbers_of_several_suites_stand_in_one_column() -> None:
    """
    Names are padded to the longest, the sum included.
    """
    lines = table(document(suite("a"), suite("a_rather_long_name"))).splitlines()[:3]

    assert ["A:", "A rather long name:", "Overall:"] == [line.split("  ")[0][:19] for line in lines]
    assert 1 == len({line.index("75%") for line in lines})


def test_a_suite_that_could_not_be_read_is_not_a_zero() -> None:
    """
    Nothing was asked, so nothing was wrong.
    """
    first = table(document(suite(score=None))).splitlines()[0]

    assert "Syllo easy: could not be read" == first


def test_a_suite_without_questions_shows_its_loss() -> None:
    """
    Or says that nothing was asked if there is not even that.
    """
    with_loss = table(document(suite(score=UNASKED)))
    without = table(document(suite(score={**UNASKED, "loss": None})))

    assert "no answers, loss 0.500 nats per token" in with_loss
    assert "nothing was asked" in without


def test_items_that_ran_out_of_time_are_named_up_to_a_limit() -> None:
    """
    The first ones by id; the rest is counted.
    """
    ids = [f"q{i}" for i in range(MAX_NAMES + 5)]
    text = table(document(suite(timed_out=ids, missing=["x", "y"])))

    assert f"timed out: {', '.join(ids[:MAX_NAMES])} and 5 more" in text
    assert "not asked in time: 2 items" in text


def test_answers_known_from_before_are_said_to_be() -> None:
    """
    A person who changed a model's files by hand must know how to ask anew.
    """
    assert "2 of them known from before (--fresh asks anew)" in table(document(suite(), n_cached=2))
    assert "--fresh" not in table(document(suite()))


def test_answers_with_a_format_are_told_apart() -> None:
    """
    Held and free on lines of their own, with invented values if the format marks any.
    """
    counts = {"n_asked": 8, "n_correct": 6, "n_fit": 7, "n_checked": 0, "n_invented": 0}
    held = {**counts, "n_held": 8, "n_changed": 3, "free": None}

    def lines(**changes: Any) -> list[str]:
        found = table(document(suite(score={**SCORE, "format": {**held, **changes}})))
        return [line.strip() for line in found.splitlines()[1:-2]]

    marks = "6 of 8 right, 7 of the format"
    assert [f"8 answers held to their format, which changed 3: {marks}"] == lines()
    assert [f"8 answers with a format, asked freely: {marks}"] == lines(n_held=0)
    assert [
        f"8 answers held to their format, which changed 3: {marks}, invented values in 2 of 7",
        "the same without: 5 of 8 right, 7 of the format, invented values in 1 of 6",
    ] == lines(
        n_checked=7,
        n_invented=2,
        free={**counts, "n_correct": 5, "n_checked": 6, "n_invented": 1},
    )


def test_verbose_adds_lines_and_changes_none() -> None:
    """
    Loss, how answers ended, JSON and known answers.
    """
    found = {**SCORE, "json": {"n_valid": 7, "fields": 20, "fields_right": 15}}
    short = table(document(suite(score=found))).splitlines()
    long = table(document(suite(score=found)), verbose=True).splitlines()

    assert short == [line for line in long if line in short]
    assert [
        "loss 0.500 nats per token",
        "100% of answers ended by themselves, 12.3 tokens each",
        "7 of 8 were JSON, 15 of 20 fields right",
        "2 of 8 known from before",
    ] == [line.strip() for line in long if line not in short]


def test_verbose_says_nothing_of_what_was_not_measured() -> None:
    """
    No loss, no answers, no JSON: only the count of known answers is left.
    """
    bare = {**UNASKED, "loss": None}
    short = table(document(suite(score=bare))).splitlines()
    long = table(document(suite(score=bare)), verbose=True).splitlines()

    assert 1 == len(long) - len(short)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_a_title_is_one_visible_line_and_final(name: str) -> None:
    """
    A suite's name is a file name of somebody; a title of a title is the title.
    """
    shown = title(name)

    assert shown == title(shown)
    assert [] == [c for c in shown if ord(c) < 32 or 127 <= ord(c) < 160]
    assert "_" not in shown
