"""
Turns joined into sequences, and the checks on what comes out.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.data.training_sequence import (
    TrainingSequence,
    TurnIds,
    check_sequences,
    join_turns,
)
from finetuned.errors import MalformedExample

STOP = 9
ids = st.lists(st.integers(0, 3), min_size=1, max_size=4)


@st.composite
def conversations(draw):
    """
    Turns whose prompts repeat what came before, or, at a rewrite, something else.
    """
    turns, history = [], []
    for _ in range(draw(st.integers(1, 5))):
        start = draw(ids) if draw(st.booleans()) else history
        turn = TurnIds(start + draw(ids), draw(ids))
        turns.append(turn)
        history = turn.prompt + turn.answer
    return turns


@given(conversations())
def test_every_answer_is_learned_once_after_exactly_its_prompt(turns):
    """
    Whatever the template rewrites: serving shows the same ids before each answer.
    """
    found = []
    for sequence in join_turns(turns):
        assert len(sequence.input_ids) == len(sequence.supervised)
        assert sequence.supervised[-1]
        found.append(sum(sequence.supervised))
    expected = [(t.prompt, t.answer) for t in turns]
    learned = [
        (s.input_ids[: len(t.prompt)], s.input_ids[len(t.prompt) : len(t.prompt) + len(t.answer)])
        for t in turns
        for s in join_turns(turns)
        if (t.prompt + t.answer) == s.input_ids[: len(t.prompt) + len(t.answer)]
        and all(s.supervised[len(t.prompt) : len(t.prompt) + len(t.answer)])
    ]

    assert sum(found) == sum(len(t.answer) for t in turns)
    assert all(pair in learned for pair in expected)


def test_a_conversation_that_only_grows_is_one_sequence():
    """
    Nothing is computed twice that one pass can teach.
    """
    first = TurnIds([1, 2], [3, STOP])
    second = TurnIds([1, 2, 3, STOP, 4], [5, STOP])

    (sequence,) = join_turns([first, second])
    assert [1, 2, 3, STOP, 4, 5, STOP] == sequence.input_ids
    assert [0, 0, 1, 1, 0, 1, 1] == sequence.supervised


@pytest.mark.parametrize(
    ("sequence", "code", "says"),
    [
        (
            TrainingSequence([1, 2, 3, STOP], [True] * 4),
            "too_long",
            "at most 3 .*the limit",
        ),
        (TrainingSequence([1, STOP], [False, False]), "no_supervised_token", "no token to learn"),
        (TrainingSequence([1, 2], [False, True]), "no_stop_token", "not a stop token"),
        (TrainingSequence([1, 2, STOP], [False, True, False]), "no_stop_token", "not a stop token"),
        (TrainingSequence([STOP], [True]), "no_supervised_token", "predicted by nothing"),
        (TrainingSequence([STOP, 1], [True, False]), "no_supervised_token", "predicted by nothing"),
    ],
)
def test_a_sequence_that_teaches_nothing_useful_is_refused(sequence, code, says):
    """
    By a code that the report counts, and in words that name the limit.
    """
    with pytest.raises(MalformedExample, match=says) as caught:
        check_sequences(
            [sequence], max_length=3, limited_by="the limit", stop_token_ids=frozenset({STOP})
        )
    assert code == caught.value.code
