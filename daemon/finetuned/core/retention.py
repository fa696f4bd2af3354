"""
Which versions may go. A decision on names and parents; touches no file.

What a person or a restart may still need is never on the list: the incumbent
and everything it was trained on top of, what is pinned, and the version whose
backup is the last known to be good. An ancestor of ours kept two versions by
age alone and deleted the only good one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

_NAME = re.compile(r"v(?:0\d{3}|[1-9]\d{3,})")


def version_name(number: int) -> str:
    """
    Return the folder name of version *number* (>= 1), e.g. ``v0007`` or ``v12345``.
    """
    return f"v{number:04d}"


def version_number(name: str) -> int | None:
    """
    Return the number in a version's name, or None when *name* is not one.

    Names order by this number, never as text: v10000 comes after v9999.
    """
    return int(name[1:]) if name.isascii() and _NAME.fullmatch(name) else None


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What prune would do, with the reason for everything it leaves alone.
    """

    keep: dict[str, str]
    """Version -> why it stays. In order of numbers."""

    remove: list[str]
    """Versions that go, newest first: at no moment is a parent gone before its child."""


def plan_prune(
    versions: Mapping[str, str | None],
    *,
    incumbent: str | None,
    pinned: Set[str],
    keep_last: int,
    last_backup: str | None,
) -> Plan:
    """
    Decide which versions stay and which go.

    Args:
        versions: Every version that exists -> the version it was trained on top
            of. A parent that no longer exists ends its chain.
        incumbent: What current_model names, or None before the first promotion.
        pinned: Versions a person wants kept.
        keep_last: How many of the versions that nothing else protects stay,
            newest first, >= 0.
        last_backup: The newest version whose backup was verified, or None.

    Returns:
        A plan that names each version once. Whatever is kept has all its
        ancestors kept as well, so every kept version can still be rolled back.
    """
    newest_first = sorted(versions, key=_order, reverse=True)
    reasons: dict[str, str] = {}

    def keep(names: list[str], why: str) -> None:
        for name in names:
            reasons.setdefault(name, why)
        for name in names:
            for ancestor in _ancestors(name, versions):
                reasons.setdefault(ancestor, f"ancestor of {name}: {why}")

    keep([v for v in newest_first if v == incumbent], "incumbent")
    keep([v for v in newest_first if v in pinned], "pinned")
    keep([v for v in newest_first if v == last_backup], "last verified backup")
    unprotected = [v for v in newest_first if v not in reasons]
    keep(unprotected[:keep_last], f"one of the last {keep_last}")
    return Plan(
        keep={v: reasons[v] for v in reversed(newest_first) if v in reasons},
        remove=[v for v in newest_first if v not in reasons],
    )


def _order(name: str) -> tuple[int, str]:
    return (version_number(name) or 0, name)


def _ancestors(version: str, parents: Mapping[str, str | None]) -> Iterator[str]:
    seen = {version}
    parent = parents.get(version)
    while parent is not None and parent in parents and parent not in seen:
        seen.add(parent)  # a parent that is its own grandchild is nonsense, but must not hang
        yield parent
        parent = parents[parent]
