"""
The base model's own notations for what a command asks for: none is the demo's schema.

A sentence, a call, another JSON (``op``), the kind alone, and fields picked by name.
Knows canonical intents; does not know how commands are worded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

Step = dict[str, Any]

_OPS = {
    "dns_add": ("record", "create"),
    "dns_remove": ("record", "drop"),
    "user_add": ("account", "create"),
    "user_remove": ("account", "drop"),
    "group_add_member": ("team", "join"),
    "share_create": ("folder", "create"),
    "share_grant": ("folder", "allow"),
    "clarify": ("ask", "back"),
    "none": ("skip", "it"),
}
_KEYS = {
    "zone": "host", "record_type": "class", "ip": "to", "target": "to", "username": "login",
    "password_ref": "key", "group": "team", "name": "label", "path": "dir", "share": "label",
    "missing": "for", "reason": "why",
}  # fmt: skip
_WHY = {"question": "asks", "out_of_scope": "other", "unsafe": "danger"}


def _values(step: Step) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in step.items():
        if key == "missing":
            out["for"] = [_KEYS[m] if m != "ip" else "address" for m in value]
        elif key == "reason":
            out["why"] = _WHY[value]
        elif key != "action":
            out[_KEYS[key]] = {"A": "v4", "AAAA": "v6", "CNAME": "alias"}.get(value, value)
    return out


def as_json(steps: list[Step]) -> str:
    ops = [{"op": "_".join(_OPS[s["action"]][::-1]), **_values(s)} for s in steps]
    return compact(ops[0] if len(ops) == 1 else {"ops": ops})


def as_call(step: Step) -> str:
    values = [v if isinstance(v, str) else ",".join(v) for v in _values(step).values()]
    return f"{_OPS[step['action']][1]}_{_OPS[step['action']][0]}({', '.join(values)})"


def as_kind(step: Step) -> str:
    values = _values(step)
    return " ".join((*_OPS[step["action"]], str(values.get("class", values.get("why", "")))))


def as_words(step: Step) -> str:
    v = _values(step)
    match step["action"]:
        case "dns_add":
            kind = {"v4": "points to", "v6": "points over IPv6 to", "alias": "is an alias of"}
            return f"{v['host']} now {kind[v['class']]} {v['to']}."
        case "dns_remove":
            return f"{v['host']} is now gone."
        case "user_add":
            key = f", key in {v['key']}" if "key" in v else ""
            return f"{v['login']} now has an account{key}."
        case "user_remove":
            return f"{v['login']} no longer has an account."
        case "group_add_member":
            return f"{v['login']} is now in team {v['team']}."
        case "share_create":
            return f"{v['dir']} is now shared as {v['label']}."
        case "share_grant":
            return f"{v['login']} can now use {v['label']}."
        case "clarify":
            return f"Which {' and '.join(v['for'])}?"
        case _:
            why = {
                "asks": "That is a question.",
                "other": "That is not my work.",
                "danger": "I will not do that.",
            }
            return why[v["why"]]


_FIELD_NAMES = {
    "zone": ("host", "fqdn", "zone", "name"),
    "zone2": ("other", "second"),
    "wild": ("host", "pattern", "zone"),
    "target": ("points_to", "target", "original"),
    "ip": ("addr", "ip", "number"),
    "ip4": ("addr", "ip", "v4"),
    "ip6": ("addr", "ip", "v6"),
    "user": ("who", "login", "username"),
    "user2": ("other", "second"),
    "group": ("team", "group", "unit"),
    "group2": ("team2", "other_team"),
    "share": ("label", "name", "share"),
    "path": ("dir", "where", "path"),
    "secret": ("key", "secret"),
}


def picked_fields(values: Mapping[str, str], rng: random.Random) -> dict[str, str | None]:
    """
    Name the values of a sentence freely, in any order; some of what is asked is not there.

    Args:
        values: The name that stands in each gap.
        rng: Where the choices come from.
    """
    gaps = list(values)
    rng.shuffle(gaps)
    picked: dict[str, str | None] = {}
    for gap in gaps:
        options = _FIELD_NAMES.get(gap, (gap.rstrip("0123456789"),))
        picked.setdefault(rng.choice(options), values[gap])
    if rng.random() < 0.2:
        picked.setdefault(rng.choice(("port", "size", "color", "owner")), None)
    return picked


def compact(value: object) -> str:
    """
    Write *value* as JSON without spaces.
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
