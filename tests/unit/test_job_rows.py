"""
The rows of a job by number: its datasets in order, then what is replayed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from finetuned.config import TrainingConfig
from finetuned.core.line_set import LineSet
from finetuned.data import store
from finetuned.data.holdout import PromptIndex, choose_holdout
from finetuned.data.replay import Reservoir
from finetuned.data.store import DatasetWriter, TokenisedDataset
from finetuned.data.training_sequence import TrainingSequence
from finetuned.files.manifest import write_manifest
from finetuned.training.coverage import BOTH, LEFT_OUT, STOPPED_EARLY, coverage
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
    config = TrainingConfig(per_device_train_batch_size=2, num_train_epochs=1)
    alone, both = (rows.plan(config, seed=3, world=world) for world in (1, 2))

    assert len(both) < len(alone)
    assert sorted(both.order.tolist()) == sorted(alone.order.tolist())


def test_of_a_dataset_only_the_chosen_lines_are_planned(tmp_path: Path) -> None:
    """
    What an earlier job has learnt of it is not trained again; numbers and ids stay the same.
    """
    folders = [write_dataset(tmp_path, "a", [3, 4, 5]), write_dataset(tmp_path, "bb", [6, 7])]
    rows = JobRows(folders, ["a", "b"], lines=[LineSet.of([1, 3]), None])
    config = TrainingConfig(per_device_train_batch_size=2, num_train_epochs=1)
    plan = rows.plan(config, seed=3, world=1)

    assert [0, 2, 3, 4] == sorted(plan.order.tolist()) == rows.chosen.tolist()
    assert (5, 4) == (rows.n_new, rows.n_supervised)
    assert ["a:1", "a:3", "bb:1", "bb:2"] == [rows.example_id(n) for n in rows.chosen.tolist()]
    with pytest.raises(ValueError, match="no example"):
        JobRows(folders, ["a", "b"], lines=[LineSet(), LineSet()]).plan(config, seed=3, world=1)


@pytest.mark.parametrize(
    ("made", "left_out", "because"),
    [
        (3, [], None),
        (2, [], STOPPED_EARLY),
        (3, [3], LEFT_OUT),
        (2, [1], BOTH),
        (6, [1, 2, 3], None),  # the second pass had them
    ],
)
def test_rows_that_no_step_had_are_known_with_the_reason(
    tmp_path: Path, made: int, left_out: list[int], because: str | None
) -> None:
    """
    Two passes of three steps of one row: only a step that was made, and not left out, teaches.
    """
    rows = JobRows([write_dataset(tmp_path, "a", [3, 4, 5])], ["a"])
    config = TrainingConfig(per_device_train_batch_size=1, num_train_epochs=2)
    plan = rows.plan(config, seed=3, world=1)
    steps = [k for k in range(made) if k + 1 not in left_out]
    had = [n for k in steps for n in plan.numbers(k)]
    (part,) = coverage(rows, plan, job_steps=made, left_out=left_out)

    assert sorted({0, 1, 2} - set(had)) == [line - 1 for line in part.unseen.lines()]
    assert because == part.unseen_because
    assert [n in had for n in range(3)] == part.seen.tolist()
    assert (len(had), len(had)) == (part.n_examples, part.n_supervised_tokens)


def test_a_job_of_a_part_says_only_why_that_part_was_left_out(tmp_path: Path) -> None:
    """
    The other lines are none of its business, but it has not taught them either.
    """
    rows = JobRows([write_dataset(tmp_path, "a", [3, 4, 5])], ["a"], lines=[LineSet.of([2])])
    plan = rows.plan(
        TrainingConfig(per_device_train_batch_size=1, num_train_epochs=1), seed=3, world=1
    )
    (part,) = coverage(rows, plan, job_steps=1, left_out=[])

    assert [1, 3] == part.unseen.lines()
    assert part.unseen_because is None


def test_what_no_step_had_is_not_replayed(tmp_path: Path) -> None:
    """
    Later jobs would learn it by replay, while the books say that nobody has.
    """
    dataset = TokenisedDataset.open(write_dataset(tmp_path, "a", [3, 4, 5]))
    seen = np.array([True, False, True])
    replay = Reservoir.empty().with_dataset(dataset, capacity=10, seed=0, seen=seen)

    assert {"a:1", "a:3"} == set(replay.example_ids)
