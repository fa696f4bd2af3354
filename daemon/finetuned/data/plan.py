"""
The order in which examples are trained, decided before training starts.

A plan is a pure function of lengths, classes, rows per step, epochs and seed,
so a run that resumes computes the same plan and goes on at the same step. The
token budget is not part of it: an out-of-memory error halves the budget, and each
step is then cut into more micro-batches of the same rows.

Tokens computed for a micro-batch of n rows whose class shares P tokens:
P + n * (longest - P).

Does not know tokens, models, files or devices.
"""

from __future__ import annotations

import hashlib
import heapq
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer[Any]]
Numbers = npt.NDArray[np.int64]

_WINDOW_STEPS: Final = 2
"""
Rows are sorted by length within this many steps' worth.

Steps of rows of one length teach less: sorting within 32 steps' worth saves a tenth of the time
and ends with a loss that is 1% higher than rows in random order do; within 2 the loss is that of
random order (docs/measurements/training.md).
"""

_REPLAY_SHARE: Final = 4
"""A piece of replay has at most a 4th of a step's new rows, so replay comes in no bursts."""

_FINEST: Final = 4
"""A step is shared out in at most about this many pieces per process."""

_WORTH_SPLITTING: Final = 0.95
"""Finer pieces read their prefix more often, so they must shorten the longest share by 5%."""

_ROWS_AT_ONCE: Final = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """
    The optimizer steps of a job.
    """

    order: Numbers
    """Example numbers in training order, shape (T,); those from n_new on are replay rows."""

    step_starts: Numbers
    """Step k trains order[step_starts[k]:step_starts[k + 1]]; shape (steps + 1,)."""

    lengths: Integers
    """Tokens of every example, shape (N,)."""

    class_of: Integers
    """Prefix class of every example, shape (N,), -1 for none."""

    prefix_lengths: Integers
    """Tokens that the rows of a class share, shape (C,)."""

    max_rows: int
    """The most rows in a micro-batch."""

    def unshared(self) -> Plan:
        """
        Return the same steps with costs for kernels that compute the prefix in every row.
        """
        return replace(self, prefix_lengths=np.zeros_like(self.prefix_lengths))

    @property
    def digest(self) -> str:
        """16 hex digits that tell two plans apart; kept in every checkpoint."""
        told = hashlib.sha256(f"{len(self.order)} {len(self.step_starts)} ".encode())
        for numbers in (self.order, self.step_starts):
            told.update(np.ascontiguousarray(numbers, dtype="<i8").data)
        return told.hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.step_starts) - 1

    def tokens_before(self) -> list[int]:
        """
        Return how many tokens of rows come before each step, and after the last: len + 1 sums.
        """
        sums = np.cumsum(self.lengths[self.order], dtype=np.int64)
        tokens: list[int] = np.concatenate([[0], sums])[self.step_starts].tolist()
        return tokens

    def numbers(self, k: int) -> list[int]:
        """
        Return the examples of step *k*, 0 <= k < len.
        """
        numbers: list[int] = self._rows(k, k + 1).tolist()
        return numbers

    def micro_batches(self, k: int, max_tokens: int) -> list[list[int]]:
        """
        Cut step *k* into micro-batches of one class and like lengths.

        Args:
            k: The step, 0 <= k < len.
            max_tokens: What a micro-batch may cost, in tokens, >= 1; a row that is
                longer stands alone.

        Returns:
            The step's examples, whatever *max_tokens* is.
        """
        rows, first, _ = self._cut(k, k + 1, max_tokens)
        return [batch.tolist() for batch in np.split(rows, first[1:])]

    def cost(self, micro_batch: list[int]) -> int:
        """
        Return the tokens computed for *micro_batch*; 0 for an empty one.
        """
        if not micro_batch:
            return 0
        classes = self.class_of[micro_batch]
        shared = int(self._prefix(classes[:1])[0]) if (classes == classes[0]).all() else 0
        return shared + len(micro_batch) * (int(self.lengths[micro_batch].max()) - shared)

    def costliest(self, max_tokens: int) -> list[int]:
        """
        Return the micro-batch of the whole plan that costs most, the first of several.
        """
        best, most = [], -1
        per_step = max(1, len(self.order) // len(self))
        stride = max(1, _ROWS_AT_ONCE // per_step)
        for k in range(0, len(self), stride):
            rows, first, costs = self._cut(k, min(k + stride, len(self)), max_tokens)
            i = int(np.argmax(costs))
            if costs[i] > most:
                most = int(costs[i])
                best = rows[first[i] : np.append(first, len(rows))[i + 1]].tolist()
        return best

    def parts(self, k: int, max_tokens: int, world: int) -> list[list[list[int]]]:
        """
        Share step *k* out over several processes.

        Micro-batches are split if that makes the longest share shorter.

        Args:
            k: The step, 0 <= k < len.
            max_tokens: As in micro_batches.
            world: Processes, >= 1.

        Returns:
            One list of micro-batches per process, all with the same count, together
            the examples of the step. An empty micro-batch carries no loss; empty ones
            come first: the last one, at which gradients are exchanged, has rows
            if the process has any at all.
        """
        whole = self.micro_batches(k, max_tokens)
        if world == 1:
            return [whole]
        total = sum(map(self.cost, whole))
        best: list[list[list[int]]] = []
        longest = float("inf")
        for fineness in range(_FINEST + 1):
            pieces = []
            for batch in whole:
                n = min(len(batch), max(1, -(-fineness * world * self.cost(batch) // total)))
                pieces += [p.tolist() for p in np.array_split(np.array(batch), n)]
            shares, makespan = self._share(pieces, world)
            if makespan < longest * _WORTH_SPLITTING:
                best, longest = shares, makespan
        most = max(map(len, best))
        return [[[] for _ in range(most - len(share))] + share for share in best]

    def _share(self, pieces: list[list[int]], world: int) -> tuple[list[list[list[int]]], int]:
        """
        Give each piece, the costliest first, to the process that has least to do.
        """
        shares: list[list[list[int]]] = [[] for _ in range(world)]
        loads = [(0, i) for i in range(world)]
        for piece in sorted(pieces, key=self.cost, reverse=True):
            load, i = loads[0]
            shares[i].append(piece)
            heapq.heapreplace(loads, (load + self.cost(piece), i))
        return shares, max(loads)[0]

    def _rows(self, k: int, end: int) -> Numbers:
        return self.order[self.step_starts[k] : self.step_starts[end]]

    def _prefix(self, classes: Integers) -> Numbers:
        with_none = np.append(self.prefix_lengths, 0)  # class -1 is the last
        return with_none[classes].astype(np.int64)

    def _cut(self, k: int, end: int, max_tokens: int) -> tuple[Numbers, Numbers, Numbers]:
        """
        Cut steps k to end - 1: rows, first position and cost of each micro-batch.
        """
        sizes = np.diff(self.step_starts[k : end + 1])
        step = np.repeat(np.arange(len(sizes)), sizes)
        rows = self._rows(k, end)
        rows = rows[np.lexsort((self.lengths[rows], self.class_of[rows], step))]
        classes, lengths = self.class_of[rows], self.lengths[rows].astype(np.int64)
        run = np.flatnonzero(_changes(step) | _changes(classes))  # sorting left step as it was
        first = _cut_runs(lengths, run, self._prefix(classes[run]), self.max_rows, max_tokens)
        shared = self._prefix(classes[first])
        after = np.append(first[1:], len(rows))
        return rows, first, shared + (after - first) * (lengths[after - 1] - shared)


def plan_batches(
    lengths: Integers,
    *,
    class_of: Integers,
    prefix_lengths: Integers,
    rows_per_step: int,
    max_rows: int,
    epochs: int,
    seed: int,
    n_replay: int = 0,
    chosen: Numbers | None = None,
    replay_groups: Integers | None = None,
) -> Plan:
    """
    Plan every chosen new example once per epoch and every replay row once per job.

    Each step has rows of one class and of similar length if there are enough; the
    remaining rows of all classes fill steps of their own. Replay rows come on top of
    the steps, in small pieces, evenly over the job.

    Args:
        lengths: Tokens of every example, shape (N,): new ones, then replay rows.
        class_of: prefixes.find_prefixes of the same rows, shape (N,), -1 for none.
        prefix_lengths: Tokens shared in each class, shape (C,).
        rows_per_step: New examples in a step, >= 1; the last of an epoch may have fewer.
        max_rows: The most rows in a micro-batch, >= 1.
        epochs: Passes over the new examples, >= 1.
        seed: Same seed, same plan.
        n_replay: How many of the last examples are replay rows.
        chosen: Numbers of the new examples to train, ascending, without repeats; None for all.
        replay_groups: Group of each replay row, shape (n_replay,); each group is spread evenly
            over the job. None for one group.

    Returns:
        At least one step.

    Raises:
        ValueError: There is no new example, or the arrays do not fit together.
    """
    n_new = len(lengths) - n_replay
    new = np.arange(n_new) if chosen is None else chosen
    if len(new) == 0:
        raise ValueError("no example to plan")
    if len(class_of) != len(lengths):
        raise ValueError(f"{len(class_of)} classes for {len(lengths)} examples")
    if (lengths < np.append(prefix_lengths, 0)[class_of]).any():
        raise ValueError("an example is shorter than the prefix of its class")
    rng = np.random.Generator(np.random.PCG64(seed))
    order = [_epoch(new, lengths, class_of, rows_per_step, rng) for _ in range(epochs)]
    per_epoch = -(-len(new) // rows_per_step)
    step = [np.arange(len(new)) // rows_per_step + e * per_epoch for e in range(epochs)]
    groups = np.zeros(n_replay, dtype=np.int64) if replay_groups is None else replay_groups
    size, kinds = max(1, rows_per_step // _REPLAY_SHARE), np.unique(groups)
    for i, kind in enumerate(kinds):
        replay = n_new + np.flatnonzero(groups == kind)
        order.append(_epoch(replay, lengths, class_of, size, rng))
        n_pieces = -(-len(replay) // size)
        piece = np.arange(len(replay)) // size
        # One group begins half a piece after the start, several at different parts of a piece.
        at = 2 * piece * len(kinds) + 2 * i + 1
        step.append(at * (per_epoch * epochs) // (2 * n_pieces * len(kinds)))
    steps = np.concatenate(step)
    starts = np.cumsum(np.bincount(steps, minlength=per_epoch * epochs))
    return Plan(
        order=np.concatenate(order)[np.argsort(steps, kind="stable")],
        step_starts=np.concatenate([[0], starts]),
        lengths=lengths,
        class_of=class_of,
        prefix_lengths=prefix_lengths,
        max_rows=max_rows,
    )


def _epoch(
    numbers: Numbers,
    lengths: Integers,
    class_of: Integers,
    size: int,
    rng: np.random.Generator,
) -> Numbers:
    """
    Shuffle *numbers* so that each run of *size* has one class and like lengths.
    """
    order = rng.permutation(numbers)
    order = order[np.argsort(class_of[order], kind="stable")]
    starts = np.flatnonzero(_changes(class_of[order]))
    counts = np.diff(np.append(starts, len(order)))
    place = np.arange(len(order)) - np.repeat(starts, counts)  # within its class
    in_full = place < np.repeat(counts // size * size, counts)

    full = order[in_full]
    window = np.cumsum(place[in_full] % (size * _WINDOW_STEPS) == 0)
    full = full[np.lexsort((lengths[full], window))]

    turn = np.repeat(rng.permutation(len(counts)), counts)[~in_full]
    rest = order[~in_full][np.argsort(turn, kind="stable")]
    whole = len(rest) // size * size
    pieces = np.concatenate([full, rest[:whole]]).reshape(-1, size)
    return np.concatenate([pieces[rng.permutation(len(pieces))].ravel(), rest[whole:]])


def _changes(values: Integers) -> npt.NDArray[np.bool_]:
    """
    Return where a value differs from the one before it; the first always does.
    """
    differs: npt.NDArray[np.bool_] = np.append(True, values[1:] != values[:-1])
    return differs[: len(values)]


def _cut_runs(
    lengths: Numbers, runs: Numbers, prefix: Numbers, max_rows: int, max_tokens: int
) -> Numbers:
    """
    Return the first position of every micro-batch, all runs being cut at the same time.

    Args:
        lengths: Tokens of each row, ascending within a run.
        runs: First position of each run; ascending.
        prefix: Tokens shared in each run.
        max_rows: The most rows of a micro-batch.
        max_tokens: The most tokens of a micro-batch of two rows or more.
    """
    at, ends = runs, np.append(runs[1:], len(lengths))
    first = []
    while len(at):
        first.append(at)
        n, most = np.ones_like(at), np.minimum(max_rows, ends - at)
        while (n < most).any():  # binary search: the cost grows with every row taken in
            middle = (n + most + 1) // 2
            fits = prefix + middle * (lengths[at + middle - 1] - prefix) <= max_tokens
            n, most = np.where(fits, middle, n), np.where(fits, most, middle - 1)
        at = at + n
        left = at < ends
        at, ends, prefix = at[left], ends[left], prefix[left]
    return np.sort(np.concatenate(first))
