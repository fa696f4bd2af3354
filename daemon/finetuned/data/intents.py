"""
The one schema of infrastructure commands, and every older spelling of it.

An intent is the JSON answer to a command such as "point api.local at 10.0.0.5":

    {"action":"dns_add","zone":"api.local","record_type":"A","ip":"10.0.0.5"}

Older data sets spell the same thing in four ways (``add`` with a zone,
``add_user``, ``create`` + ``resource_type``, and a code form that keeps its
values in ``entities``). All of them are read here, and one is written, so that
rows from any of them are trained and compared alike.

A password is never kept: it becomes a reference to a secret store. Prompts are
cleaned of it by finetuned.data.redaction.

Knows names, keys and their order; does not know files, the wording of prompts or models.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

import orjson

ACTIONS: Final = (
    "dns_add",
    "dns_remove",
    "user_add",
    "user_remove",
    "group_add_member",
    "share_create",
    "share_grant",
    "batch",
    "clarify",
    "none",
)
"""Canonical actions, in the order in which documents list them."""

REASONS: Final = ("question", "out_of_scope", "unsafe")
"""
Why nothing is to be done: the prompt is a question; it is about something else;
it asks for harm or for a secret.
"""

MISSING: Final = ("zone", "ip", "target", "username", "group", "name", "path", "share")
"""What a clarify may ask for, in the order in which it asks."""

REFERENCE_SCHEME: Final = "secret://"
"""Every stored credential is a reference that starts so."""

_ALIASES: Final[Mapping[str, str]] = {
    "add_dns": "dns_add",
    "remove_dns": "dns_remove",
    "add_user": "user_add",
    "remove_user": "user_remove",
    "add_to_group": "group_add_member",
    "create_share": "share_create",
    "grant_access": "share_grant",
}

_VERBS: Final[Mapping[str, str]] = {
    "add": "add",
    "create": "add",
    "remove": "remove",
    "delete": "remove",
}

_RESOURCES: Final[Mapping[tuple[str, str], str]] = {
    ("add", "dns"): "dns_add",
    ("add", "dns_record"): "dns_add",
    ("remove", "dns"): "dns_remove",
    ("remove", "dns_record"): "dns_remove",
    ("add", "user"): "user_add",
    ("remove", "user"): "user_remove",
    ("add", "share"): "share_create",
    ("add", "samba_share"): "share_create",
}

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "dns_add": ("zone", "record_type", "ip", "target"),
    "dns_remove": ("zone",),
    "user_add": ("username", "password_ref"),
    "user_remove": ("username",),
    "group_add_member": ("username", "group"),
    "share_create": ("name", "path"),
    "share_grant": ("username", "share"),
}
"""Keys after ``action``, in the order in which they are written."""

OPTIONAL: Final = frozenset({"record_type", "ip", "target", "password_ref"})
"""Those that an intent may lack; of ip and target a record has exactly one."""

RECORD_VALUES: Final[Mapping[str, str]] = {"A": "ip", "AAAA": "ip", "CNAME": "target"}
"""The key that holds the value, by type of record."""

_ABOUT: Final = frozenset({"action", "category", "resource_type", "confidence", "raw_query"})
"""Keys that name the intent or tell how it was found; they are no values of it."""


class IntentError(ValueError):
    """
    A mapping names a known action but lacks a value that the action needs.
    """


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
    _protect(action, given)
    if action == "dns_add":
        _complete_record(given)
    fields = FIELDS[action]
    if unknown := sorted(set(given) - set(fields)):
        raise IntentError(f"{action}: unknown {', '.join(unknown)}")
    result: dict[str, Any] = {"action": action}
    for key in fields:
        if key in given:
            result[key] = _text(action, key, given[key])
        elif key not in OPTIONAL:
            raise IntentError(f"{action}: {key} is missing")
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


def _action_of(intent: Mapping[Any, Any]) -> str | None:
    name = intent.get("action")
    if intent.get("category") == "query" and name in (None, "query", "list", "none"):
        return "none"
    if not isinstance(name, str):
        return None
    if name in _ALIASES:
        return _ALIASES[name]
    marker = {"batch": "steps", "clarify": "missing"}.get(name)
    if marker is not None:
        return name if marker in intent else None
    if name == "none":
        return name if "reason" in intent else None
    if name in FIELDS:
        return name
    verb = _VERBS.get(name)
    if verb is None:
        return None
    resource = intent.get("resource_type")
    if isinstance(resource, str):
        return _RESOURCES.get((verb, resource))
    return f"dns_{verb}" if "zone" in intent else None


def _values(intent: Mapping[str, Any]) -> dict[str, Any]:
    values = {k: v for k, v in intent.items() if k not in _ABOUT}
    entities = values.pop("entities", {})
    if not isinstance(entities, Mapping):
        raise IntentError("entities is not an object")
    for key, value in entities.items():
        if values.setdefault(key, value) != value:
            raise IntentError(f"{key} is given twice, with different values")
    if "type" in values:
        kind = values.pop("type")
        if values.setdefault("record_type", kind) != kind:
            raise IntentError("type and record_type disagree")
    return {k: v for k, v in values.items() if v is not None}


def _protect(action: str, given: dict[str, Any]) -> None:
    if action != "user_add":
        return
    if "password" in given:
        password = given.pop("password")
        keeps = isinstance(password, str) and password.startswith(REFERENCE_SCHEME)
        given.setdefault(
            "password_ref", password if keeps else f"{REFERENCE_SCHEME}{given.get('username')}"
        )
    reference = given.get("password_ref", REFERENCE_SCHEME)
    if not (isinstance(reference, str) and reference.startswith(REFERENCE_SCHEME)):
        # The value may be a password: it must not appear in a log.
        raise IntentError(f"user_add: password_ref does not start with {REFERENCE_SCHEME}")


def _complete_record(given: dict[str, Any]) -> None:
    kind = given.get("record_type")
    if ("ip" in given) == ("target" in given):
        raise IntentError("dns_add: exactly one of ip and target is needed")
    if "target" in given:
        actual = "CNAME"
        given["target"] = _host("target", given["target"])
    else:
        try:
            address = ipaddress.ip_address(given["ip"])
        except ValueError as e:
            raise IntentError(f"dns_add: {e}") from None
        actual = "A" if address.version == 4 else "AAAA"
        given["ip"] = str(address)
    if kind is not None and kind != actual:
        raise IntentError(f"dns_add: record_type is {kind!r}, the value needs {actual}")
    given["record_type"] = actual


def _text(action: str, key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise IntentError(f"{action}: {key} is not one line of text")
    return _host(key, value) if key == "zone" else value.strip()


def _host(key: str, value: object) -> str:
    # Names in the DNS have no case; a final dot only says "absolute".
    name = value.strip().rstrip(".").lower() if isinstance(value, str) else ""
    if not name or any(c.isspace() for c in name):
        raise IntentError(f"{key} is not a host name")
    return name


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
