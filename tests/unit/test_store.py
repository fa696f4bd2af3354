"""
What is written to a dataset's folder is what is read from it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from finetuned.data import store
from finetuned.data.holdout import TRAIN, PromptIndex, choose_holdout
from finetuned.data.store import DatasetWriter, TokenisedDataset
from finetuned.data.training_sequence import TrainingSequence
from finetuned.errors import CorruptFile, ModelError
from finetuned.files.manifest import write_manifest

Rows = list[tuple[int, int, list[tuple[list[int], list[bool]]]]]

ROWS: Rows = [
    (1, 30, [([1, 2, 3], [False, True, True])]),
    (2, 10, [([4, 151_935], [False, True]), ([4, 5, 6, 7], [False, False, False, True])]),
    (5, 20, [([8], [True])]),
    (9, 40, [([9, 9], [True, True])]),
]


def _write(folder: Path, rows: Rows, fraction: float) -> int:
    writer = DatasetWriter(folder)
    for line, prompt, sequences in rows:
        writer.add(
            line=line,
            offset=line * 100,
            n_bytes=7,
            prompt_hash=prompt,
            sequences=[TrainingSequence(ids, mask) for ids, mask in sequences],
        )
    writer.close()
    holdout = choose_holdout(
        writer.prompt_hashes,
        writer.n_rows,
        fraction=fraction,
        min_rows=1,
        max_rows=200,
        trained=PromptIndex(),
        held_out=PromptIndex(),
    )
    n_train = writer.apply_holdout(holdout)
    writer.forget_rows()
    (folder / store.HELD_OUT_EXAMPLES).write_bytes(b"")
    write_manifest(folder, {"dataset_id": "d1", "n_train_sequences": n_train})
    return n_train


def test_every_sequence_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """
    Ids, masks, lengths and lines, in the order of the file.
    """
    assert 5 == _write(tmp_path, ROWS, fraction=0.0)
    dataset = TokenisedDataset.open(tmp_path)

    expected = [pair for _, _, sequences in ROWS for pair in sequences]
    found = [dataset[i] for i in range(len(dataset))]
    assert expected == [(ids.tolist(), mask.tolist()) for ids, mask in found]
    assert [3, 2, 4, 1, 2] == dataset.lengths.tolist()
    assert [2, 1, 1, 1, 2] == dataset.supervised_counts.tolist()
    assert ["d1:1", "d1:2", "d1:2", "d1:5", "d1:9"] == [dataset.example_id(i) for i in range(5)]


def test_held_out_sequences_are_not_in_the_list(tmp_path: Path) -> None:
    """
    The prompt of lowest hash is held out, with all sequences of its row; order stays.
    """
    assert 3 == _write(tmp_path, ROWS, fraction=0.25)
    dataset = TokenisedDataset.open(tmp_path)

    assert ["d1:1", "d1:5", "d1:9"] == [dataset.example_id(i) for i in range(len(dataset))]
    assert [8] == dataset[1][0].tolist()
    with pytest.raises(IndexError):
        dataset[3]
    records = np.fromfile(tmp_path / store.SEQUENCES, dtype=store.SEQUENCE)
    assert [TRAIN, TRAIN, TRAIN, 1, 1] == records["split"].tolist()


def test_a_folder_without_manifest_is_not_a_dataset(tmp_path: Path) -> None:
    """
    The rest of a crash cannot be opened.
    """
    _write(tmp_path, ROWS, fraction=0.0)
    (tmp_path / "manifest.json").unlink()

    with pytest.raises(ModelError):
        TokenisedDataset.open(tmp_path)


def test_files_that_disagree_are_not_opened(tmp_path: Path) -> None:
    """
    A cut file is found before it is trained on.
    """
    _write(tmp_path, ROWS, fraction=0.0)
    (tmp_path / store.SUPERVISED).write_bytes(b"\1")

    with pytest.raises(CorruptFile):
        TokenisedDataset.open(tmp_path)


def test_the_table_of_rows_finds_each_line_in_the_source(tmp_path: Path) -> None:
    """
    The second pass reads lines by offset, without parsing what lies between.
    """
    writer = DatasetWriter(tmp_path)
    for line, prompt, sequences in ROWS:
        writer.add(
            line=line,
            offset=line * 100,
            n_bytes=7,
            prompt_hash=prompt,
            sequences=[TrainingSequence(ids, mask) for ids, mask in sequences],
        )
    writer.close()
    (rows,) = writer.rows()

    assert [100, 200, 500, 900] == rows["offset"].tolist()
    assert [30, 10, 20, 40] == rows["prompt_hash"].tolist()
