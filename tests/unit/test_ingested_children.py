"""
``data.augment`` at ingestion: children of the rows that are trained, and of no other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuned.config import DataConfig
from finetuned.data import store
from finetuned.data.render import Renderer
from finetuned.data.store import TokenisedDataset
from finetuned.errors import ConfigError
from finetuned.files.dataset_result import DatasetOutcome, DatasetResult, counts_of_report
from finetuned.ingestion.ingest import Ingestion
from finetuned.ingestion.source import Source
from finetuned.sources import intents

MICRO = Path(__file__).resolve().parents[2] / "models" / "base" / "micro"


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    """The renderer of the embedded base."""
    return Renderer.load(MICRO, max_length=512, enable_thinking=False)


def ingested(
    root: Path, renderer: Renderer, lines: list[dict[str, Any]], *, name: str = "rows", **data: Any
) -> DatasetResult:
    """Ingest one file into a root."""
    for folder in ("datasets", "run", "benchmarks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    path = root / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    ingestion = Ingestion(
        datasets_dir=root / "datasets",
        run_dir=root / "run",
        renderer=renderer,
        config=DataConfig(**data),
        benchmarks=root / "benchmarks",
    )
    return ingestion.ingest(Source(name, path, path.name), lambda *_: None)


def dataset_of(root: Path, result: DatasetResult) -> TokenisedDataset:
    """Open what was made."""
    assert DatasetOutcome.ACCEPTED == result.result
    return TokenisedDataset.open(root / "datasets" / str(result.dataset_id))


def texts(dataset: TokenisedDataset, renderer: Renderer) -> list[str]:
    """Return what is trained, as text."""
    decode = renderer.tokenizer.decode
    return [decode([int(t) for t in dataset[i][0]]) for i in range(len(dataset))]


def test_only_rows_to_train_have_children_and_the_books_stay(
    tmp_path: Path, renderer: Renderer
) -> None:
    """
    The rows of the file are divided as without; children come behind, with their parents' lines.
    """
    rows = intents.training_rows(3, 60)[:50]
    plain = ingested(tmp_path / "a", renderer, rows)
    more = ingested(tmp_path / "b", renderer, rows, augment="3x")
    assert counts_of_report(plain.report) == counts_of_report(more.report)
    assert plain.report is not None
    assert more.report is not None
    assert plain.report["augmentation"] is None
    said = more.report["augmentation"]
    assert said["wanted"] == 2 * plain.report["split"]["train_rows"]
    assert said["wanted"] == said["made"] + sum(said["dropped"].values())
    assert said["made"] > 0.8 * said["wanted"]
    before, after = dataset_of(tmp_path / "a", plain), dataset_of(tmp_path / "b", more)
    n = len(before)
    assert n + said["sequences"] == len(after) == more.report["split"]["train_sequences"]
    for i in range(n):
        assert (before[i][0] == after[i][0]).all()
    assert set(after.lines[n:].tolist()) <= set(before.lines.tolist())
    names = (store.HELD_OUT_EXAMPLES, store.PROMPTS_HELD_OUT, store.HELD_OUT_ANSWERS)
    for name in names:
        assert (before.folder / name).read_bytes() == (after.folder / name).read_bytes()
    prompts = [np.fromfile(d.folder / store.PROMPTS_TRAIN, "<u8") for d in (before, after)]
    assert set(prompts[0]) < set(prompts[1])
    assert said["made"] == len(prompts[1]) - len(prompts[0])


def test_children_are_the_same_after_a_crash(tmp_path: Path, renderer: Renderer) -> None:
    """
    What an ended ingestion left is removed, and the next makes the same bytes.
    """
    rows = intents.training_rows(4, 60)[:30]
    one = dataset_of(tmp_path / "a", ingested(tmp_path / "a", renderer, rows, augment="2x"))
    left = tmp_path / "b" / "datasets" / ".building-rows"
    left.mkdir(parents=True)
    (left / store.TOKENS).write_bytes(b"half")
    other = dataset_of(tmp_path / "b", ingested(tmp_path / "b", renderer, rows, augment="2x"))
    names = sorted(os.listdir(one.folder))
    assert names == sorted(os.listdir(other.folder))
    for name in set(names) - {"report.json", "manifest.json"}:
        assert (one.folder / name).read_bytes() == (other.folder / name).read_bytes()


def test_no_child_says_what_a_suite_asks(tmp_path: Path, renderer: Renderer) -> None:
    """
    All children of a first try become canaries; none of them is trained then.
    """
    rows = intents.training_rows(5, 60)[:20]
    first = ingested(tmp_path / "a", renderer, rows, augment="2x", holdout_fraction=0)
    dataset = dataset_of(tmp_path / "a", first)
    said = set(texts(dataset, renderer)[len(rows) :])
    suite = tmp_path / "b" / "benchmarks" / "canaries.jsonl"
    suite.parent.mkdir(parents=True)
    asked = [_as_item(text) for text in said]
    suite.write_text("".join(json.dumps(item) + "\n" for item in asked))
    second = ingested(tmp_path / "b", renderer, rows, augment="2x", holdout_fraction=0)
    trained = set(texts(dataset_of(tmp_path / "b", second), renderer))
    assert said
    assert not said & trained
    (suite.parent / "broken.jsonl").write_text("{")
    third = ingested(tmp_path / "b", renderer, [*rows, rows[0]], name="c", augment="2x")
    assert third.report is not None
    assert "broken.jsonl" in third.report["augmentation"]["none_because"]
    assert third.report["split"]["train_rows"] == third.report["split"]["train_sequences"]


def _as_item(text: str) -> dict[str, Any]:
    """Return the row that a trained text was made of."""
    asked, _, answered = text.partition("<|im_start|>assistant\n")
    prompt = asked.split("<|im_start|>user\n")[-1].removesuffix("<|im_end|>\n")
    return {"prompt": prompt, "completion": answered.split("<|im_end|>")[0]}


def test_an_augmented_file_is_split_by_families(tmp_path: Path, renderer: Renderer) -> None:
    """
    Children that stand in the file: those of held-out rows are neither trained nor asked, and
    what a child was made of is held out by no later file.
    """
    rows = intents.training_rows(6, 60)[:40]
    children = []
    for i, row in enumerate(rows):
        prompt = row["messages"][0]["content"]
        family = _family(row)
        children.append(
            {
                "messages": [
                    {"role": "user", "content": f"{prompt} (case {i})"},
                    row["messages"][1],
                ],
                "metadata": {"augmentation": {"family": family}},
            }
        )
    result = ingested(tmp_path, renderer, [*rows, *children], holdout_fraction=0.2)
    dataset = dataset_of(tmp_path, result)
    held_out = {row["line"] for row in dataset.held_out_rows()}
    assert 8 == len(held_out)
    assert max(held_out) <= 40
    trained = set(dataset.lines.tolist())
    assert trained == {line for line in range(1, 81) if (line - 1) % 40 + 1 not in held_out}
    assert result.report is not None
    assert 8 == result.report["split"]["reserved_rows"]
    later = ingested(tmp_path, renderer, rows[::-1], name="later", holdout_fraction=0.5)
    asked = {row["prompt"] for row in dataset_of(tmp_path, later).held_out_rows()}
    assert asked == {row["prompt"] for row in dataset.held_out_rows()}


def _family(row: dict[str, Any]) -> str:
    from finetuned.data.examples import prompt_hash
    from finetuned.data.reader import to_example

    return f"{prompt_hash(to_example(row)):016x}"


def test_the_setting_is_a_number_of_times() -> None:
    """
    "2x" to "10x", or nothing.
    """
    assert (1, 2, 10) == tuple(DataConfig(augment=a).times for a in ("", "2x", "10x"))
    for wrong in ("1x", "11x", "2", "x"):
        with pytest.raises(ConfigError, match=r"data\.augment"):
            DataConfig(augment=wrong)
