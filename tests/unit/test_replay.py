import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from finetuned.data.replay import ARRAYS, IDS, Reservoir, file_of, priorities
from finetuned.errors import ModelError

quick = settings(deadline=None, max_examples=25)
capacities = st.integers(0, 40)


class Dataset:
    """
    A dataset of n rows whose tokens tell dataset and row; counts the rows read.
    """

    def __init__(self, name, n, rows_per_example=1):
        self.dataset_id = hashlib.sha256(str(name).encode()).hexdigest()[:16]
        self.n = n
        self.rows_per_example = rows_per_example
        self.read = 0

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.read += 1
        tokens = np.array([int(self.dataset_id[:6], 16), i, *range(i % 7 + 1)])
        return tokens, np.arange(len(tokens)) >= 2

    def example_id(self, i):
        return f"{self.dataset_id}:{i // self.rows_per_example}"


datasets = st.lists(
    st.builds(
        Dataset,
        st.integers(0, 5),
        st.integers(0, 60),
        st.just(1) | st.integers(1, 3),
    ),
    max_size=5,
    unique_by=lambda d: d.dataset_id,  # a dataset's rows do not depend on when it is met
)


def of(*several, capacity, seed=0):
    found = Reservoir.empty()
    for dataset in several:
        found = found.with_dataset(dataset, capacity=capacity, seed=seed)
    return found


def content(reservoir):
    return [
        (int(p), name, *(part.tolist() for part in reservoir[i]))
        for i, (p, name) in enumerate(zip(reservoir.priorities, reservoir.example_ids, strict=True))
    ]


@given(datasets, capacities, st.randoms(use_true_random=False))
@quick
def test_the_order_of_datasets_does_not_matter(several, capacity, random):
    """
    The reservoir is a function of what was trained, not of when.
    """
    shuffled = random.sample(several, len(several))

    assert content(of(*several, capacity=capacity)) == content(of(*shuffled, capacity=capacity))


@given(datasets, datasets, datasets, capacities)
@quick
def test_merging_is_associative_commutative_and_idempotent(first, second, third, capacity):
    """
    Reservoirs are merged in any order, any number of times.
    """
    # The same name stands for the same rows in all three, as a content hash does.
    known = {d.dataset_id: d for d in [*first, *second, *third]}
    a, b, c = (
        of(*(known[d.dataset_id] for d in part), capacity=capacity)
        for part in (first, second, third)
    )

    assert content(a.merged(b, capacity)) == content(b.merged(a, capacity))
    assert content(a.merged(b, capacity).merged(c, capacity)) == content(
        a.merged(b.merged(c, capacity), capacity)
    )
    assert content(a) == content(a.merged(a, capacity))
    assert content(a) == content(a.merged(Reservoir.empty(), capacity))


@given(datasets, capacities)
@quick
def test_of_each_file_the_examples_with_the_smallest_priorities_are_kept(several, capacity):
    """
    In turn one of each file, as many as there is room for, one row per example.
    """
    smallest = {}
    for d in several:
        of_file = smallest.setdefault(d.dataset_id, {})
        for i, p in enumerate(priorities(d.dataset_id, len(d), 0).tolist()):
            name = d.example_id(i)
            of_file[name] = min(of_file.get(name, (2**64,)), (p, name, *row_of(d, i)))
    in_turn = sorted(
        (turn, row) for f in smallest.values() for turn, row in enumerate(sorted(f.values()))
    )

    expected = sorted(row for _, row in in_turn[:capacity])
    assert expected == content(of(*several, capacity=capacity))


def row_of(dataset, i):
    tokens, supervised = dataset[i]
    return tokens.tolist(), supervised.tolist()


def test_a_file_trained_again_counts_once():
    """
    The same example is never in the reservoir twice.
    """
    a, b = Dataset("a", 30), Dataset("b", 30)
    once, again = of(a, b, capacity=50), of(a, b, a, Dataset("a", 30), capacity=50)

    assert 50 == len(once) == len(set(again.example_ids))
    assert content(once) == content(again)


def test_examples_fill_the_capacity_even_where_each_has_many_rows():
    """
    A conversation of many rows counts as one; the next ones are looked for.
    """
    found = of(Dataset("a", 4000, rows_per_example=100), capacity=40)

    assert 40 == len(set(found.example_ids)) == len(found)


def test_only_rows_that_are_kept_are_read():
    """
    A dataset of a million rows costs a reservoir of 100 no more than the rows it has room for.
    """
    first, second, small = Dataset("a", 1_000_000), Dataset("b", 1_000_000), Dataset("c", 1000)
    half = of(first, capacity=100)
    of_both = half.with_dataset(second, capacity=100, seed=0)
    of_three = of_both.with_dataset(small, capacity=100, seed=0)

    assert [100, 51, 34] == [d.read for d in (first, second, small)]
    assert [33, 33, 34] == sorted(Counter(map(file_of, of_three.example_ids)).values())


def test_a_small_file_is_kept_whole_beside_a_large_one():
    """
    What it does not need goes to the others; with more files than room, each has a row at most.
    """
    found = of(Dataset("large", 10_000), Dataset("small", 7), capacity=50)
    files = Counter(map(file_of, found.example_ids))
    many = of(*(Dataset(i, 20) for i in range(40)), capacity=30)

    assert [7, 43] == sorted(files.values())
    assert [1] * 30 == list(Counter(map(file_of, many.example_ids)).values())


def test_the_sample_of_a_file_is_uniform():
    """
    Rows early and late in a file are kept equally often: chi-square, p > 0.001.
    """
    several = [Dataset(i, 60) for i in range(2)]
    kept = {d.example_id(i): 0 for d in several for i in range(len(d))}
    n_seeds, capacity = 400, 12
    for seed in range(n_seeds):
        for name in of(*several, capacity=capacity, seed=seed).example_ids:
            kept[name] += 1
    expected = n_seeds * capacity / len(kept)
    # Kept 6 of 60 without replacement: the variance is 0.9 of a Poisson count's.
    chi_square = sum((n - expected) ** 2 for n in kept.values()) / (0.9 * expected)

    assert 70 < chi_square < 174  # 118 degrees of freedom


@given(st.integers(0, 300), st.integers(0, 300), st.integers(-(2**70), 2**70))
@quick
def test_a_priority_belongs_to_its_row(n, more, seed):
    """
    It depends on dataset, row and seed, not on how many rows follow.
    """
    few, many = (priorities("0123456789abcdef", k, seed) for k in (n, n + more))

    assert few.tolist() == many[:n].tolist()
    assert n + more == len(set(many.tolist()))


def splitmix64(state):
    """
    Yield the stream of Vigna's reference implementation, in whole numbers.
    """
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        yield z ^ (z >> 31)


def test_priorities_are_splitmix64():
    """
    The numbers are fixed for ever: a reservoir of last year is merged with today's.
    """
    assert 6457827717110365317 == next(splitmix64(1234567))  # as published

    gamma = 0x9E3779B97F4A7C15
    seed_hash = next(splitmix64(7 - gamma))
    start = next(splitmix64((seed_hash ^ 0xFF) - gamma))
    expected = [p for p, _ in zip(splitmix64(start), range(5), strict=False)]
    assert expected == priorities("00000000000000ff", 5, 7).tolist()


def test_other_datasets_and_seeds_have_other_priorities():
    """
    Two datasets are sampled independently.
    """
    a, b, c = (
        set(priorities(name, 1000, seed).tolist())
        for name, seed in (("0" * 16, 0), ("0" * 15 + "1", 0), ("0" * 16, 1))
    )

    assert set() == a & b == a & c == b & c


@given(datasets, capacities)
@quick
def test_a_reservoir_comes_back_as_it_was_saved(tmp_path_factory, several, capacity):
    """
    Save and load lose nothing.
    """
    folder = tmp_path_factory.mktemp("reservoir")
    saved = of(*several, capacity=capacity)
    saved.save(folder)

    assert content(saved) == content(Reservoir.load(folder))


def damage_arrays(change):
    def damage(folder):
        arrays = load_file(folder / ARRAYS)
        change(arrays)
        save_file(arrays, folder / ARRAYS)

    return damage


def truncate(folder):
    data = (folder / ARRAYS).read_bytes()
    (folder / ARRAYS).write_bytes(data[:-5])


DAMAGES = {
    "no arrays": lambda folder: (folder / ARRAYS).unlink(),
    "no ids": lambda folder: (folder / IDS).unlink(),
    "cut off": truncate,
    "not safetensors": lambda folder: (folder / ARRAYS).write_bytes(b"\xff" * 200),
    "empty": lambda folder: (folder / ARRAYS).write_bytes(b""),
    "ids are no JSON": lambda folder: (folder / IDS).write_bytes(b'["a'),
    "ids are no list": lambda folder: (folder / IDS).write_bytes(b'{"a": 1}'),
    "ids are no text": lambda folder: (folder / IDS).write_bytes(b"[1, 2]"),
    "too few ids": lambda folder: (folder / IDS).write_bytes(b'["a"]'),
    "an array is missing": damage_arrays(lambda a: a.pop("supervised")),
    "another array": damage_arrays(lambda a: a.update(more=np.zeros(2))),
    "another type": damage_arrays(lambda a: a.update(tokens=a["tokens"].astype(np.int64))),
    "another shape": damage_arrays(lambda a: a.update(tokens=a["tokens"][None])),
    "fewer tokens": damage_arrays(lambda a: a.update(tokens=a["tokens"][:-1])),
    "a shorter mask": damage_arrays(lambda a: a.update(supervised=a["supervised"][:-1])),
    "a mask of 2": damage_arrays(lambda a: a["supervised"].__setitem__(0, 2)),
    "offsets go back": damage_arrays(lambda a: a["offsets"].__setitem__(1, 10**6)),
    "offsets begin late": damage_arrays(lambda a: a["offsets"].__setitem__(0, 1)),
    "out of order": damage_arrays(lambda a: a.update(priorities=a["priorities"][::-1].copy())),
    "an id twice": lambda folder: (folder / IDS).write_bytes(b'["a", "a", "b", "c"]'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_reservoir_is_refused(tmp_path, damage):
    """
    Rows are never cut at other places than they were written.
    """
    of(Dataset("a", 4), capacity=4).save(tmp_path)
    damage(tmp_path)

    with pytest.raises(ModelError):
        Reservoir.load(tmp_path)


def test_a_row_beyond_the_end_is_an_error():
    """
    A negative number is no row either.
    """
    reservoir = of(Dataset("a", 3), capacity=3)

    for i in (-1, 3):
        with pytest.raises(IndexError):
            reservoir[i]
