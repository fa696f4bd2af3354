"""
Rows stacked into one micro-batch: their shared beginning once, then their branches.

Does not know models or losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

MaskedTokens = tuple[Sequence[int], Sequence[bool]]
"""The token ids of one row, and for each whether it is supervised."""

MIN_SHARED: Final = 16
"""Fewest common tokens that are worth a pass of their own."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """
    N rows as P tokens that all of them begin with, and N branches of up to R tokens.

    A branch ends at its last position that predicts a supervised token; later tokens
    reach no loss and are left out.
    """

    prefix: torch.Tensor
    """int64 (P,), P = 0 or P >= MIN_SHARED; neither it nor the token after it is supervised."""
    branches: torch.Tensor
    """int64 (N, R), padded on the right, where a causal mask hides the padding."""
    slots: torch.Tensor
    """int64 (T,), ascending: the places of (N, R) that hold tokens, counted row by row."""
    scored: torch.Tensor
    """int64 (S,): numbers of the tokens, of T, that predict a supervised token."""
    targets: torch.Tensor
    """int64 (S,): the supervised tokens that they predict."""
    owners: torch.Tensor
    """int64 (S,): the row each target belongs to."""

    def to(self, device: torch.device) -> MicroBatch:
        """
        Return a copy on *device*.
        """
        return MicroBatch(
            self.prefix.to(device, non_blocking=True),
            self.branches.to(device, non_blocking=True),
            self.slots.to(device, non_blocking=True),
            self.scored.to(device, non_blocking=True),
            self.targets.to(device, non_blocking=True),
            self.owners.to(device, non_blocking=True),
        )


def supervised_count(row: MaskedTokens) -> int:
    """
    Return how many supervised tokens of a row are predicted: all but a first one.
    """
    return int(np.count_nonzero(np.asarray(row[1], dtype=bool)[1:]))


def shared_length(rows: Sequence[MaskedTokens]) -> int:
    """
    Return how many leading tokens the rows can share: 0, or at least MIN_SHARED.

    Shared tokens are equal in all rows and not supervised, and each row keeps the token
    that predicts its first supervised one, because different tokens may follow the last
    shared position.
    """
    if len(rows) < 2:
        return 0
    limit = min(_first_supervised(supervised) for _, supervised in rows) - 1
    if limit < MIN_SHARED:
        return 0
    heads = np.stack([np.asarray(ids[:limit]) for ids, _ in rows])
    equal = (heads == heads[0]).all(axis=0)
    length = limit if equal.all() else int(equal.argmin())
    return length if length >= MIN_SHARED else 0


def _first_supervised(supervised: Sequence[bool]) -> int:
    flags = np.asarray(supervised, dtype=bool)
    return int(flags.argmax()) if flags.any() else len(flags)


def make_micro_batch(
    rows: Sequence[MaskedTokens], pad_token_id: int, *, share: bool = True
) -> MicroBatch:
    """
    Stack rows into a micro-batch.

    Args:
        rows: N >= 1 rows, each of at least one token.
        pad_token_id: Fills branches on the right.
        share: Whether to look for a shared beginning; if not, P = 0.
    """
    shared = shared_length(rows) if share else 0
    tails: list[npt.NDArray[np.int64]] = []
    scored, targets, done = [], [], 0
    for ids, supervised in rows:
        tokens = np.asarray(ids, dtype=np.int64)[shared:]
        found = np.flatnonzero(np.asarray(supervised, dtype=bool)[shared + 1 :])
        tails.append(tokens[: found[-1] + 1 if len(found) else 1])
        scored.append(found + done)
        targets.append(tokens[found + 1])
        done += len(tails[-1])
    lengths = np.asarray([len(tail) for tail in tails])
    is_token = np.arange(lengths.max()) < lengths[:, None]
    branches = np.full(is_token.shape, pad_token_id, dtype=np.int64)
    branches[is_token] = np.concatenate(tails)
    return MicroBatch(
        torch.from_numpy(np.asarray(rows[0][0], dtype=np.int64)[:shared].copy()),
        torch.from_numpy(branches),
        torch.from_numpy(np.flatnonzero(is_token)),
        torch.from_numpy(np.concatenate(scored)),
        torch.from_numpy(np.concatenate(targets)),
        torch.from_numpy(np.repeat(np.arange(len(rows)), [len(found) for found in scored])),
    )
