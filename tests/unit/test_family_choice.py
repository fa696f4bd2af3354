"""
The family of a question, told from its words.
"""

from __future__ import annotations

import random

import pytest

from finetuned.core.family_choice import (
    MAX_CHARACTERS,
    FamilyChoice,
    bag,
    last_user_text,
    profile,
)

WORDS = [a + b for a in ("lu", "mar", "ing", "tom", "ker", "wal") for b in ("a", "co", "rid", "do")]


def prompts(dice: random.Random, words: list[str], n: int) -> list[str]:
    return [" ".join(dice.choices(words, k=dice.randint(3, 9))) for _ in range(n)]


@pytest.mark.parametrize("seed", range(8))
def test_a_question_finds_the_family_whose_words_it_has(seed: int) -> None:
    """
    However many prompts each family has: one of 5 beside one of 400 is found as surely.
    """
    dice = random.Random(seed)
    dice.shuffle(WORDS)
    own = {name: WORDS[8 * i : 8 * i + 8] for i, name in enumerate("abc")}
    known = {name: prompts(dice, own[name], dice.choice((5, 50, 400))) for name in own}
    choice = FamilyChoice({name: profile(texts) for name, texts in known.items()})

    for name, words in own.items():
        assert {name} == {choice.choose(text) for text in prompts(dice, words, 20)}


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_does_not_depend_on_an_order(seed: int) -> None:
    """
    Neither that of the families, one of which is the version's own, nor that of the prompts.
    """
    dice = random.Random(seed)
    known = {name: prompts(dice, WORDS[4 * i : 4 * i + 12], 30) for i, name in enumerate("abcd")}
    asked = prompts(dice, WORDS, 60)
    first = FamilyChoice({name: profile(texts) for name, texts in known.items()})
    names = list(known)
    dice.shuffle(names)
    other = FamilyChoice({name: profile(known[name][::-1]) for name in names})

    assert [first.choose(text) for text in asked] == [other.choose(text) for text in asked]


def test_what_a_large_family_always_says_is_its_own() -> None:
    """
    Counted by prompts its words would be common ones, and a rare name would decide.
    """
    dice = random.Random(0)
    names = ["".join(dice.choices("aeiourstlnmk", k=6)) for _ in range(400)]
    choice = FamilyChoice(
        {
            "reset": profile(f"reset the password of {name}" for name in names),
            "policy": profile([f"show the password policy of {w}" for w in ("ann", "bo", "cy")]),
        }
    )

    assert {"reset"} == {
        choice.choose(f"reset the password of {name}") for name in ("policarpo", "shona", "joann")
    }


def test_of_an_unknown_question_the_largest_family_is_asked() -> None:
    """
    Of equally large ones the first by name; a family without a prompt is asked nothing.
    """
    small, large = profile(["add ann"]), profile(["sum of one", "sum of two"])
    choice = FamilyChoice({"few": small, "more": large, "a": profile([])})

    assert ["more", "more", "few"] == [
        choice.choose(text) for text in ("", "\u6f22\u5b57", "add ann")
    ]
    assert "a" == FamilyChoice({"b": small, "a": small}).choose("")


def test_what_all_families_say_tells_nothing() -> None:
    """
    A beginning that all prompts share does not draw a question to the family that repeats it.
    """
    polite = "please, if you would be so kind, "
    choice = FamilyChoice(
        {
            "dns": profile([f"{polite}add a record for host{i}" for i in range(20)]),
            "sum": profile([f"{polite}{i} plus {i + 3}" for i in range(20)] * 3),
        }
    )

    assert "dns" == choice.choose(f"{polite}add a record for host7")
    assert "sum" == choice.choose(f"{polite}90 plus 14")


def test_any_text_is_a_question() -> None:
    """
    Half a surrogate pair, nothing at all, more than is looked at.
    """
    assert bag("x" * MAX_CHARACTERS) == bag("x" * 10 * MAX_CHARACTERS)
    for text in ("", "\ud800", "\x00", " " * 9):
        assert all(value > 0 for value in bag(text).values())
    with pytest.raises(ValueError, match="no family"):
        FamilyChoice({})


def test_the_last_user_turn_is_what_is_asked() -> None:
    """
    Whatever the system, the assistant and earlier turns say.
    """
    said = [("system", "be brief"), ("user", "one"), ("assistant", "1"), ("user", "two")]
    messages = [{"role": role, "content": text} for role, text in said]

    assert "two" == last_user_text([*messages, {"role": "tool", "content": "42"}])
    assert "one" == last_user_text(messages[:3])
    assert "" == last_user_text(messages[:1])
    assert "" == last_user_text([{"role": "user", "content": None}])
