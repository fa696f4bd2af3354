"""
Why current_model changed, and what the gate said of a version.
"""

from __future__ import annotations

from enum import StrEnum


class PromotionCause(StrEnum):
    GATE = "gate"  # the candidate passed
    PROMOTE = "promote"  # a person chose the version
    ROLLBACK = "rollback"  # a person went back
    WATCH = "watch"  # the version failed after its promotion and was taken back
    FALLBACK = "fallback"  # both copies of the version in use were damaged
    REBUILD = "rebuild"  # the journal was lost; this is what current_model named


class VersionVerdict(StrEnum):
    PROMOTED = "promoted"  # shown to be better: it became current_model
    HELD = "held"  # shown to be neither better nor worse: training goes on from it
    REJECTED = "rejected"  # shown to be worse, or damaged
