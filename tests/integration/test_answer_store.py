"""
What models answered before: found again, and nothing depends on it.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from finetuned.core.confidence.likelihood import Likelihood
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.identity import model_digest
from finetuned.evaluation.subjects import adapter_shape
from finetuned.inference.outcome import Raw

RAW = Raw(
    text="ok",
    loss_sum=1.5,
    n_tokens=3,
    golden_tokens=3,
    answer_tokens=2,
    stopped=True,
    timed_out=False,
    seconds=0.1,
    choices=((-1.0, 2), (-2.0, 3)),
    likelihood=Likelihood(2, -0.1, -0.15, 0.5),
)
LATE = Raw("o", 1.5, 3, 3, 1, stopped=False, timed_out=True, seconds=9.0)


def test_an_answer_is_found_by_its_weights_and_its_question_alone(tmp_path: Path) -> None:
    """
    Bit for bit what it was; what time cut was never an answer.
    """
    store = AnswerStore(tmp_path / "answers.sqlite3")
    store.add("model", {"q1": RAW, "q2": LATE})
    store.close()

    store = AnswerStore(tmp_path / "answers.sqlite3")
    assert {"q1": RAW} == store.find("model", ["q1", "q2", "q3"])
    assert {} == store.find("other", ["q1"])
    store.close()


@pytest.mark.parametrize("damage", ["header", "pages", "no database"])
def test_a_damaged_file_is_put_aside_and_begun_anew(tmp_path: Path, damage: str) -> None:
    """
    Whether it shows at once or at the first page that is read: no job is lost to a cache.
    """
    path = tmp_path / "answers.sqlite3"
    store = AnswerStore(path)
    store.add("model", {f"q{i}": RAW for i in range(2000)})
    store.close()
    data = bytearray(path.read_bytes())
    if damage == "pages":
        data[4096 * 3 :] = b"\xff" * (len(data) - 4096 * 3)
    elif damage == "header":
        data[:100] = b"\x00" * 100
    else:
        data[:] = b"not a database at all" * 200
    path.write_bytes(data)

    store = AnswerStore(path)
    found = store.find("model", [f"q{i}" for i in range(2000)])
    assert len(found) < 2000
    store.add("model", {"new": RAW})
    assert {"new": RAW} == store.find("model", ["new"])
    store.close()
    assert 1 == len(list(tmp_path.glob("answers.sqlite3.corrupt-*")))


def test_a_file_that_cannot_be_made_costs_only_the_memory(tmp_path: Path) -> None:
    """
    Everything is asked anew, as if it were the first time.
    """
    store = AnswerStore(tmp_path / "gone" / "answers.sqlite3")
    store.add("model", {"q1": RAW})
    assert {} == store.find("model", ["q1"])
    store.close()


def test_a_locked_file_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """
    Somebody's open transaction must not end an evaluation.
    """
    path = tmp_path / "answers.sqlite3"
    store = AnswerStore(path)
    with sqlite3.connect(path) as other:
        other.execute("BEGIN IMMEDIATE")
        store.add("model", {"q1": RAW})
        assert {} == store.find("model", ["q1"])
    store.close()


def test_the_order_in_which_a_set_was_written_is_no_difference(tmp_path: Path) -> None:
    """
    peft keeps target modules in a set: another process writes them in another order.
    """
    shapes = []
    for i, modules in enumerate((["q_proj", "v_proj"], ["v_proj", "q_proj"], ["q_proj"])):
        folder = tmp_path / str(i)
        folder.mkdir()
        config = {"r": 4, "target_modules": modules}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        shapes.append(adapter_shape(folder))

    assert shapes[0] == shapes[1] != shapes[2]
    assert adapter_shape(tmp_path) is None


def test_other_weights_precision_or_device_are_another_model(tmp_path: Path) -> None:
    """
    What was said by one is no evidence for the other.
    """
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"one")
    first = model_digest(base, None, ["float32", "cpu"])

    assert first == model_digest(base, None, ["float32", "cpu"])
    assert first != model_digest(base, None, ["bfloat16", "cpu"])
    (base / "model.safetensors").write_bytes(b"other")
    assert first != model_digest(base, None, ["float32", "cpu"])


def test_answers_of_an_earlier_release_are_found_without_their_likelihood(tmp_path: Path) -> None:
    """
    Its file lacks the column; what it knows is worth as much as before.
    """
    path = tmp_path / "answers.sqlite3"
    store = AnswerStore(path)
    store.add("model", {"q1": RAW})
    store.close()
    with sqlite3.connect(path) as old:
        old.execute("ALTER TABLE answers DROP COLUMN likelihood")
    old.close()

    store = AnswerStore(path)
    assert {"q1": replace(RAW, likelihood=None)} == store.find("model", ["q1"])
    store.add("model", {"q2": RAW})
    assert {"q2": RAW} == store.find("model", ["q2"])
    store.close()
