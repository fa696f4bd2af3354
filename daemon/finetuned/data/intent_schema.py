"""
The JSON Schema of infrastructure commands, made from the table of data/intents/.

An answer fits it if finetuned.data.intents.canonical() leaves it as it is; unprintable characters
and the numbers in an address that has a prefix apart. docs/reference/intents.schema.json is this
schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from finetuned.data.intents.fields import Form
from finetuned.data.intents.kinds import reference_to
from finetuned.data.intents.table import ACTIONS, MISSING, REASONS, TABLE, action_of

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
        "$defs": {**_definitions(), "step": {"anyOf": steps}},
    }


def _definitions() -> dict[str, dict[str, Any]]:
    """Return the kinds of values that have a name, in the order of their first use."""
    kinds = [field.kind for action in TABLE for field in action.fields]
    return {kind.name: dict(kind.schema) for kind in kinds if kind.name}


def _variants(action: str) -> list[dict[str, Any]]:
    """Return the objects of one action, one for each of its forms."""
    if action == "clarify":
        missing = {"enum": list(MISSING)}
        listed = {"type": "array", "minItems": 1, "maxItems": len(MISSING), "items": missing}
        return [_object(action, {"missing": listed})]
    if action == "none":
        return [_object(action, {"reason": {"enum": list(REASONS)}})]
    return [_of_form(action, form) for form in action_of(action).forms]


def _of_form(action: str, form: Form) -> dict[str, Any]:
    values = {field.name: reference_to(field.kind) for field in form}
    return _object(action, values, [field.name for field in form if field.needed])


def _object(
    action: str, values: Mapping[str, Any], required: Iterable[str] | None = None
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"action": {"const": action}, **values},
        "required": ["action", *(values if required is None else required)],
        "additionalProperties": False,
    }
