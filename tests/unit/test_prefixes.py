from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.prefixes import BLOCK_TOKENS, block_reader, find_prefixes

quick = settings(deadline=None, max_examples=25)


@st.composite
def trees(draw):
    """
    Rows over a small alphabet of blocks, so that beginnings are shared at many depths.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(0, 80))
    variety = draw(st.sampled_from([1, 2, 3]))
    rows = []
    for _ in range(n):
        blocks = np.repeat(rng.integers(0, variety, rng.integers(0, 7)), BLOCK_TOKENS)
        rows.append(np.append(blocks, rng.integers(0, 1000, rng.integers(1, 20))))
    limits = np.array([rng.integers(0, len(r)) for r in rows], dtype=np.int64)
    return rows, limits, draw(st.integers(1, 20))


def find(rows, limits, k, **options):
    lengths = np.array([len(r) for r in rows], dtype=np.int64)
    tokens = np.concatenate([*rows, np.empty(0)]).astype(np.uint32)
    read = block_reader([(tokens, np.cumsum(lengths) - lengths)])
    return find_prefixes(read, np.asarray(limits), rows_per_batch=k, **options)


def prompt(seed, n):
    return np.random.default_rng(seed).integers(0, 1000, n)


def rows_of(*prompts_and_counts):
    rng = np.random.default_rng(99)
    return [
        np.append(beginning, rng.integers(1000, 9000, 30))
        for beginning, count in prompts_and_counts
        for _ in range(count)
    ]


def classes(prefixes):
    """
    Return {(shared tokens, rows)} of all classes.
    """
    sizes = np.bincount(prefixes.class_of[prefixes.class_of >= 0], minlength=len(prefixes.lengths))
    return Counter(zip(prefixes.lengths.tolist(), sizes.tolist(), strict=True))


@given(trees())
@quick
def test_rows_of_a_class_begin_alike(tree):
    """
    What a class says is shared is the same in all its rows and within their limits.
    """
    rows, limits, k = tree
    prefixes = find(rows, limits, k)

    assert len(rows) == len(prefixes.class_of)
    for c, length in enumerate(prefixes.lengths):
        members = np.flatnonzero(prefixes.class_of == c)
        assert 2 <= len(members)
        assert BLOCK_TOKENS <= length
        assert 1 == len({rows[i][:length].tobytes() for i in members})
        assert (limits[members] >= length).all()


@given(trees())
@quick
def test_every_class_pays(tree):
    """
    A class costs less than its rows would without any prefix.
    """
    rows, limits, k = tree
    for shared, n in classes(find(rows, limits, k)):
        assert -(-n // k) * shared < n * shared


@given(trees())
@quick
def test_the_same_rows_give_the_same_classes(tree):
    """
    A plan made again on resume has the same classes with the same numbers.
    """
    a, b = find(*tree), find(*tree)

    assert a.class_of.tolist() == b.class_of.tolist()
    assert a.lengths.tolist() == b.lengths.tolist()


def test_every_prompt_is_a_class():
    """
    Unlike beginnings part at their first block; the shared length is whole blocks.
    """
    rows = rows_of((prompt(1, 40), 20), (prompt(2, 100), 30), (prompt(3, 64), 5))
    found = find(rows, [len(r) for r in rows], 16)

    assert {(32, 20): 1, (96, 30): 1, (64, 5): 1} == classes(found)


def test_a_job_of_one_prompt_is_one_class_of_its_longest_prefix():
    """
    A chain of groups with the same rows collapses to the deepest.
    """
    rows = rows_of((prompt(1, 170), 64))

    assert {(160, 64): 1} == classes(find(rows, [len(r) for r in rows], 16))
    assert {(160, 2): 1} == classes(find(rows[:2], [len(r) for r in rows[:2]], 16))


def test_limits_bound_what_is_shared():
    """
    Supervised tokens are never shared, however alike.
    """
    rows = rows_of((prompt(1, 100), 10))

    assert {(48, 10): 1} == classes(find(rows, [50] * 10, 16))
    assert {} == classes(find(rows, [15] * 10, 16))


def test_a_longer_prefix_of_many_rows_is_a_class_of_its_own():
    """
    The system prompt is shared by all, each of two long instructions by half of them.
    """
    system = prompt(1, 32)
    rows = rows_of(
        (np.append(system, prompt(2, 160)), 40),
        (np.append(system, prompt(3, 160)), 40),
        (system, 40),
    )

    assert {(192, 40): 2, (32, 40): 1} == classes(find(rows, [len(r) for r in rows], 16))


def test_a_longer_prefix_of_too_few_rows_stays_in_the_class_above():
    """
    Two rows that share 16 tokens more do not pay for reading the other 320 again.
    """
    system = prompt(1, 320)
    rows = rows_of((system, 40), (np.append(system, prompt(2, 16)), 2))

    assert {(320, 42): 1} == classes(find(rows, [len(r) for r in rows], 16))


@pytest.mark.parametrize("overhead", [0, 40])
@pytest.mark.parametrize("n", range(2, 40))
def test_the_choice_is_the_inequality(n, overhead):
    """
    n * (P_c - P_v) > ceil(n / k) * P_c - n / k * P_v decides, at every n.
    """
    k, outer, inner = 16, 160, 176
    system = prompt(1, outer)
    rows = rows_of((system, 200), (np.append(system, prompt(2, inner - outer)), n))
    prices = (inner + overhead, outer + overhead)
    pays = n * (inner - outer) > -(-n // k) * prices[0] - n / k * prices[1]
    found = find(rows, [len(r) for r in rows], k, overhead_tokens=overhead)

    expected = {(outer, 200): 1, (inner, n): 1} if pays else {(outer, 200 + n): 1}
    assert expected == classes(found)


def test_a_class_is_weighed_against_the_nearest_one_that_pays():
    """
    Of groups of 160, 176 and 208 tokens the middle one pays for nobody and hides nothing.
    """
    system = prompt(1, 160)
    middle = np.append(system, prompt(2, 16))
    rows = rows_of((system, 200), (middle, 1), (np.append(middle, prompt(3, 32)), 4))

    assert {(160, 201): 1, (208, 4): 1} == classes(find(rows, [len(r) for r in rows], 16))


def test_a_class_left_without_rows_by_deeper_ones_is_dissolved():
    """
    The one row that none of the deeper classes took goes back to no class.
    """
    system = prompt(1, 16)
    rows = rows_of(
        (np.append(system, prompt(2, 160)), 40),
        (np.append(system, prompt(3, 160)), 40),
        (system, 1),
    )
    found = find(rows, [len(r) for r in rows], 16)

    assert {(176, 40): 2} == classes(found)
    assert -1 == found.class_of[-1]


def test_rows_of_a_dissolved_class_count_in_the_class_above():
    """
    Two rows left over by two classes make the class above them worth keeping.
    """
    system = prompt(1, 64)
    middles = [np.append(system, prompt(i, 32)) for i in (2, 3)]
    deep = [np.append(m, prompt(i, 160)) for m in middles for i in (4, 5)]
    rows = rows_of(*((d, 40) for d in deep), *((m, 1) for m in middles))

    assert {(256, 40): 4, (64, 2): 1} == classes(find(rows, [len(r) for r in rows], 16))


def test_overhead_keeps_small_classes_away():
    """
    Where a micro-batch has a price of its own, two rows with 16 tokens are not worth one.
    """
    rows = rows_of((prompt(1, 16), 2), (prompt(2, 160), 40))
    limits = [len(r) for r in rows]

    assert {(16, 2): 1, (160, 40): 1} == classes(find(rows, limits, 16))
    assert {(160, 40): 1} == classes(find(rows, limits, 16, overhead_tokens=64))


def test_one_row_in_a_micro_batch_shares_nothing():
    """
    With k = 1 no class pays.
    """
    rows = rows_of((prompt(1, 100), 10))

    assert {} == classes(find(rows, [len(r) for r in rows], 1))


def test_rows_are_numbered_over_all_parts():
    """
    New rows and replay rows of several files share classes.
    """
    rng = np.random.default_rng(0)
    parts = []
    for n in (3, 0, 5):
        rows = [np.append(prompt(1, 48), rng.integers(0, 1000, 20)) for _ in range(n)]
        tokens = np.concatenate([*rows, np.empty(0, dtype=int)]).astype(np.uint32)
        parts.append((tokens, np.arange(n) * 68))
    read = block_reader(parts)

    assert [parts[2][0][68 + 16 + i] for i in range(16)] == read(np.array([4]), 16, 16)[0].tolist()
    assert {(48, 8): 1} == classes(find_prefixes(read, np.full(8, 60), rows_per_batch=16))
