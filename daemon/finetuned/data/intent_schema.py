"""
The JSON Schema of infrastructure commands, made from the tables of data/intents.py.

An answer fits it if finetuned.data.intents.canonical() leaves it as it is, unprintable
characters apart. docs/reference/intents.schema.json is this schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from finetuned.core.copy_marks import ADDRESS, COPIED, HOST
from finetuned.data.intents import (
    ACTIONS,
    FIELDS,
    MISSING,
    OPTIONAL,
    REASONS,
    RECORD_VALUES,
    REFERENCE_SCHEME,
)

_VALUES: Final[Mapping[str, Mapping[str, Any]]] = {
    "host": {
        "description": "a name in the DNS: small letters, no final dot",
        "type": "string",
        "pattern": r"^[^\sA-Z]*[^\sA-Z.]$",
        COPIED: HOST,
    },
    "line": {
        "description": "a text of one line",
        "type": "string",
        "pattern": r"^\S(.*\S)?$",
        COPIED: True,
    },
    "reference": {
        "description": "where a secret is kept; never the secret",
        "type": "string",
        "pattern": f"^{REFERENCE_SCHEME}.*\\S$",
    },
}

_ADDRESSES: Final[Mapping[str, Mapping[str, Any]]] = {
    "A": {"type": "string", "format": "ipv4", COPIED: ADDRESS},
    "AAAA": {"type": "string", "format": "ipv6", COPIED: ADDRESS},
}
"""Values of the key ``ip``, by type of record."""

_KINDS: Final[Mapping[str, str]] = {"zone": "host", "target": "host", "password_ref": "reference"}
"""Kinds of values by key; every other key holds a line."""

STEPS: Final = tuple(action for action in ACTIONS if action != "batch")
"""Actions that may be steps of a batch: batches do not nest."""


def intent_schema() -> dict[str, object]:
    """
    Return the JSON Schema of one canonical intent.
    """
    steps = [schema for action in STEPS for schema in _variants(action)]
    batch = _object(
        "batch", {"steps": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}}}
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An infrastructure command",
        "anyOf": [{"$ref": "#/$defs/step"}, batch],
        "$defs": {
            **{name: dict(schema) for name, schema in _VALUES.items()},
            "step": {"anyOf": steps},
        },
    }


def _variants(action: str) -> list[dict[str, Any]]:
    """Return the objects of one action; several if a value decides which others there are."""
    if action == "clarify":
        missing = {"enum": list(MISSING)}
        listed = {"type": "array", "minItems": 1, "maxItems": len(MISSING), "items": missing}
        return [_object(action, {"missing": listed})]
    if action == "none":
        return [_object(action, {"reason": {"enum": list(REASONS)}})]
    fields = FIELDS[action]
    if "record_type" not in fields:
        return [_object(action, {key: _value(key) for key in fields})]
    return [_record(action, fields, kind, value) for kind, value in RECORD_VALUES.items()]


def _record(action: str, fields: tuple[str, ...], kind: str, value: str) -> dict[str, Any]:
    """Return the object of a record of one type, with the one key that holds its value."""
    others = set(RECORD_VALUES.values()) - {value}
    found = {key: _value(key) for key in fields if key not in others}
    found["record_type"] = {"const": kind}
    if kind in _ADDRESSES:
        found[value] = dict(_ADDRESSES[kind])
    required = [key for key in found if key not in OPTIONAL or key in ("record_type", value)]
    return _object(action, found, required)


def _value(key: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{_KINDS.get(key, 'line')}"}


def _object(
    action: str, fields: Mapping[str, Any], required: list[str] | None = None
) -> dict[str, Any]:
    needed = [key for key in fields if key not in OPTIONAL] if required is None else required
    return {
        "type": "object",
        "properties": {"action": {"const": action}, **fields},
        "required": ["action", *needed],
        "additionalProperties": False,
    }
