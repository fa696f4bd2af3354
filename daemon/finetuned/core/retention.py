"""
Which versions may be removed. A decision on names and parents; touches no file.

A version that a person or a restart may still need is never removed: the release, the head
and every version on their way back, pinned versions, and the version with the last
verified backup. Removing moves a version into the trash. Emptying the trash is a
decision of its own: a version is deleted for good only if an intact copy is left
elsewhere, or if the gate rejected it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

_NAME = re.compile(r"v(?:0\d{3}|[1-9]\d{3,})")


def version_name(number: int) -> str:
    """
    Return the folder name of version *number* (>= 1), e.g. ``v0007`` or ``v12345``.
    """
    return f"v{number:04d}"


def version_number(name: str) -> int | None:
    """
    Return the number in a version's name, or None if *name* is not one.

    Names order by this number, never as text: v10000 comes after v9999.
    """
    return int(name[1:]) if name.isascii() and _NAME.fullmatch(name) else None


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The versions that prune would remove, and why each other one stays.
    """

    keep: dict[str, str]
    """Version -> why it stays. In order of numbers."""

    remove: list[str]
    """Versions to remove, newest first, so that no parent is removed before its child."""


@dataclass(frozen=True, slots=True)
class Trashed:
    """
    One folder in the trash, as far as its manifest can be trusted.
    """

    version: str | None
    """The version it was, by its name; None if the folder was not a version."""

    known: bool
    """Whether its manifest is intact: without it the gate's verdict is unknown."""

    verdict: str | None = None
    way_back: str | None = None
    base_version: str | None = None


@dataclass(frozen=True, slots=True)
class Emptying:
    """
    What emptying the trash would do, with the reason for every folder in it.
    """

    delete: dict[str, str]
    """Folder -> why nothing is lost with it. Newest first: a child before its parent."""

    stay: dict[str, str]
    """Folder -> why only a person can decide on it."""


def plan_prune(
    versions: Mapping[str, str | None],
    *,
    bases: Mapping[str, str | None],
    in_use: Mapping[str, str],
    pinned: Set[str],
    held: Set[str] = frozenset(),
    keep_last: int,
    keep_heads: int = 1,
    last_backup: str | None,
) -> Plan:
    """
    Decide which versions stay and which are removed.

    Args:
        versions: Every version that exists -> its way back, the version to go back to
            from it. One that no longer exists ends its chain.
        bases: Version -> the full model that its adapter sits on, if that is
            a version too. Without it the adapter cannot be loaded.
        in_use: What the links name, with what each is: the release, the head.
        pinned: Versions a person wants kept.
        held: Versions that were held: heads of training that were never released by the gate.
        keep_last: How many of the versions that nothing else protects stay,
            newest first, >= 0; held ones are not among them.
        keep_heads: How many held versions stay, newest first, >= 1. What older ones learnt,
            newer ones have learnt too.
        last_backup: The newest version whose backup was verified, or None.

    Returns:
        A plan that names each version once. Whatever is kept has its way back
        and what it sits on kept as well: it can be loaded, and rolled back.
    """
    newest_first = sorted(versions, key=_order, reverse=True)
    reasons: dict[str, str] = {}

    def keep(names: list[str], why: str) -> None:
        for name in names:
            reasons.setdefault(name, why)
        for name in names:
            for ancestor in built_on(name, versions, bases):
                reasons.setdefault(ancestor, f"needed by {name}: {why}")

    for name in newest_first:
        if name in in_use:
            keep([name], in_use[name])
    keep([v for v in newest_first if v in pinned], "pinned")
    keep([v for v in newest_first if v == last_backup], "last verified backup")
    keep([v for v in newest_first if v in held][:keep_heads], f"one of the last {keep_heads} heads")
    unprotected = [v for v in newest_first if v not in reasons and v not in held]
    keep(unprotected[:keep_last], f"one of the last {keep_last}")
    return Plan(
        keep={v: reasons[v] for v in reversed(newest_first) if v in reasons},
        remove=[v for v in newest_first if v not in reasons],
    )


def _order(name: str) -> tuple[int, str]:
    return (version_number(name) or 0, name)


def built_on(
    version: str, parents: Mapping[str, str | None], bases: Mapping[str, str | None]
) -> list[str]:
    """
    Return every version that *version* is built on, nearest first: parents and merged bases.

    Only versions that are keys of *parents*. A damaged manifest may close a circle; it ends.
    """
    found: list[str] = []
    waiting = [version]
    for name in waiting:
        for below in (parents.get(name), bases.get(name)):
            if below is not None and below in parents and below not in waiting:
                waiting.append(below)
                found.append(below)
    return found


def plan_emptying(
    trash: Mapping[str, Trashed],
    *,
    copies: Mapping[str, str],
    protected: Mapping[str, str],
    confirmed: Collection[str],
    learnt_by: Mapping[str, str] = MappingProxyType({}),
) -> Emptying:
    """
    Decide which folders of the trash may be deleted for good.

    Args:
        trash: Every folder in the trash.
        copies: Version -> where an intact copy of it is outside the trash.
        protected: Version -> why even a rejected one stays: in use, pinned, or
            built upon by something outside the trash.
        confirmed: Folders whose names a person has typed; they are deleted whatever they are.
        learnt_by: Version -> the intact version outside the trash that was trained on top of
            it and has learnt all that it learnt. A held version may go then.

    Returns:
        A plan that names each folder once. Whatever stays has what it was built
        on stay as well, unless that was confirmed or has a copy.
    """
    plan = Emptying({}, {})
    needed = dict(protected)
    for folder in sorted(trash, key=lambda f: (_order(trash[f].version or ""), f), reverse=True):
        found = trash[folder]
        if folder in confirmed:
            plan.delete[folder] = "confirmed by name"
        elif found.version is None:
            plan.stay[folder] = "not a version; nobody here knows what it is"
        elif found.version in copies:
            plan.delete[folder] = f"{copies[found.version]} is intact"
        elif not found.known:
            plan.stay[folder] = "its manifest cannot be trusted, and there is no other intact copy"
        else:
            why = _dispensable(found.version, found.verdict, learnt_by)
            if why is None:
                plan.stay[folder] = "the only copy of a version that the gate did not reject"
            elif found.version in needed:
                plan.stay[folder] = f"{why}, but {needed[found.version]}"
            else:
                plan.delete[folder] = why
        if folder in plan.stay:
            for below in (found.way_back, found.base_version):
                if below is not None:
                    needed.setdefault(below, f"{folder} was built on it")
    return plan


def _dispensable(version: str, verdict: str | None, learnt_by: Mapping[str, str]) -> str | None:
    """Return why the only copy of a version may go, None if it may not."""
    if verdict == "rejected":
        return "rejected by the gate"
    if verdict == "held" and version in learnt_by:
        return f"held, and {learnt_by[version]} has learnt all that it learnt"
    return None


def over_budget(sizes: Mapping[str, int], budget: int) -> list[str]:
    """
    Return which folders to delete so that the rest is at most *budget* bytes, oldest first.

    Args:
        sizes: Bytes by folder, the oldest first.
        budget: >= 0.
    """
    total, gone = sum(sizes.values()), []
    for name, size in sizes.items():
        if total <= budget:
            break
        gone.append(name)
        total -= size
    return gone
