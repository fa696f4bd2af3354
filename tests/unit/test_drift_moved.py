"""
What moved is named with its first day, its end and its examples; and what is measured of texts.
"""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.drift.answered import Answered, Forms, declines, measured
from finetuned.core.drift.asked import Asked, words_of
from finetuned.core.drift.measure import NO, YES, Against, Alert, Measure, Span, Value
from finetuned.core.drift.moved import moved, usual_differences
from finetuned.core.drift.wording import Known, Reference, distinct

FIRST = date(2026, 1, 1)
RNG = random.Random(0)
USUAL = [RNG.gauss(0, 1) for _ in range(300)]


def look(*shifts: float, usual: dict[Measure, float] | None = None) -> list[Alert]:
    """
    Return what is found of one measure whose days have these shifts.
    """
    spans = []
    for i, shift in enumerate(shifts):
        day = FIRST + timedelta(days=i)
        values: list[Value] = [RNG.gauss(shift, 1) for _ in range(100)]
        spans.append(Span(day, day, {Measure.LENGTH: values}))
    return moved({Measure.LENGTH: USUAL}, spans, against=Against.EARLIER, usual=usual)


def test_a_shift_is_named_from_its_first_day_to_its_last() -> None:
    """
    One that holds has no end; two runs are two alerts.
    """
    (one,) = look(0, 0, 2, 2)
    assert (FIRST + timedelta(days=2), None) == (one.since, one.until)
    assert one.since == one.noticed

    first, second = look(2, 0, 0, 3)
    assert (FIRST, FIRST) == (first.since, first.until)
    assert (FIRST + timedelta(days=3), None) == (second.since, second.until)
    assert [] == look(0, 0, 0)


def test_examples_are_those_furthest_out() -> None:
    """
    On the side to which the values moved.
    """
    day = FIRST
    values: list[Value] = [5.0 + i / 100 for i in range(100)]
    spans = [Span(day, day, {Measure.LENGTH: values})]
    (one,) = moved({Measure.LENGTH: USUAL}, spans, against=Against.TRAINED)

    assert (99, 98, 97) == one.examples

    kinds: list[Value] = [YES if i % 3 == 0 else NO for i in range(99)]
    spans = [Span(day, day, {Measure.STOPPED: kinds})]
    (one,) = moved({Measure.STOPPED: [YES] * 300}, spans, against=Against.EARLIER)

    assert (1, 2, 4) == one.examples


def test_a_difference_that_days_have_anyway_is_no_alarm() -> None:
    """
    Three days of the reference or more say how far days are apart; fewer say nothing.
    """
    spans = [{Measure.LENGTH: [RNG.gauss(m, 1) for _ in range(100)]} for m in (-1, 0, 1, 0)]
    usual = usual_differences(spans)

    assert usual[Measure.LENGTH] > 0.5
    assert [] == look(1.0, usual=usual)
    assert 1 == len(look(1.0))
    assert 1 == len(look(5.0, usual=usual))
    assert {} == usual_differences(spans[:2])


def test_a_small_difference_of_many_answers_is_no_alarm() -> None:
    """
    A rate that moves by 3 points is shown by the test, and does not matter; by 6 it does.
    """
    reference: list[Value] = [YES] * 9800 + [NO] * 200

    def of(refused: int) -> list[Alert]:
        values: list[Value] = [YES] * (10000 - refused) + [NO] * refused
        span = Span(FIRST, FIRST, {Measure.STOPPED: values})
        return moved({Measure.STOPPED: reference}, [span], against=Against.EARLIER)

    assert [] == of(500)
    assert 1 == len(of(800))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.text(max_size=40))
def test_a_known_text_has_no_distance_and_every_distance_is_a_share(
    texts: list[str], other: str
) -> None:
    """
    For any characters: case and white space do not count.
    """
    known = Known(texts)
    spaced = [f"  {text.upper().casefold()} " for text in texts if text.upper().casefold() == text]

    assert all(0 <= d <= 1 for d in known.distances([other, *texts]))
    assert all(
        d < 1e-3 for text, d in zip(texts, known.distances(texts), strict=True) if text.split()
    )
    assert all(
        d < 1e-3 for text, d in zip(spaced, known.distances(spaced), strict=True) if text.split()
    )
    assert all(known.unseen(text) in (0.0, None) for text in texts)


def test_another_subject_is_further_than_another_name() -> None:
    """
    Wording and unseen words say so; a reference compared with itself finds nothing.
    """
    texts = [f"create the user {name} on the server" for name in ("ann", "bob", "eva", "joe")]
    reference = Reference([Asked(t) for t in texts[:2]], [Asked(t) for t in texts[2:]])
    found = reference.measured([Asked(texts[3]), Asked("translate this letter into french")])

    near, far = (float(d or 0) for d in found[Measure.WORDING])
    assert near < 0.6 < far
    assert 1 / 7 == pytest.approx(found[Measure.VOCABULARY][0])
    assert 1.0 == found[Measure.VOCABULARY][1]


@pytest.mark.parametrize(
    ("asked", "form"),
    [
        (Asked("add ann"), "one turn, one line"),
        (Asked('{"a": 1}', turns=3), "several turns, JSON"),
        (Asked("{a", system=True, tools=True), "system prompt, one turn, tools, one line"),
        (Asked("SELECT 1", plain=True), "text, code"),
        (Asked("a\nb"), "one turn, several lines"),
    ],
)
def test_the_form_of_a_prompt_is_said_in_words(asked: Asked, form: str) -> None:
    """
    Frame first, then what the text is.
    """
    assert form == asked.form


def test_each_text_counts_once_and_words_have_letters() -> None:
    """
    Who asks the same all day is one; numbers and single letters are no words.
    """
    asked = [Asked("a b"), Asked("c"), Asked("a b", turns=3)]

    assert asked[:2] == distinct(asked)
    assert ["user", "öl", "дом"] == words_of("User 12 x Öl, дом")


def test_answers_are_measured_by_their_end_form_and_refusal() -> None:
    """
    Forms are sets of keys, in any order; of free text no form is expected.
    """
    forms = Forms(['{"action":"add","name":"x"}'] * 10)
    answers = [
        Answered('{"name":"y","action":"add"}', "stop", 0.9),
        Answered('{"action":"none"}', "length", 0.8),
        Answered("I'm sorry, but I cannot do that.", "stop", 0.7),
        Answered("", "tool_calls", None, calls_tools=True),
    ]
    found = measured(answers, forms)

    assert [0.9, 0.8, 0.7, None] == found[Measure.CONFIDENCE]
    assert [YES, NO, YES, YES] == found[Measure.STOPPED]
    assert [YES, NO, NO, None] == found[Measure.VALID]
    assert [NO, YES, YES, None] == found[Measure.REFUSED]
    assert not Forms(["Use the lift.", "{}"]).is_json


@pytest.mark.parametrize(
    ("text", "says_no"),
    [
        ("I can't help with that.", True),
        ("I cannot share passwords.", True),
        ('{"action": "Refuse"}', True),
        ('{"action": ["none"]}', False),
        ("{broken", False),
        ("The user cannot log in because the account is locked.", False),
    ],
)
def test_what_declines_is_told_from_what_answers(text: str, says_no: bool) -> None:
    """
    A sentence about what somebody else cannot do is an answer.
    """
    assert says_no == declines(text)
