"""
The canonical form of an infrastructure command, read from every older spelling of it.

Older data sets spell the same thing in four ways (``add`` with a zone, ``add_user``, ``create`` +
``resource_type``, and a code form that keeps its values in ``entities``). All of them are read
here, and one is written. A password is never kept: it becomes a reference to a secret store.
Prompts are cleaned of it by finetuned.data.redaction.

Knows spellings; does not know files, the wording of prompts or models.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

import orjson

from finetuned.data.intents.fields import Form
from finetuned.data.intents.kinds import REFERENCE_SCHEME, IntentError, Value
from finetuned.data.intents.table import ACTIONS, AROUND, MISSING, REASONS, TABLE, action_of

_VERBS: Final[Mapping[str, str]] = {
    "create": "add",
    "delete": "remove",
    "change": "update",
    "set": "update",
    "renew": "rotate",
}
"""Verbs that mean another one of the table's."""

_SPELLINGS: Final[Mapping[str, str]] = {
    spelling: action.name for action in TABLE for spelling in action.spellings
}

_ABOUT: Final = frozenset({"action", "category", "resource_type", "confidence", "raw_query"})
"""Keys that name the intent or tell how it was found; they are no values of it."""

_REVERSE: Final = (".in-addr.arpa", ".ip6.arpa")


def is_intent(obj: object) -> bool:
    """
    Tell whether *obj* names an infrastructure action in any accepted spelling.

    Only the name of the action is looked at; ``canonical`` checks the rest. A
    damaged intent is therefore refused, and not taken for some other JSON whose
    password would be kept.

    Args:
        obj: Anything, typically the parsed answer of a row.

    Returns:
        True if ``canonical`` knows the action.
    """
    return isinstance(obj, Mapping) and _action_of(obj) is not None


def canonical(intent: Mapping[str, Any]) -> dict[str, Any]:
    """
    Rewrite *intent* in the canonical spelling.

    Args:
        intent: One intent in any accepted spelling; not modified.

    Returns:
        A new dict with the canonical keys in their fixed order. Applying
        ``canonical`` to it again changes nothing. A user with a group becomes
        a batch of two steps.

    Raises:
        IntentError: The action is unknown, a value is missing, empty or of the
            wrong kind, or a key means nothing for this action.
    """
    action = _action_of(intent)
    if action is None:
        raise IntentError(f"not an infrastructure intent: action {intent.get('action')!r}")
    given = _values(intent)
    if action == "batch":
        return {"action": action, "steps": _steps(given)}
    if action == "clarify":
        return {"action": action, "missing": _missing(given)}
    if action == "none":
        return {"action": action, "reason": _reason(intent, given)}
    group = given.pop("group", None) if action == "user_add" else None
    given = _unaliased(action, given)
    _protect(action, given)
    _undo_older_forms(action, given)
    result = {"action": action, **_fitted(action, given)}
    if group is None:
        return result
    member = {"action": "group_add_member", "username": result["username"], "group": group}
    return {"action": "batch", "steps": [result, canonical(member)]}


def dumps(intent: Mapping[str, Any]) -> str:
    """
    Write *intent* as the one line of JSON that models are trained to answer.

    Args:
        intent: One intent in any accepted spelling.

    Returns:
        Canonical JSON without spaces, keys in their fixed order.

    Raises:
        IntentError: As ``canonical``.
    """
    return orjson.dumps(canonical(intent)).decode()


def reference_for(values: Mapping[str, object]) -> str:
    """
    Return where the password of a command is kept that gives it literally.
    """
    return f"{REFERENCE_SCHEME}{values.get('username') or values.get('host')}"


def _action_of(intent: Mapping[Any, Any]) -> str | None:
    name = intent.get("action")
    if intent.get("category") == "query" and name in (None, "query", "list", "none"):
        return "none"
    if not isinstance(name, str):
        return None
    if name in _SPELLINGS:
        return _SPELLINGS[name]
    if name in AROUND:
        marker = {"batch": "steps", "clarify": "missing", "none": "reason"}[name]
        return name if marker in intent else None
    if name in ACTIONS:
        return name
    verb = _VERBS.get(name, name)
    resource = intent.get("resource_type")
    if isinstance(resource, str):
        return _SPELLINGS.get(f"{verb} {resource}")
    return f"dns_{verb}" if "zone" in intent and verb in ("add", "remove") else None


def _values(intent: Mapping[str, Any]) -> dict[str, Any]:
    values = {k: v for k, v in intent.items() if k not in _ABOUT}
    entities = values.pop("entities", {})
    if not isinstance(entities, Mapping):
        raise IntentError("entities is not an object")
    for key, value in entities.items():
        _put(values, key, value)
    return {k: v for k, v in values.items() if v is not None}


def _put(values: dict[str, Any], key: str, value: object) -> None:
    if values.setdefault(key, value) != value:
        raise IntentError(f"{key} is given twice, with different values")


def _unaliased(action: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values under their own names; a name that is the action's own is no alias."""
    fields = action_of(action).fields
    own = {field.name for field in fields}
    names = {alias: f.name for f in fields for alias in f.aliases if alias not in own}
    found = {key: value for key, value in given.items() if key not in names}
    for key, value in given.items():
        if key in names:
            _put(found, names[key], value)
    return found


def _protect(action: str, given: dict[str, Any]) -> None:
    if "password_ref" not in {field.name for field in action_of(action).fields}:
        return
    if "password" in given:
        password = given.pop("password")
        keeps = isinstance(password, str) and password.startswith(REFERENCE_SCHEME)
        given.setdefault("password_ref", password if keeps else reference_for(given))


def _undo_older_forms(action: str, given: dict[str, Any]) -> None:
    """Read the address of a PTR record from the name in the zone, and a netmask as a prefix."""
    zone = str(given.get("zone", "")).rstrip(".").lower()
    if str(given.get("record_type")).upper() == "PTR" and zone.endswith(_REVERSE):
        del given["zone"]
        try:
            _put(given, "ip", _address_of(zone))
        except ValueError:
            raise IntentError(f"{action}: zone is not the reverse name of one address") from None
    if "netmask" in given and "address" in given:
        given["address"] = f"{given['address']}/{given.pop('netmask')}"


def _address_of(zone: str) -> str:
    """Return the address that a name such as ``5.0.0.10.in-addr.arpa`` stands for."""
    parts = zone.removesuffix(_REVERSE[0]).removesuffix(_REVERSE[1]).split(".")[::-1]
    digits = "".join(parts)
    groups = ":".join(digits[i : i + 4] for i in range(0, len(digits), 4))
    return str(ipaddress.ip_address(".".join(parts) if zone.endswith(_REVERSE[0]) else groups))


def _fitted(action: str, given: Mapping[str, Any]) -> dict[str, Value]:
    """
    Return the values of the first form that they fit.

    Raises:
        IntentError: None does; what is wrong with the form that knows most of the keys.
    """
    refused: list[tuple[int, str]] = []
    for form in action_of(action).forms:
        try:
            return _in_form(form, given)
        except ValueError as wrong:
            refused.append((sum(field.name in given for field in form), str(wrong)))
    raise IntentError(f"{action}: {max(refused, key=lambda found: found[0])[1]}")


def _in_form(form: Form, given: Mapping[str, Any]) -> dict[str, Value]:
    if unknown := sorted(set(given) - {field.name for field in form}):
        raise ValueError(f"unknown {', '.join(unknown)}")
    found: dict[str, Value] = {}
    for field in form:
        value = given.get(field.name, field.constant)
        if value is None:
            if field.needed:
                raise ValueError(f"{field.name} is missing")
            continue
        try:
            found[field.name] = field.kind.read(value)
        except ValueError as wrong:
            raise ValueError(f"{field.name} {wrong}") from None
    return found


def _steps(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    steps = given.get("steps")
    if set(given) != {"steps"} or not isinstance(steps, list) or not steps:
        raise IntentError("batch: steps must be a non-empty list, and the only key")
    result: list[dict[str, Any]] = []
    for step in steps:
        if not isinstance(step, Mapping):
            raise IntentError("batch: a step is not an object")
        # A step that stands for several is unfolded: batches do not nest.
        inner = canonical(step)
        result.extend(inner["steps"] if inner["action"] == "batch" else [inner])
    return result


def _missing(given: Mapping[str, Any]) -> list[str]:
    missing = given.get("missing")
    if set(given) != {"missing"} or not isinstance(missing, list) or not missing:
        raise IntentError("clarify: missing must be a non-empty list, and the only key")
    unknown = [m for m in missing if m not in MISSING]
    if unknown:
        raise IntentError(f"clarify: cannot ask for {unknown}")
    return [m for m in MISSING if m in missing]


def _reason(intent: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    if intent.get("category") == "query":
        return "question"
    reason = given.get("reason")
    if set(given) != {"reason"} or reason not in REASONS:
        raise IntentError(f"none: reason must be one of {', '.join(REASONS)}, and the only key")
    return str(reason)
