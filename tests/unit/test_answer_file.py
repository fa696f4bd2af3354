"""
The file of answers: kept as they are, queried by people, and nothing lost with it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.files.answers import AnswerFile, KeptAnswer, MarkedAnswer

ANSWER = KeptAnswer("ok", 1.5, 3, 3, 2, stopped=True, seconds=0.1, choices=((-1.0, 2), (-2.0, 3)))
MARKED = MarkedAnswer(
    run_id="r1",
    subject="candidate",
    version=None,
    suite="mine",
    item="mine:1",
    prompt="?",
    golden="yes",
    answer="no",
    correct=False,
    score=0.0,
    exact=False,
    loss=2.5,
    n_tokens=1,
    stopped=True,
    timed_out=False,
)

floats = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**40)
answers = st.builds(
    KeptAnswer,
    text=st.none() | st.text(),
    loss_sum=floats,
    n_tokens=counts,
    golden_tokens=counts,
    answer_tokens=counts,
    stopped=st.booleans(),
    seconds=floats,
    choices=st.lists(st.tuples(floats, counts), max_size=4).map(tuple),
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), answers, max_size=5))
def test_any_answer_comes_back_bit_for_bit(kept: dict[str, KeptAnswer]) -> None:
    """
    What was evidence once is the same evidence later.
    """
    file = AnswerFile(Path(":memory:"))
    file.add("model", kept)

    assert kept == file.find("model", kept)
    assert {} == file.find("other", kept)
    file.close()


def test_an_answer_that_is_given_again_replaces_the_first(tmp_path: Path) -> None:
    """
    One row for a model and a question, whoever asked.
    """
    file = AnswerFile(tmp_path / "a")
    for answer in (ANSWER, replace(ANSWER, text="better")):
        file.add("model", {"q": answer})

    assert {"q": replace(ANSWER, text="better")} == file.find("model", ["q"])
    file.close()


def test_marked_answers_are_there_for_people(tmp_path: Path) -> None:
    """
    Every field in the column of its name; marked again, they are replaced.
    """
    file = AnswerFile(tmp_path / "a")
    file.add_marked([MARKED, replace(MARKED, subject="base", version="v0001")])
    file.add_marked([replace(MARKED, answer="maybe")])
    file.close()
    with sqlite3.connect(tmp_path / "a") as db:
        db.row_factory = sqlite3.Row
        base, candidate = db.execute("SELECT * FROM results ORDER BY subject").fetchall()

    for field in MarkedAnswer.__slots__:
        changed = {"subject": "base", "version": "v0001"}
        assert changed.get(field, getattr(MARKED, field)) == base[field], field
    assert "maybe" == candidate["answer"]


def test_a_value_that_nobody_here_wrote_puts_the_file_aside(tmp_path: Path) -> None:
    """
    It is asked anew, and the next answer is kept in a new file.
    """
    path = tmp_path / "a"
    file = AnswerFile(path)
    file.add("model", {"q": ANSWER})
    with sqlite3.connect(path) as db:
        db.execute("UPDATE answers SET loss = 'low'")

    assert {} == file.find("model", ["q"])
    file.add("model", {"q": ANSWER})
    assert {"q": ANSWER} == file.find("model", ["q"])
    file.close()
    assert 1 == len(list(tmp_path.glob("a.corrupt-*")))


@pytest.mark.parametrize("choices", ["[[1]]", "{", "[[1, 2, 3]]", "7"])
def test_choices_that_are_not_pairs_put_the_file_aside(tmp_path: Path, choices: str) -> None:
    """
    Likewise for the one column that holds JSON.
    """
    path = tmp_path / "a"
    file = AnswerFile(path)
    file.add("model", {"q": ANSWER})
    with sqlite3.connect(path) as db:
        db.execute("UPDATE answers SET choices = ?", (choices,))

    assert {} == file.find("model", ["q"])
    file.close()
    assert 1 == len(list(tmp_path.glob("a.corrupt-*")))
