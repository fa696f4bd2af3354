"""
Rows made of wrong answers (sources/correction/): from trained rows only, capped, and once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.config import DataConfig
from finetuned.data.examples import Example, prompt_hash
from finetuned.data.reader import to_example
from finetuned.data.render import Renderer
from finetuned.data.row_family import family_of, is_child, is_correction
from finetuned.data.store import TokenisedDataset
from finetuned.data.suite import Question
from finetuned.files.dataset_result import DatasetResult
from finetuned.files.learnt_file import LearntFile
from finetuned.ingestion.ingest import Ingestion
from finetuned.ingestion.source import Source
from finetuned.sources import intents
from finetuned.sources.augment import KeptOut
from finetuned.sources.correction import (
    FORMS,
    Answered,
    Collected,
    Collector,
    DrawnRows,
    TrainedRow,
    trained_rows,
)

MICRO = Path(__file__).resolve().parents[2] / "models" / "base" / "micro"
MAX_BYTES = 2**20


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    """The renderer of the embedded base."""
    return Renderer.load(MICRO, max_length=512, enable_thinking=False)


def row(n: int, **more: Any) -> Example:
    """Return a sum."""
    return to_example({"prompt": f"{n} + {n} =", "completion": str(2 * n), **more})


def golden(example: Example) -> str:
    """Return the right answer."""
    return example.messages[-1]["content"]


class Model:
    """A model that answers every question in one way, and remembers what it was asked."""

    def __init__(self, answer: str | None = None) -> None:
        self.answer = answer
        self.asked: list[Example] = []

    def __call__(self, questions: Sequence[Question]) -> Iterator[Answered]:
        for question in questions:
            self.asked.append(question.example)
            right = str(question.golden)
            said = right if self.answer is None else self.answer
            yield Answered(question.id, said, said == right, len(said), len(right))


def collected(
    model: Model,
    rows: Sequence[Example],
    kept_out: KeptOut | None = None,
    most: int = 200,
    changed: int = 0,
) -> Collected:
    """Ask *rows*."""
    maker = Collector(model, golden, lambda _: None, kept_out or KeptOut(), "v0001", most)
    asked = tuple(TrainedRow(e, "sums.jsonl", n) for n, e in enumerate(rows, 1))
    return maker.collect(DrawnRows(asked, changed))


def ingested(
    root: Path, renderer: Renderer, rows: list[dict[str, Any]], name: str, **data: Any
) -> tuple[LearntFile, DatasetResult]:
    """Make a dataset of *rows*."""
    for folder in ("datasets", "run", "benchmarks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    path = root / f"{name}.jsonl"
    path.write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in rows))
    ingestion = Ingestion(
        datasets_dir=root / "datasets",
        run_dir=root / "run",
        renderer=renderer,
        config=DataConfig(**data),
        benchmarks=root / "benchmarks",
    )
    result = ingestion.ingest(Source(name, path, path.name), lambda *_: None)
    dataset = root / "datasets" / str(result.dataset_id)
    return LearntFile(dataset=dataset, path=path, name=path.name), result


def test_each_wrong_answer_becomes_three_rows_that_learn_the_right_one() -> None:
    """
    With the attempt and a hint, with the hint, and as it is; only the right answer is trained.
    """
    found = collected(Model("7"), [row(4)])

    attempt, hint, plain = (to_example(r) for r in found.rows)
    assert [r["metadata"]["correction"]["form"] for r in found.rows] == list(FORMS)  # type: ignore[index]
    assert all(golden(example) == "8" for example in (attempt, hint, plain))
    said = [(m["role"], m["content"]) for m in attempt.messages]
    assert said[:2] == [("user", "4 + 4 ="), ("assistant", "7")]
    assert "NUMERIC_ERROR_MISSING_1_VALUES" in said[2][1]
    assert attempt.untrained == (1,)
    assert "NUMERIC_ERROR_MISSING_1_VALUES" in hint.messages[0]["content"]
    assert plain.messages == row(4).messages
    assert found.counts.wrong == 1
    assert found.counts.made == dict.fromkeys(FORMS, 1)


def test_rows_of_a_wrong_answer_say_where_they_come_from_and_share_its_family() -> None:
    """
    So that they stay on one side of every split, and are never corrected again.
    """
    parent = row(4)
    for made in map(to_example, collected(Model("7"), [row(3), parent]).rows[3:]):
        said = made.metadata["correction"]
        assert (said["source"], said["line"], said["model"]) == ("sums.jsonl", 2, "v0001")
        assert "OFF_TOPIC_CONTENT" in said["codes"]
        assert family_of(made) == prompt_hash(parent)
        assert is_correction(made)
        assert is_child(made) == (said["form"] != "plain")


def test_a_correction_is_never_asked_again() -> None:
    """
    A wrong answer has one generation of corrections: the daemon's own files lead to no more.
    """
    first = collected(Model("7"), [row(n) for n in range(9)])
    model = Model("other")

    again = collected(model, [to_example(r) for r in first.rows])

    assert first.rows
    assert model.asked == []
    assert again.rows == ()
    assert again.counts.not_asked == {"is_correction": len(first.rows)}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=90), st.integers(3, 40), st.booleans())
def test_rows_are_capped_and_every_row_is_counted_once(
    numbers: list[int], most: int, is_wrong: bool
) -> None:
    """
    A wrong answer has all its rows or none, and the counts add up to the rows looked at.
    """
    found = collected(Model("x" if is_wrong else None), [row(n) for n in numbers], most=most)

    counts = found.counts
    assert len(found.rows) == sum(counts.made.values()) <= most
    assert counts.looked_at == counts.right + counts.wrong + sum(counts.not_asked.values())
    assert counts.looked_at <= len(numbers)
    assert len(found.rows) == (3 * min(len(set(numbers)), most // 3) if is_wrong else 0)


def test_what_a_suite_or_a_held_out_row_asks_is_never_asked() -> None:
    """
    Also if it was trained before the suite was there.
    """
    kept_out, model = KeptOut(), Model("x")
    kept_out.add([row(1)])

    found = collected(model, [row(1), row(2)], kept_out)

    assert [prompt_hash(e) for e in model.asked] == [prompt_hash(row(2))]
    assert found.counts.not_asked == {"held_out": 1}


def test_rows_without_one_question_and_one_answer_are_left_out_and_counted() -> None:
    """
    Texts, calls of tools, and conversations whose earlier answers are trained as well.
    """
    turn = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    several = to_example({"messages": [*turn, *turn]})

    found = collected(Model("x"), [to_example({"text": "once"}), several])

    assert found.counts.not_asked == {"text_row": 1, "several_answers": 1}


def test_an_empty_answer_is_no_attempt_and_still_has_a_hint() -> None:
    """
    A turn without text cannot stand in a conversation.
    """
    found = collected(Model(""), [row(4)])

    assert found.counts.made == {"hint": 1, "plain": 1}
    assert found.counts.not_made == {"attempt_empty_answer": 1}


def test_only_trained_rows_of_a_file_are_drawn(tmp_path: Path, renderer: Renderer) -> None:
    """
    Never a held-out row, one that an earlier file or a suite holds out, a changed or unseen line.
    """
    rows = intents.training_rows(5, 120)[:90]
    suite = {"prompt": rows[0]["messages"][0]["content"], "completion": "x"}
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "mine.jsonl").write_text(json.dumps(suite) + "\n")
    file, _ = ingested(tmp_path, renderer, rows, "rows", holdout_fraction=0.2)
    dataset = TokenisedDataset.open(file.dataset)
    held_out = {r["line"] for r in dataset.held_out_rows()}
    trained = set(dataset.lines.tolist())
    assert held_out
    assert 1 not in trained

    found = trained_rows([file], 1000, seed=1, max_bytes=MAX_BYTES)

    assert sorted(r.line for r in found.rows) == sorted(trained)
    assert not {r.line for r in found.rows} & held_out
    lines = file.path.read_bytes().splitlines(keepends=True)
    changed, unseen, *_ = sorted(trained)
    lines[changed - 1] = orjson.dumps({"prompt": "another", "completion": "x"}) + b"\n"
    file.path.write_bytes(b"".join(lines))
    part = LearntFile(
        dataset=file.dataset, path=file.path, name=file.name, unseen=frozenset({unseen})
    )
    left = trained_rows([part], 1000, seed=1, max_bytes=MAX_BYTES)
    assert {r.line for r in left.rows} == trained - {changed, unseen}
    assert 1 == left.n_changed


def test_rows_that_were_changed_since_are_counted() -> None:
    """
    They were looked at, and cannot be asked as they were trained.
    """
    counts = collected(Model(), [], changed=3).counts

    assert (3, {"changed_since": 3}) == (counts.looked_at, dict(counts.not_asked))


def test_the_same_seed_draws_the_same_rows_in_the_same_order(
    tmp_path: Path, renderer: Renderer
) -> None:
    """
    After a crash the same rows are asked; another seed asks others.
    """
    rows = intents.training_rows(6, 120)[:60]
    files = [
        ingested(tmp_path, renderer, rows[:30], "one")[0],
        ingested(tmp_path, renderer, rows[30:], "two")[0],
    ]

    def drawn(seed: int) -> list[tuple[str, int]]:
        return [
            (r.source, r.line) for r in trained_rows(files, 20, seed=seed, max_bytes=MAX_BYTES).rows
        ]

    assert drawn(1) == drawn(1)
    assert len(set(drawn(1))) == 20
    assert drawn(1) != drawn(2)
    assert {name for name, _ in drawn(1)} == {"one.jsonl", "two.jsonl"}


def test_corrections_are_trained_whole_and_none_of_a_held_out_row_ever_is(
    tmp_path: Path, renderer: Renderer
) -> None:
    """
    Ingested beside their parents they are all trained; of a held-out parent none is.
    """
    rows = intents.training_rows(7, 120)[:60]
    file, _ = ingested(tmp_path, renderer, rows, "rows", holdout_fraction=0.2)
    drawn = trained_rows([file], 1000, seed=0, max_bytes=MAX_BYTES)
    made = collected(Model("no"), [r.example for r in drawn.rows], most=60).rows
    _, good = ingested(tmp_path, renderer, [dict(r) for r in made], "good")
    dataset = TokenisedDataset.open(file.dataset)
    held_out = [to_example({"messages": r["messages"]}) for r in dataset.held_out_rows()]
    forbidden = collected(Model("no"), held_out, most=60).rows

    _, bad = ingested(tmp_path, renderer, [dict(r) for r in made[:3] + forbidden], "bad")

    assert good.report is not None
    assert good.report["split"]["train_rows"] == len(made)
    assert bad.report is not None
    assert forbidden
    assert bad.report["split"]["train_rows"] == 3
