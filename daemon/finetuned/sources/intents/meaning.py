"""
What a sentence asks for: the canonical intent of its spec and of the names in its gaps.

Knows specs, such as ``dns_add zone ip``; does not know wording.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetuned.data.intents import canonical
from finetuned.data.intents.table import action_of
from finetuned.sources.intents.grammar import fill


@dataclass(frozen=True, slots=True)
class Sentence:
    """
    A phrasing with its gaps still open.
    """

    template_id: str
    spec: str
    """What it asks for: actions and gaps, see ``intent_of``."""
    phrasing: str


_KEYS_OF_GAP: Mapping[str, tuple[str, ...]] = {
    "zone": ("zone", "name", "domain", "hostname"),
    "wild": ("zone", "name"),
    "target": ("target", "host"),
    "ip": ("ip",),
    "user": ("username",),
    "group": ("group",),
    "share": ("share", "name"),
    "path": ("path",),
    "secret": ("password_ref",),
    "service": ("zone",),
    "domain": ("domain", "sender"),
    "email": ("address", "destination", "sender"),
    "addr": ("address",),
    "iface": ("interface",),
    "smtp": ("port",),
    "prio": ("priority",),
}
"""The values of an action that a gap may hold; other gaps hold the value of their own name."""


def intent_of(spec: str, values: Mapping[str, str]) -> dict[str, Any]:
    """
    Build the canonical intent that *spec* asks for.

    Args:
        spec: One step, or several joined by ``&``: an action, then the gaps that hold its values.
            A gap alone holds the value that its kind is made for, the first one that nothing
            holds yet; ``target=zone`` takes the target from another gap, ``sans=zone2,zone3`` a
            list from two, and ``tls:starttls`` is that word. ``*`` is the address or target that
            the sentence has. ``clarify`` and ``none`` carry their answer.
        values: The name that stands in each gap.

    Returns:
        The canonical intent; a batch if there are several steps.
    """
    steps = [_step(part.split(), values) for part in spec.split(" & ")]
    return canonical(steps[0] if len(steps) == 1 else {"action": "batch", "steps": steps})


def gaps_asked_for(spec: str) -> set[str]:
    """
    Return the gaps that a sentence of *spec* must have, ``*`` apart; none of clarify and none.
    """
    parts = [part.split() for part in spec.split(" & ")]
    words = [w for action, *rest in parts if action not in ("clarify", "none") for w in rest]
    found = (gap for w in words if ":" not in w for gap in w.rpartition("=")[2].split(","))
    return {gap for gap in found if gap != "*"}


def _step(words: list[str], values: Mapping[str, str]) -> dict[str, Any]:
    action, *asked = words
    if action == "clarify":
        return {"action": action, "missing": asked}
    if action == "none":
        return {"action": action, "reason": asked[0]}
    step: dict[str, Any] = {"action": action}
    own = {field.name for field in action_of(action).fields}
    for word in asked:
        key, constant, text = word.partition(":")
        if constant:
            step[key] = text
            continue
        key, given, gap = word.partition("=")
        if not given:
            gap = next(g for g in _ANY if g in values) if word == "*" else word
            kind = gap.rstrip("0123456789")
            key = next(k for k in _KEYS_OF_GAP.get(kind, (kind,)) if k in own and k not in step)
        found = [values[name] for name in gap.split(",")]
        step[key] = found[0] if len(found) == 1 else found
    return step


_ANY = ("ip", "ip4", "ip6", "target")


def realise(sentence: Sentence, draw: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """
    Fill the gaps of *sentence*.

    Returns:
        The prompt and its canonical intent.
    """
    return fill(sentence.phrasing, draw), intent_of(sentence.spec, draw)
