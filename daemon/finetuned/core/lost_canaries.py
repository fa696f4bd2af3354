"""
The canaries that a candidate lost: what was asked, and what was answered before and now.

Pure. Knows eval reports; does not know the words that people read of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from finetuned.core.evidence import HEAD, Report, incumbent_key
from finetuned.core.suite_origin import SuiteOrigin

MAX_CHARS: Final = 400
"""Of each text: enough to tell answers apart, and a status file stays small."""


@dataclass(frozen=True, slots=True)
class LostCanary:
    """
    A canary that the model before answered right and the candidate answers wrong.
    """

    id: str
    prompt: str
    """The question; as of the answers, the first MAX_CHARS characters."""
    expected: str
    before: str
    """The answer of the model before."""
    now: str
    """The candidate's answer."""
    against: str
    """Which model is meant by before: release or head."""


def lost_canaries(report: Report) -> tuple[LostCanary, ...]:
    """
    Return the canaries that the release passes and the candidate fails, in the report's order.

    If there is none, those that the head passes. A canary that one of both was not asked is
    not lost; a part of the report that is damaged says nothing.
    """
    return _lost(report, incumbent_key(report), "release") or _lost(report, HEAD, HEAD)


def _lost(report: Report, subject: str, against: str) -> tuple[LostCanary, ...]:
    suites = _objects(report.get("suites"))
    canaries = {s.get("name") for s in suites if s.get("origin") == SuiteOrigin.CANARY}
    lost = []
    for item in _objects(report.get("items")):
        outcomes = item.get("outcomes")
        if item.get("suite") not in canaries or not isinstance(outcomes, Mapping):
            continue
        before, now = outcomes.get(subject), outcomes.get("candidate")
        if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
            continue
        if before.get("correct") is True and now.get("correct") is False:
            lost.append(
                LostCanary(
                    id=_start(item.get("id")),
                    prompt=_start(item.get("prompt")),
                    expected=_start(item.get("golden")),
                    before=_start(before.get("answer")),
                    now=_start(now.get("answer")),
                    against=against,
                )
            )
    return tuple(lost)


def _objects(value: object) -> list[Mapping[str, object]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []


def _start(text: object) -> str:
    return "" if text is None else str(text)[:MAX_CHARS]
