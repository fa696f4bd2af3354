"""
The rows of a job by number: its datasets in order, then what is replayed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from finetuned.config import TrainingConfig
from finetuned.data import store
from finetuned.data.holdout import PromptIndex, choose_holdout
from finetuned.data.replay import Reservoir
from finetuned.data.store import DatasetWriter, TokenisedDataset
from finetuned.data.training_sequence import TrainingSequence
from finetuned.files.manifest import write_manifest
from finetuned.training.rows import JobRows


def write_dataset(folder: Path, name: str, lengths: list[int]) -> Path:
    """
    Write a dataset of one sequence per length; its last token is supervised.
    """
    (folder / name).mkdir()
    writer = DatasetWriter(folder / name)
    for line, n in enumerate(lengths, 1):
        ids, supervised = list(range(line, line + n)), [False] * (n - 1) + [True]
        prompt = line + 1000 * len(name)
        sequences = [TrainingSequence(ids, supervised)]
        writer.add(line=line, offset=0, n_bytes=1, prompt_hash=prompt, sequences=sequences)
    writer.close()
    nothing = choose_holdout(
        writer.prompt_hashes,
        writer.n_rows,
        fraction=0.0,
        min_rows=0,
        max_rows=0,
        trained=PromptIndex(),
        held_out=PromptIndex(),
    )
    n_train = writer.apply_holdout(nothing)
    writer.forget_rows()
    (folder / name / store.HELD_OUT_EXAMPLES).write_bytes(b"")
    write_manifest(folder / name, {"dataset_id": name, "n_train_sequences": n_train})
    return folder / name


@pytest.fixture
def rows(tmp_path: Path) -> JobRows:
    """
    Three rows of a, two of bb, and both rows of ccc replayed: numbers 0 to 6.
    """
    folders = [write_dataset(tmp_path, "a", [3, 4, 5]), write_dataset(tmp_path, "bb", [6, 7])]
    earlier = TokenisedDataset.open(write_dataset(tmp_path, "ccc", [8, 9]))
    replay = Reservoir.empty().with_dataset(earlier, capacity=10, seed=0)
    return JobRows(folders, ["a.jsonl", "b.jsonl"], replay)


def test_numbers_run_over_the_datasets_and_then_over_the_replay(rows: JobRows) -> None:
    """
    Each number is one row: its id, its file, its tokens.
    """
    assert (7, 5) == (len(rows), rows.n_new)
    assert ["a:1", "a:2", "a:3", "bb:1", "bb:2"] == [rows.example_id(n) for n in range(5)]
    assert {"ccc:1", "ccc:2"} == {rows.example_id(n) for n in (5, 6)}
    names = [rows.name_of(n) for n in range(7)]
    assert ["a.jsonl"] * 3 + ["b.jsonl"] * 2 + ["(replay)"] * 2 == names
    assert rows.lengths.tolist() == [len(rows[n][0]) for n in range(7)]
    assert [3, 4, 5, 6, 7] == rows.lengths[:5].tolist()


def test_without_replay_every_number_is_new(tmp_path: Path) -> None:
    """
    A first job has an empty reservoir.
    """
    rows = JobRows([write_dataset(tmp_path, "a", [3, 4])], ["a.jsonl"])
    assert (2, 2) == (len(rows), rows.n_new)


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_steps_of_a_plan_name_every_row(rows: JobRows, epochs: int) -> None:
    """
    New rows once per epoch, replayed ones apart; tokens without padding; epochs from 0.
    """
    config = TrainingConfig(per_device_train_batch_size=2, num_train_epochs=epochs)
    plan = rows.plan(config, seed=3, world=1)
    steps = [rows.of_step(plan, k, epochs=epochs) for k in range(1, len(plan) + 1)]

    new = Counter(name for step in steps for name in step.examples)
    assert dict.fromkeys(["a:1", "a:2", "a:3", "bb:1", "bb:2"], epochs) == new
    assert {"ccc:1", "ccc:2"} == {name for step in steps for name in step.replayed}
    for k, step in enumerate(steps):
        numbers = plan.numbers(k)
        assert len(numbers) == len(step.examples) + len(step.replayed)
        assert int(np.sum(rows.lengths[numbers])) == step.tokens
        assert rows.name_of(numbers[0]) == step.current_file
    found = [step.epoch for step in steps]
    assert found == sorted(found)
    assert set(range(epochs)) == set(found)


def test_more_processes_make_wider_steps_of_the_same_rows(rows: JobRows) -> None:
    """
    Two processes train every row in fewer steps than one.
    """
    config = TrainingConfig(per_device_train_batch_size=2)
    alone, both = (rows.plan(config, seed=3, world=world) for world in (1, 2))

    assert len(both) < len(alone)
    assert sorted(both.order.tolist()) == sorted(alone.order.tolist())
