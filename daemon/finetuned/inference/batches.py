"""
Which prompts are run together: what they share, and how large a batch may be.

Pure; does not know models or answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from finetuned.inference.pending import PendingAnswer

PASS_LOGITS: Final = 2**27
"""Most logits that one pass through a model may return: 512 MiB of float32."""

MIN_SHARED: Final = 8
"""Fewest common tokens that are worth a pass of their own."""


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """
    Return how many leading tokens all *prompts* share: 0, or at least MIN_SHARED.

    At least one token of each prompt is left over. A single prompt shares nothing.
    """
    if len(prompts) < 2:
        return 0
    first, last = min(prompts, key=list), max(prompts, key=list)
    longest = min(len(p) for p in prompts) - 1
    n = next((i for i in range(longest) if first[i] != last[i]), longest)
    return n if n >= MIN_SHARED else 0


def cut_batches(
    items: Sequence[PendingAnswer], size: int, vocabulary: int
) -> Iterator[list[PendingAnswer]]:
    """
    Yield the items in batches of about equal length, the shortest first.

    A pass over a batch returns logits at its longest continuation, for every row.

    Args:
        items: Any number.
        size: Most items of a batch, >= 1.
        vocabulary: Logits per position. A batch of more than one item needs at most
            PASS_LOGITS of them.
    """
    batch: list[PendingAnswer] = []
    tail = 1
    for item in sorted(items, key=lambda x: len(x.prompt) + len(x.continuation)):
        wider = max(tail, len(item.continuation))
        logits = (len(batch) + 1) * wider * vocabulary
        if batch and (len(batch) == size or logits > PASS_LOGITS):
            yield batch
            batch, wider = [], max(1, len(item.continuation))
        batch.append(item)
        tail = wider
    if batch:
        yield batch


def choices_at_once(longest: int, vocabulary: int, size: int) -> int:
    """
    Return how many choices are run together, 1 to *size*.

    Args:
        longest: Positions with logits of the longest choice, >= 0.
        vocabulary: Logits per position.
        size: Most choices, >= 1.
    """
    return max(1, min(size, PASS_LOGITS // (vocabulary * max(1, longest))))
