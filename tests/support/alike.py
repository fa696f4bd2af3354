"""
Which sentences of a set are nearly the same.
"""

from __future__ import annotations

from experiments.base_model.forbidden import allowed_edits, distance, key_of, with_gaps


def alike(sentences: list[str]) -> list[tuple[int, int]]:
    """
    Return the positions of each pair of near-duplicates among *sentences*, gaps open.
    """
    keys = [key_of(with_gaps(sentence)) for sentence in sentences]
    found = []
    for j, other in enumerate(keys):
        edits = allowed_edits(len(other))
        found += [(i, j) for i in range(j) if distance(keys[i], other, edits) <= edits]
    return found
