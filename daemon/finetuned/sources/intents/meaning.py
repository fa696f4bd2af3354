"""
What a sentence asks for: the canonical intent of its spec and of the names in its gaps.

Knows specs, such as ``dns_add zone ip``; does not know wording.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetuned.data.intents import canonical
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


def intent_of(spec: str, values: Mapping[str, str]) -> dict[str, Any]:
    """
    Build the canonical intent that *spec* asks for.

    Args:
        spec: One step, or several joined by ``&``: an action, then the gaps
            that hold its values in the order of the schema. ``*`` is the
            address or target that the sentence has, ``target=zone`` takes the target from
            another gap. ``clarify`` and ``none`` carry their answer.
        values: The name that stands in each gap.

    Returns:
        The canonical intent; a batch if there are several steps.
    """
    steps = [_step(part.split(), values) for part in spec.split(" & ")]
    return canonical(steps[0] if len(steps) == 1 else {"action": "batch", "steps": steps})


def _step(words: list[str], values: Mapping[str, str]) -> dict[str, Any]:
    action, gaps = words[0], words[1:]
    if action == "clarify":
        return {"action": action, "missing": gaps}
    if action == "none":
        return {"action": action, "reason": gaps[0]}
    if action == "dns_add":
        zone, kind = gaps
        if kind == "*":
            kind = next(g for g in ("ip", "ip4", "ip6", "target") if g in values)
        key = "target" if kind.startswith("target") else "ip"
        return {"action": action, "zone": values[zone], key: values[kind.rpartition("=")[2]]}
    keys = {
        "dns_remove": ("zone",),
        "user_add": ("username", "password_ref"),
        "user_remove": ("username",),
        "group_add_member": ("username", "group"),
        "share_create": ("name", "path"),
        "share_grant": ("username", "share"),
    }[action]
    return {"action": action, **{k: values[g] for k, g in zip(keys, gaps, strict=False)}}


def realise(sentence: Sentence, draw: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """
    Fill the gaps of *sentence*.

    Returns:
        The prompt and its canonical intent.
    """
    return fill(sentence.phrasing, draw), intent_of(sentence.spec, draw)
