"""
Answers read as JSON, strictly, and compared as JSON values.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

_MAX_DEPTH: Final = 64
"""Most objects and arrays inside one another: comparing them takes one call per level."""


class _NotJson:
    """Type of NOT_JSON."""


NOT_JSON: Final = _NotJson()
"""Sentinel for text that is not JSON (None would mean JSON null)."""


def parse_json(text: str) -> Any:
    """
    Return the JSON value in *text*, or NOT_JSON.

    A JSON string that itself holds an object or array gives that object or array:
    some datasets encode their answers twice. A Markdown fence around the text is
    removed. Text with a key given twice, half a surrogate pair, a number beyond the
    range of floats or more than 64 levels is not accepted, because two readers
    would read it differently, or not at all.
    """
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*)\n```\s*", text, re.DOTALL)
    try:
        value = _load(fenced[1] if fenced else text)
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            value = _load(value)
    except (ValueError, RecursionError):
        return NOT_JSON
    return value


def same_json(one: Any, other: Any) -> bool:
    """
    Return whether two JSON values are equal: 1 is 1.0 and not true; keys have no order.
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


def wrong_fields(found: Any, wanted: Any) -> tuple[list[str], int]:
    """
    Return the top-level fields that differ, are missing or unexpected, and how many there are.

    Values that are not both objects count as one field, called "(whole)".
    """
    if not (isinstance(found, dict) and isinstance(wanted, dict)):
        return ([] if same_json(found, wanted) else ["(whole)"]), 1
    names = list(wanted) + [name for name in found if name not in wanted]
    wrong = [
        name
        for name in names
        if name not in found or name not in wanted or not same_json(found[name], wanted[name])
    ]
    return wrong, max(1, len(names))


def _load(text: str) -> Any:
    value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, str):
            item.encode()  # fails on half a surrogate pair, which no report could hold
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError("a number beyond the range of floats")
        elif isinstance(item, dict | list):
            if depth > _MAX_DEPTH:
                raise ValueError("too many levels")
            inner = [*item, *item.values()] if isinstance(item, dict) else item
            stack += [(i, depth + 1) for i in inner]
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
