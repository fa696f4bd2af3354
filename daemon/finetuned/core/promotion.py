"""
Why the release or the head changed, and what the gate said of a version.

The release is the version that current_model names. The head is the version that the next
job starts from. The head is the release, or has learnt more than it.
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


class HeadCause(StrEnum):
    HELD = "held"  # a candidate that is not shown to be better, and breaks nothing
    PROMOTED = "promoted"  # a candidate that became the release
    PROMOTE = "promote"  # a person chose a version that the head does not descend from
    ROLLBACK = "rollback"  # a person went back, and asked for the head to go back as well
    WATCH = "watch"  # the head descended from a version that was taken back for harm
    FALLBACK = "fallback"  # both copies of the head were damaged
    REBUILD = "rebuild"  # the journal was lost; this is what models/head named


class VersionVerdict(StrEnum):
    PROMOTED = "promoted"  # shown to be better: release and head
    HELD = "held"  # not shown to be better, nothing broken: the head only
    REJECTED = "rejected"  # shown to be worse, or broken
