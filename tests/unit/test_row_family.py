"""
Families: a row and its children are on one side of every split, in one file and across files.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data import store
from finetuned.data.examples import prompt_hash
from finetuned.data.holdout import HELD_OUT, RESERVED, TRAIN, PromptIndex, choose_holdout
from finetuned.data.reader import to_example
from finetuned.data.row_family import family_of, is_child
from finetuned.data.store import DatasetWriter
from finetuned.data.training_sequence import TrainingSequence

ROWS = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=30)
"""Prompt and family of each row; a row whose prompt is its family is an original."""


def test_a_row_that_was_made_of_another_has_its_family() -> None:
    """
    The family is the parent's prompt hash; what is no such hash says nothing.
    """
    parent = to_example({"prompt": "a", "completion": "b"})
    assert prompt_hash(parent) == family_of(parent)
    assert not is_child(parent)
    told = {"augmentation": {"family": f"{prompt_hash(parent):016x}"}}
    child = to_example({"prompt": "a!", "completion": "b", "metadata": told})
    assert prompt_hash(parent) == family_of(child)
    assert is_child(child)
    for odd in ({"family": "xyz"}, {"family": 7}, "text", {"other": 1}):
        row = to_example({"prompt": "c", "completion": "b", "metadata": {"augmentation": odd}})
        assert not is_child(row)


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_no_family_is_on_both_sides_of_any_split(files: list[list[tuple[int, int]]]) -> None:
    """
    Files that follow one another: what is asked was never trained, nor any row of its family.
    """
    trained, held_out = PromptIndex(), PromptIndex()
    asked: set[int] = set()
    learnt: set[int] = set()
    for rows in files:
        with TemporaryDirectory() as folder:
            splits = _split(Path(folder), rows, trained, held_out)
        for (prompt, family), split in zip(rows, splits, strict=True):
            if split == TRAIN:
                learnt |= {prompt, family}
            elif split == HELD_OUT:
                assert prompt == family
                asked.add(prompt)
            else:
                assert RESERVED == split
    assert not asked & learnt


def _split(
    folder: Path, rows: list[tuple[int, int]], trained: PromptIndex, held_out: PromptIndex
) -> list[int]:
    """Split one file, and add what it trained and held out, as ingestion does."""
    writer = DatasetWriter(folder)
    for line, (prompt, family) in enumerate(rows, start=1):
        writer.add(
            line=line,
            offset=0,
            n_bytes=0,
            prompt_hash=prompt,
            family=family,
            sequences=[TrainingSequence([line], [True])],
        )
    writer.close()
    holdout = choose_holdout(
        writer.prompt_hashes,
        writer.n_originals,
        fraction=0.4,
        min_rows=1,
        max_rows=200,
        trained=trained,
        held_out=held_out,
    )
    prompts, families = (np.array(part, dtype=np.uint64) for part in zip(*rows, strict=True))
    splits = holdout.split(prompts, families)
    n_train = writer.apply_holdout(holdout)
    records = np.fromfile(folder / store.SEQUENCES, dtype=store.SEQUENCE)
    assert n_train == int((splits == TRAIN).sum())
    assert {int(r["line"]): int(r["split"]) for r in records} == {
        line: int(split) for line, split in enumerate(splits, start=1)
    }
    trains = splits == TRAIN
    trained.add(np.unique(np.concatenate([prompts[trains], families[trains]])))
    others = np.unique(prompts[~trains])
    held_out.add(others[~trained.contains(others)])
    return [int(split) for split in splits]
