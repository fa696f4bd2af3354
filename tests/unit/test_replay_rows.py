"""
Which earlier rows a job presents again.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from finetuned.core.replay_quota import Because, Quota
from finetuned.data.families import Look, look
from finetuned.data.replay import Reservoir, file_of
from finetuned.training.replay_rows import MOST_TOLD, Drawn, draw, told

KINDS = {"a": 0, "b": 1000, "c": 2000}


class Dataset:
    """
    A file of rows whose tokens are those of its kind.
    """

    def __init__(self, name: str, n: int) -> None:
        self.dataset_id = (name.encode().hex() + "0" * 16)[:16]
        self.kind, self.n = KINDS[name[0]], n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        tokens = self.kind + np.array([1, 2, 3, i % 5, 4, 5, 6, i % 3])
        return tokens, np.arange(8) >= 4

    def example_id(self, i: int) -> str:
        return f"{self.dataset_id}:{i}"


def sample_of(*several: Dataset) -> Reservoir:
    found = Reservoir.empty()
    for dataset in several:
        found = found.with_dataset(dataset, capacity=400, seed=0)
    return found


def own(name: str) -> list[Look]:
    dataset = Dataset(name, 60)
    return [look([dataset[i] for i in range(60)])]


def times_of(sample: Reservoir, drawn: list[Drawn]) -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = {}
    for numbers in (d.numbers.tolist() for d in drawn):
        for n in numbers:
            found.setdefault(file_of(sample.example_ids[n]), Counter())[n] += 1
    return found


def test_each_family_is_presented_equally_often_and_each_of_its_files() -> None:
    """
    Three files of one kind share what the one file of another has for itself.
    """
    files = [Dataset(name, 40) for name in ("a1", "a2", "a3", "b1")]
    sample = sample_of(*files)
    drawn = draw(sample, own=own("c"), presentations=120, new=1000, weights={}, seed=1)
    times = times_of(sample, drawn)

    assert [40, 40, 40, 120] == [times[f.dataset_id].total() for f in files]
    assert all(max(t.values()) - min(t.values()) <= 1 for t in times.values())
    ids = [f.dataset_id for f in files]
    assert {
        f"120 rows of 3 files ({ids[0]}, ...): as configured",
        f"120 rows of 1 file ({ids[3]}): as configured",
    } == set(told(drawn))


def test_a_family_of_the_new_kind_gets_little_and_says_so() -> None:
    """
    The other family is not touched by that.
    """
    files = [Dataset(name, 40) for name in ("a1", "a2", "b1")]
    drawn = draw(sample_of(*files), own=own("a"), presentations=120, new=400, weights={}, seed=1)
    given = {d.files[0]: (len(d.numbers), d.quota.because) for d in drawn}

    assert (120, Because.EQUAL) == given[files[2].dataset_id]
    assert [(21, Because.SAME_KIND)] == [g for f, g in given.items() if f != files[2].dataset_id]


def test_a_file_that_slips_is_presented_more_often() -> None:
    """
    Also where the new rows are of its kind.
    """
    files = [Dataset("a1", 40), Dataset("b1", 40)]
    weights = {files[0].dataset_id: 2.0}
    drawn = draw(
        sample_of(*files), own=own("a"), presentations=60, new=400, weights=weights, seed=1
    )

    assert {files[0].dataset_id: 120, files[1].dataset_id: 60} == {
        d.files[0]: len(d.numbers) for d in drawn
    }


def test_the_draw_is_a_function_of_the_sample_and_the_seed() -> None:
    """
    A run that goes on draws what the first one drew; another job draws others.
    """
    sample = sample_of(Dataset("a1", 40), Dataset("b1", 40))

    def numbers(seed: int) -> list[list[int]]:
        drawn = draw(sample, own=[], presentations=30, new=400, weights={}, seed=seed)
        return sorted(d.numbers.tolist() for d in drawn)

    assert numbers(1) == numbers(1)
    assert numbers(1) != numbers(2)


@pytest.mark.parametrize("new", [1, 3, 40])
def test_with_more_families_than_presentations_another_job_has_others(new: int) -> None:
    """
    Chance decides, not the order: over jobs nobody is left out.
    """
    files = [Dataset(name, 40) for name in ("a1", "b1", "c1")]
    sample, met = sample_of(*files), set()
    for seed in range(30):
        drawn = draw(sample, own=[], presentations=300, new=new, weights={}, seed=seed)
        assert new == sum(len(d.numbers) for d in drawn)
        met |= {f for d in drawn for f in d.files if len(d.numbers)}

    assert {f.dataset_id for f in files} == met


def test_families_that_are_not_named_are_counted() -> None:
    """
    The log of a long lineage stays short, and its sums still agree.
    """
    drawn = [
        Drawn((f"f{i:02d}",), Quota(20 - i, Because.EQUAL), np.arange(20 - i)) for i in range(13)
    ]
    said = told(drawn)

    assert MOST_TOLD + 1 == len(said)
    assert "20 rows of 1 file (f00): as configured" == said[0]
    assert "27 rows of 3 more families" == said[-1]
    assert MOST_TOLD == len(told(drawn[:MOST_TOLD]))
