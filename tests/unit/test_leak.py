"""
What counts as a leak between held-out and training rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from finetuned.data import leak as module
from finetuned.data.examples import Example
from finetuned.data.holdout import PromptIndex
from finetuned.data.leak import LeakCheck, LeakCounts, ngrams
from finetuned.data.reader import to_example

WORDS = [f"word{i}" for i in range(40)]


def _row(question: str, answer: str, system: str | None = None) -> Example:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return to_example({"messages": messages})


def _check(
    tmp_path: Path, heldout: list[Example], training: list[Example], batch: int = 3
) -> LeakCounts:
    check = LeakCheck(n_train_rows=len(training), hits_file=tmp_path / "hits")
    for example in heldout:
        check.add_held_out(example)
    return check.check(training[i : i + batch] for i in range(0, len(training), batch))


def test_the_same_question_and_answer_under_another_system_prompt_is_an_exact_leak(
    tmp_path: Path,
) -> None:
    """
    The prompt hash differs, the knowledge does not.
    """
    heldout = [_row("What is  2+2?", "Four")]
    training = [_row("what is 2+2?", "four", "Be brief."), _row("What is 2+2?", "five", "Lie.")]

    assert LeakCounts(1, 0, 1, 0) == _check(tmp_path, heldout, training)


def test_thirteen_words_in_common_are_a_leak_and_twelve_are_not(tmp_path: Path) -> None:
    """
    The window is exactly 13 words, wherever in the row it stands.
    """
    heldout = [_row("x " + " ".join(WORDS[:13]) + " y", "a")]
    thirteen = _row("q", "z " + " ".join(WORDS[:13]) + " z")
    twelve = _row("q", "z " + " ".join(WORDS[:12]) + " z")

    assert LeakCounts(0, 1, 1, 0) == _check(tmp_path, heldout, [thirteen, twelve])


def test_ngrams_do_not_cross_messages_or_rows(tmp_path: Path) -> None:
    """
    Words that only stand next to each other in our memory are not a passage.
    """
    heldout = [_row(" ".join(WORDS[:14]), "a")]
    across = [_row(" ".join(WORDS[:7]), " ".join(WORDS[7:14]))]
    rows = [_row(" ".join(WORDS[:7]), "a b"), _row(" ".join(WORDS[7:14]), "c d")]

    assert LeakCounts(0, 0, 0, 0) == _check(tmp_path, heldout, [*across, *rows])
    assert 2 == len(ngrams([[" ".join(WORDS[:13])], ["a b"], [" ".join(WORDS[1:14])]])[0])


def test_what_stands_in_most_rows_is_boilerplate(tmp_path: Path) -> None:
    """
    A task description in every prompt is no leak; it is counted apart.
    """
    task = " ".join(WORDS[:13])
    heldout = [_row(task, "a0")]
    training = [_row(f"{task} number {i}", f"a{i}") for i in range(1, 40)]

    found = _check(tmp_path, heldout, training)
    assert 0 == found.ngram_rows
    assert 0 == found.heldout_rows
    assert 1 == found.boilerplate_ngrams


def test_ten_rows_are_not_boilerplate_yet(tmp_path: Path) -> None:
    """
    In a small file, sharing a passage with ten rows is still a leak of ten rows.
    """
    passage = " ".join(WORDS[:13])
    training = [_row(f"{passage} number {i}", "b") for i in range(10)]
    training += [_row(f"q{i}", "c") for i in range(30)]

    for batch in (1, 3, 100):
        found = _check(tmp_path, [_row(passage, "a")], training, batch)
        assert (10, 1, 0) == (found.ngram_rows, found.heldout_rows, found.boilerplate_ngrams)


def test_a_row_whose_hits_are_read_in_two_parts_is_one_row() -> None:
    """
    Where the file of hits is cut does not change the count.
    """
    hits = np.array([(0, 5), (1, 5), (1, 6), (2, 9), (3, 6), (3, 6)], dtype=module._HIT)
    shared = np.array([5, 6], dtype=np.uint64)

    for cut in range(7):
        assert 3 == module._count_rows(iter([hits[:cut], hits[cut:]]), shared)


def test_rows_held_out_by_earlier_datasets_are_looked_for_too(tmp_path: Path) -> None:
    """
    Their hashes are enough; the rows are not needed.
    """
    earlier = LeakCheck(n_train_rows=0, hits_file=tmp_path / "hits")
    earlier.add_held_out(_row(" ".join(WORDS[:14]), "a"))
    found_ngrams, found_answers = earlier.held_out_hashes()
    grams, answers = PromptIndex(), PromptIndex()
    grams.add(found_ngrams)
    answers.add(found_answers)

    check = LeakCheck(n_train_rows=2, hits_file=tmp_path / "hits")
    check.add_earlier(ngrams=grams, answers=answers)
    training = [_row(" ".join(WORDS[:14]), "a", "S"), _row("q", " ".join(WORDS[1:14]))]
    assert LeakCounts(1, 2, 0, 0) == check.check([training])


def test_texts_are_compared_as_a_whole_and_by_passage(tmp_path: Path) -> None:
    """
    A plain text is its own question and answer.
    """
    text = " ".join(WORDS[:20])
    heldout = [to_example({"text": text})]
    training = [to_example({"text": text.upper()}), to_example({"text": "x " + text[7:]})]

    assert LeakCounts(1, 2, 1, 0) == _check(tmp_path, heldout, training)
