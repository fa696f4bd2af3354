"""
What no child may say: the questions of held-out rows, suites and canaries, and near ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.examples import Example
from finetuned.data.reader import to_example
from finetuned.errors import SuiteError
from finetuned.sources.augment import KeptOut

WORDS = st.lists(
    st.sampled_from(["add", "the", "user", "to", "group", "now", "please"]), min_size=2, max_size=9
)


def row(words: list[str], answer: str = "done") -> Example:
    """Return a row that asks *words*."""
    return to_example({"prompt": " ".join(words), "completion": answer})


@settings(max_examples=150, deadline=None)
@given(WORDS, st.data())
def test_one_word_more_less_or_other_is_near(words: list[str], data: st.DataObject) -> None:
    """
    With the same answer, such a row gives the question away.
    """
    kept = KeptOut()
    kept.add([row(words)])
    i = data.draw(st.integers(0, len(words) - 1))
    other = data.draw(st.sampled_from(["x", "y"]))
    for changed in (words[:i] + words[i + 1 :], [*words[:i], other, *words[i:]]):
        assert kept.holds(row(changed)) == ("near_held_out")
    exchanged = [*words[:i], other, *words[i + 1 :]]
    assert "near_held_out" == kept.holds(row(exchanged))
    assert kept.holds(row(exchanged, "something else")) is None


@settings(max_examples=50, deadline=None)
@given(WORDS)
def test_case_and_punctuation_make_no_other_question(words: list[str]) -> None:
    """
    Whatever the answer is.
    """
    kept = KeptOut()
    kept.add([row(words)])
    said = [word.upper() for word in words]
    assert "equals_held_out" == kept.holds(row([*said[:-1], said[-1] + "!"], "something else"))


def test_two_other_words_are_another_question() -> None:
    """
    More is not promised, and less would refuse everything.
    """
    kept = KeptOut()
    kept.add([row(["add", "the", "user", "to", "group"])])
    assert kept.holds(row(["please", "add", "the", "user", "to", "group", "now"])) is None


def test_a_copy_does_not_change_its_original() -> None:
    """
    Each file adds its own held-out rows to a copy.
    """
    kept = KeptOut()
    other = kept.copy()
    other.add([row(["a", "b"])])
    assert kept.holds(row(["a", "b"])) is None
    assert "equals_held_out" == other.holds(row(["a", "b"]))


def test_suites_and_canaries_are_read(tmp_path: Path) -> None:
    """
    Every suite of the folder counts, canaries among them; one that cannot be read is an error.
    """
    item = {"prompt": "who are you", "completion": "a canary"}
    (tmp_path / "canaries.jsonl").write_text(json.dumps(item))
    kept = KeptOut.load(None, tmp_path)
    assert "equals_held_out" == kept.holds(row(["Who", "are", "you?"]))
    (tmp_path / "broken.jsonl").write_text("{")
    with pytest.raises(SuiteError, match=r"broken\.jsonl"):
        KeptOut.load(None, tmp_path)
