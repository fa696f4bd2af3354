"""
Which rows of a job share a long beginning, as a hint for the planner.

Rows are refined block by block into a tree of groups that share a beginning,
and of that tree the groups are kept that pay as classes of their own. Blocks
are compared by a 64-bit hash; what a micro-batch really shares is read from
its tokens when it is trained, so neither the block width nor a collision can
change a gradient.

Knows token ids and lengths; does not know steps, models or what a row means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

BLOCK_TOKENS: Final = 16

Integers = npt.NDArray[np.integer[Any]]
ReadBlock = Callable[[npt.NDArray[np.int64], int, int], npt.NDArray[np.uint32]]
"""(row numbers (n,), first token, width) -> tokens (n, width); the rows are long enough."""

# Must not change: classes are numbered in the order of hashes, and plans depend on that.
_WEIGHTS: Final = np.array(
    [pow(0x9E3779B97F4A7C15, i + 1, 2**64) for i in range(BLOCK_TOKENS)], dtype=np.uint64
)
_GROUP_WEIGHT: Final = np.uint64(0xD6E8FEB86659FD93)
_ROWS_AT_ONCE: Final = 1 << 16
_CHUNK_TOKENS: Final = 1 << 22
"""Tokens whose flags are read at once."""

_NO_CLASS: Final = 0
"""The root of the tree: all rows, nothing shared."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """
    The classes of a job's rows.
    """

    class_of: npt.NDArray[np.int32]
    """Class of each row, shape (N,); -1 if it is in none."""

    lengths: npt.NDArray[np.int32]
    """Tokens that all rows of a class share, shape (C,), multiples of BLOCK_TOKENS."""


@dataclass(frozen=True, slots=True, eq=False)
class _Tree:
    """
    Groups of two or more rows with a common beginning; node 0 is the root.
    """

    parent: npt.NDArray[np.int32]
    tokens: npt.NDArray[np.int64]
    """Length of the common beginning."""
    rows: npt.NDArray[np.int64]
    node_of: npt.NDArray[np.int32]
    """The deepest node of each row, shape (N,)."""
    levels: list[slice]
    """Nodes in order of making; a parent stands in an earlier level than its children."""


def find_prefixes(
    read: ReadBlock, limits: Integers, *, rows_per_batch: int, overhead_tokens: int = 0
) -> Prefixes:
    """
    Find the classes that make a plan cheap.

    A micro-batch of n rows of a class with prefix P costs P + n * (longest - P)
    tokens, so n_c rows of a group c, k to a micro-batch, cost ceil(n_c / k) * P_c
    for their prefixes and save n_c * P_c. The same rows, left in the class v around
    them, cost their share (n_c / k) * P_v and save n_c * P_v. So c pays as a class
    of its own if

        n_c * (P_c - P_v) > ceil(n_c / k) * P_c - (n_c / k) * P_v.

    Decided from the root down, v being the nearest group above that pays; then from
    the leaves up with the rows that are left to a class once deeper ones have taken
    theirs, where a class that no longer pays gives its rows to the class above.
    Groups of the same rows at several lengths are one, the longest.

    Args:
        read: Reads one block of tokens of many rows.
        limits: Leading tokens of each row that may be shared, shape (N,); at most its
            length. For training: the position of its first supervised token less one.
        rows_per_batch: k, the most rows in a micro-batch, >= 1.
        overhead_tokens: What one more micro-batch costs beside its tokens, in tokens,
            >= 0; added to P_c and P_v on the right of the inequality.

    Returns:
        Classes of two rows and BLOCK_TOKENS tokens at least.
    """
    tree = _grow(read, limits)
    home = _choose(tree, rows_per_batch, overhead_tokens)
    chosen = np.flatnonzero(home == np.arange(len(home)))[1:]  # without the root
    number = np.full(len(home), -1, dtype=np.int32)
    number[chosen] = np.arange(len(chosen), dtype=np.int32)
    return Prefixes(number[home[tree.node_of]], tree.tokens[chosen].astype(np.int32))


def block_reader(parts: Sequence[tuple[npt.NDArray[np.uint32], Integers]]) -> ReadBlock:
    """
    Return a reader of blocks of rows that lie one after another in flat arrays.

    Args:
        parts: Tokens (flat; may be a memory map, nothing is copied) and the first
            token of each row in them; rows are numbered over the parts in order.
    """
    starts = np.cumsum([0, *(len(offsets) for _, offsets in parts)])

    def read(numbers: npt.NDArray[np.int64], start: int, width: int) -> npt.NDArray[np.uint32]:
        found = np.empty((len(numbers), width), dtype=np.uint32)
        for i, (tokens, offsets) in enumerate(parts):
            here = (numbers >= starts[i]) & (numbers < starts[i + 1])
            if not here.any():
                continue
            # A view of every window of the file: one index per row instead of one per token.
            windows = np.lib.stride_tricks.sliding_window_view(np.asarray(tokens), width)
            begins = offsets[numbers[here] - starts[i]].astype(np.int64) + start
            found[here] = windows[begins]
        return found

    return read


def _grow(read: ReadBlock, limits: Integers) -> _Tree:
    n = len(limits)
    # Sets of two or more rows, any two of them nested or apart, no two equal: fewer than n.
    parent = np.zeros(n + 1, dtype=np.int32)
    tokens = np.zeros(n + 1, dtype=np.int64)
    rows = np.zeros(n + 1, dtype=np.int64)
    rows[_NO_CLASS] = n + 1  # never all of it: the root shares nothing even if all rows do
    node_of = np.zeros(n, dtype=np.int32)
    ends = [1]

    active = np.arange(n, dtype=np.int64)
    group = np.zeros(n, dtype=np.int64)  # of each active row, dense
    node = np.zeros(1, dtype=np.int32)  # of each group
    start = 0
    while True:
        long_enough = limits[active] >= start + BLOCK_TOKENS
        active, group = active[long_enough], group[long_enough]
        if len(active) < 2:
            break
        child, of = _split(_keys(read, active, start, group), group, len(node))
        n_rows = np.bincount(child, minlength=len(of))
        kept = n_rows >= 2
        fresh = kept & (n_rows != rows[node[of]])
        n_fresh = int(np.count_nonzero(fresh))
        node_of_child = node[of]
        node_of_child[fresh] = np.arange(ends[-1], ends[-1] + n_fresh)
        parent[node_of_child[fresh]] = node[of[fresh]]
        rows[node_of_child[fresh]] = n_rows[fresh]
        tokens[node_of_child[kept]] = start + BLOCK_TOKENS
        if n_fresh:
            ends.append(ends[-1] + n_fresh)

        stays = kept[child]
        active = active[stays]
        group = (np.cumsum(kept) - 1)[child[stays]]
        node = node_of_child[kept]
        node_of[active] = node[group]
        start += BLOCK_TOKENS
    levels = [slice(a, b) for a, b in pairwise(ends)]
    return _Tree(parent[: ends[-1]], tokens[: ends[-1]], rows[: ends[-1]], node_of, levels)


def _keys(
    read: ReadBlock, active: npt.NDArray[np.int64], start: int, group: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """
    Hash the block at *start* of every active row together with its group.
    """
    keys = group.astype(np.uint64) * _GROUP_WEIGHT
    for i in range(0, len(active), _ROWS_AT_ONCE):
        block = read(active[i : i + _ROWS_AT_ONCE], start, BLOCK_TOKENS)
        keys[i : i + _ROWS_AT_ONCE] += block.astype(np.uint64) @ _WEIGHTS
    return keys


def _split(
    keys: npt.NDArray[np.uint64], group: npt.NDArray[np.int64], n_groups: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """
    Part every group by key; return each row's child and each child's group.
    """
    # Most groups stay whole at most levels: only rows unlike the first of their group are sorted.
    leader = np.zeros(n_groups, dtype=np.uint64)
    leader[group[::-1]] = keys[::-1]
    unlike = keys != leader[group]
    child, of = group.copy(), np.arange(n_groups)
    if unlike.any():
        _, first, inverse = np.unique(keys[unlike], return_index=True, return_inverse=True)
        child[unlike] = n_groups + inverse
        of = np.concatenate([of, group[unlike][first]])
    return child, of


def _choose(tree: _Tree, k: int, overhead: int) -> npt.NDArray[np.int32]:
    """
    Return the class of every node, as the node that makes it; a class is its own.
    """
    chosen = np.zeros(len(tree.parent), dtype=np.bool_)
    chosen[_NO_CLASS] = True
    above = np.zeros(len(tree.parent), dtype=np.int32)  # nearest chosen ancestor

    def pays(rows: Integers, nodes: slice) -> npt.NDArray[np.bool_]:
        mine, outer = tree.tokens[nodes], tree.tokens[above[nodes]]
        batches = -(-rows // k)
        saved = rows * (mine - outer) * k  # all of it times k: whole numbers
        paid = batches * k * (mine + overhead) - rows * (outer + overhead)
        good: npt.NDArray[np.bool_] = saved > paid  # never for one row, nor for k = 1
        return good

    for nodes in tree.levels:
        parent = tree.parent[nodes]
        above[nodes] = np.where(chosen[parent], parent, above[parent])
        chosen[nodes] = pays(tree.rows[nodes], nodes)

    home = np.where(chosen, np.arange(len(chosen), dtype=np.int32), above)
    own = np.bincount(home[tree.node_of], minlength=len(chosen))
    for nodes in reversed(tree.levels):
        gives_up = chosen[nodes] & ~pays(own[nodes], nodes)
        np.add.at(own, above[nodes][gives_up], own[nodes][gives_up])
        chosen[nodes] &= ~gives_up
    for nodes in tree.levels:
        home[nodes] = np.where(
            chosen[nodes], np.arange(nodes.start, nodes.stop), home[tree.parent[nodes]]
        )
    return home


def first_supervised(
    flags: npt.NDArray[np.uint8], offsets: Integers, lengths: Integers
) -> npt.NDArray[np.int64]:
    """
    Return the position of the first supervised token of each row, its length if it has none.

    Args:
        flags: 0 or 1 for every token of all rows (flat; may be a memory map).
        offsets: First token of each row in it, shape (N,), in any order.
        lengths: Tokens of each row, shape (N,).
    """
    order = np.argsort(offsets, kind="stable")
    begins = offsets[order].astype(np.int64)
    ends = begins + lengths[order]
    found = np.empty(len(order), dtype=np.int64)
    at = 0
    while at < len(order):
        # As many rows as end within one chunk of the file, at least one.
        until = max(at + 1, int(np.searchsorted(ends, begins[at] + _CHUNK_TOKENS, side="right")))
        base = int(begins[at])
        ones = np.flatnonzero(np.asarray(flags[base : int(ends[until - 1])])) + base
        ones = np.append(ones, np.iinfo(np.int64).max)
        first = ones[np.searchsorted(ones, begins[at:until])]
        found[order[at:until]] = np.minimum(first, ends[at:until]) - begins[at:until]
        at = until
    return found
