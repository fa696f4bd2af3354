"""
Transforms of augmentation: what they must not change, and that their own proofs notice it.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.reader import to_example
from finetuned.sources import intents, syllo
from finetuned.sources.augment import TRANSFORMS, FileFacts
from finetuned.sources.augment.exchange import Exchange, exchange_of, exchanged, free_words
from finetuned.sources.augment.puzzles import CLUES, TILES, puzzle_of
from finetuned.sources.augment.surface import TYPOS, mistyped, one_typo_apart
from finetuned.sources.augment.values import VALUES, drawn_like, exchanges
from finetuned.sources.augment.wording import PHRASING
from finetuned.sources.syllo.puzzle import check, spellings

WORDING = ("synonyms", "phrasing", "casing", "typos", "spacing")


@cache
def commands() -> tuple[Exchange, ...]:
    """Return exchanges of a file of commands, with what the file shows."""
    facts = FileFacts()
    found = []
    for row in intents.training_rows(0, 300):
        exchange = exchange_of(to_example(row))
        assert isinstance(exchange, Exchange)
        facts.add(exchange)
        found.append(exchange)
    copied = facts.copied
    return tuple(facts.told(exchange, copied) for exchange in found)


@cache
def puzzles() -> tuple[Exchange, ...]:
    """Return puzzles of all difficulties."""
    found = [exchange_of(to_example(row)) for row in syllo.training_rows(0, 12)]
    return tuple(e for e in found if isinstance(e, Exchange))


def child_of(name: str, exchange: Exchange, seed: int) -> Exchange | None:
    """Draw a child and keep it if its transform has no complaint."""
    transform = TRANSFORMS[name]
    child = transform.draw(exchange, random.Random(seed))
    if child is None or transform.complaint(exchange, child):
        return None
    return child


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(WORDING), st.integers(0, 299), st.integers(0, 10**6))
def test_other_words_keep_the_answer_and_its_values(name: str, i: int, seed: int) -> None:
    """
    The answer is the same, and each of its values that stood in the prompt stands there still.
    """
    parent = commands()[i % len(commands())]
    child = child_of(name, parent, seed)
    if child is None:
        return
    assert parent.answer == child.answer
    for value in re.findall(r'"([^"]+)"', parent.answer):
        if value in parent.prompt.split():
            assert value in child.prompt
    assert sorted(re.findall(r"\d+", parent.prompt)) == sorted(re.findall(r"\d+", child.prompt))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(WORDING), st.integers(0, 299), st.integers(0, 10**6))
def test_a_child_that_lost_something_is_noticed(name: str, i: int, seed: int) -> None:
    """
    A value left out, a digit changed or another answer is a complaint of every transform.
    """
    parent = commands()[i % len(commands())]
    child = child_of(name, parent, seed)
    if child is None or not parent.values:
        return
    complaint = TRANSFORMS[name].complaint
    assert complaint(parent, replace(child, answer=child.answer + " "))
    value = parent.values[0]
    assert complaint(parent, replace(child, prompt=exchanged(child.prompt, {value: "x"})))
    assert complaint(parent, replace(child, prompt=child.prompt + " 7"))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 299), st.integers(0, 10**6))
def test_exchanged_values_can_be_exchanged_back(i: int, seed: int) -> None:
    """
    Put the old values back, in prompt and answer, and the parent is there to the last character.
    """
    parent = commands()[i % len(commands())]
    child = child_of("values", parent, seed)
    if child is None:
        return
    values = exchanges(parent, child)
    assert values
    back = {new: old for old, new in values.items()}
    assert parent.prompt == exchanged(child.prompt, back)

    def put_back(value: object) -> object:
        if isinstance(value, dict):
            return {key: put_back(item) for key, item in value.items()}
        if isinstance(value, list):
            return [put_back(item) for item in value]
        return back.get(value, value) if isinstance(value, str) else value

    assert json.loads(parent.answer) == put_back(json.loads(child.answer))
    assert all(new in child.prompt and old not in child.prompt for old, new in values.items())


@pytest.mark.parametrize(
    ("prompt", "answer", "complaint"),
    [
        ("add bob to ops", '{"user":"bob","group":"dev"}', "other_values_changed"),
        ("add bob to ops", '{"name":"bob","group":"ops"}', "answer_changed"),
        ("add rob to ops", '{"user":"bob","group":"ops"}', "prompt_changed"),
        ("please add rob to ops", '{"user":"rob","group":"ops"}', "prompt_changed"),
        ("add rob to ops", '{"user":"rob","group":"ops","by":"bob"}', "answer_changed"),
    ],
)
def test_an_inconsistent_exchange_is_noticed(prompt: str, answer: str, complaint: str) -> None:
    """
    Only values that may be exchanged, in both places, and nothing else.
    """
    parent = Exchange("add bob to ops", '{"user":"bob","group":"ops"}', values=("bob",))
    if complaint == "prompt_changed" and "rob" in prompt and "bob" in answer:
        complaint = "other_values_changed"  # the answers are the same: nothing was exchanged
    assert complaint == VALUES.complaint(parent, replace(parent, prompt=prompt, answer=answer))


def test_a_value_that_another_was_made_of_is_not_exchanged() -> None:
    """
    The path was made of the name: exchanging the name alone would leave it behind.
    """
    parent = Exchange("share media", '{"name":"media","path":"/srv/media"}', values=("media",))
    child = VALUES.draw(parent, random.Random(1))
    assert child is not None
    assert "value_left" == VALUES.complaint(parent, child)


def test_nothing_is_exchanged_in_a_file_whose_answers_are_computed() -> None:
    """
    Whether an address lies in a network is not the same for another address.
    """
    facts = FileFacts()
    for i in range(40):
        inside = "true" if i % 3 else "false"
        prompt = f"is 10.0.{i}.5 in 10.0.{i % 3}.0/24"
        facts.add(Exchange(prompt, f'{{"ip":"10.0.{i}.5","inside":{inside}}}'))
    assert frozenset() == facts.copied


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(
        ["10.0.4.52", "fd00:10::53", "nas.home.lan", "/srv/data/x1", "bob", "web-07", "8080", "A_b"]
    ),
    st.integers(0, 10**6),
)
def test_a_drawn_value_has_the_shape_of_the_old_one(value: str, seed: int) -> None:
    """
    Letters for letters and digits for digits; the punctuation stays in its places.
    """
    other = drawn_like(value, random.Random(seed))
    assert re.sub(r"\w", "", value) == re.sub(r"\w", "", other)
    if ":" not in value and value.count(".") < 3:
        assert len(value) == len(other)
        assert [c.isdigit() for c in value] == [c.isdigit() for c in other]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([CLUES, TILES]), st.integers(0, 11), st.integers(0, 10**6))
def test_a_shuffled_puzzle_has_its_one_solution(transform: object, i: int, seed: int) -> None:
    """
    Judged by the rules of the game, the child's answer is right, and it is the only one.
    """
    assert transform in (CLUES, TILES)
    chosen = CLUES if transform is CLUES else TILES
    parent = puzzles()[i]
    child = chosen.draw(parent, random.Random(seed))
    assert child is not None
    assert chosen.complaint(parent, child) is None
    before, after = puzzle_of(parent), puzzle_of(child)
    assert before is not None
    assert after is not None
    assert [] == check(after, child.answer)
    assert all(len(spellings(word, after.bank)) == 1 for word in after.words)
    assert {w.definition: w.text for w in before.words} == {
        w.definition: w.text for w in after.words
    }
    assert chosen.complaint(parent, replace(child, answer=parent.answer + " ")) == "no_puzzle"


def test_a_puzzle_with_a_wrong_answer_has_no_children() -> None:
    """
    Nothing is made of what cannot be checked.
    """
    parent = puzzles()[0]
    wrong = replace(parent, answer=parent.answer.replace("1", "9", 1))
    assert CLUES.draw(wrong, random.Random(0)) is None


@settings(max_examples=200, deadline=None)
@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=5, max_size=12), st.integers(0, 10**6))
def test_a_typing_error_is_one_slip_and_keeps_the_first_letter(word: str, seed: int) -> None:
    """
    Longer words stay recognisable.
    """
    other = mistyped(word, random.Random(seed))
    assert one_typo_apart(word, other)
    assert word[0] == other[0]


def test_a_typing_error_must_not_make_a_word_that_the_file_has() -> None:
    """
    "form" for "from" is another request.
    """
    parent = Exchange("take it from there", "x", common=frozenset({"from", "form"}))
    child = replace(parent, prompt="take it form there")
    assert "another_word" == TYPOS.complaint(parent, child)


def test_what_follows_a_colon_or_stands_in_quotes_never_changes() -> None:
    """
    It is what is worked on: "Translate: ..." must not be translated wrongly because of us.
    """
    words = frozenset(["please", "translate", "the", "word", "house", "to", "german"])
    parent = Exchange("Translate to German: please the house", "das Haus", common=words)
    assert ["Translate", "to"] == [word.text for word in free_words(parent)]
    quoted = Exchange('translate the word "please house"', "x", common=words)
    assert ["translate", "the", "word"] == [word.text for word in free_words(quoted)]
    for seed in range(40):
        child = PHRASING.draw(parent, random.Random(seed))
        assert child is not None
        assert child.prompt.endswith("Translate to German: please the house"[10:])


def test_rare_words_are_content() -> None:
    """
    In "Reverse monkey" the rare word is what the answer is made of.
    """
    facts = FileFacts()
    animals = ("monkey", "rabbit", "donkey", "turtle", "spider", "beaver")
    rows = [Exchange(f"Reverse {animal}", animal[::-1]) for animal in animals]
    for row in rows:
        facts.add(row)
    assert ["Reverse"] == [word.text for word in free_words(facts.told(rows[0]))]


def test_every_transform_says_what_it_keeps() -> None:
    """
    The sentences stand in the pages as they are.
    """
    assert {t.name for t in TRANSFORMS.values()} == set(TRANSFORMS)
    assert all(t.keeps for t in TRANSFORMS.values())
