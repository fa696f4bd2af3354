"""
Which found rows may be trained as they are, and why a person must look at the others first.

Pure. Knows confidence, thumbs and who vouches; does not know any kind.
"""

from __future__ import annotations

from typing import Final

from finetuned.core.review import Reason, Thumbs
from finetuned.sources.imports.found import FoundRow

LIKED_CONFIDENCE: Final = 0.8
"""Above it an answer that its user gave a thumbs up is trained, if it was carried out."""


def reasons_to_look(found: FoundRow, *, threshold: float, vouched: bool) -> tuple[Reason, ...]:
    """
    Return why a person must look at a row before it is trained; empty if it may be trained.

    What a person confirmed already is trained. Otherwise the confidence must be known and at
    least *threshold*; after a thumbs up it must be above LIKED_CONFIDENCE, if that is less.

    Args:
        found: The row.
        threshold: 0 to 1.
        vouched: Whether somebody vouches for all rows whose confidence is not known.
    """
    if found.verified:
        return ()
    reasons = list(found.reasons)
    if found.confidence is None:
        if not vouched:
            reasons.append(Reason.UNVERIFIED)
    elif found.confidence < threshold and not _is_liked(found, found.confidence):
        reasons.append(Reason.UNSURE)
    return tuple(reasons)


def _is_liked(found: FoundRow, confidence: float) -> bool:
    return found.thumbs is Thumbs.UP and confidence > LIKED_CONFIDENCE
