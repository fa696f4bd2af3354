"""
A message of an example, and the text of a value, which is never converted from another type.

Every error names the place in the row and the value found there.
Does not know which row formats exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from finetuned.errors import MalformedExample

Message = dict[str, Any]
"""``role``, ``content`` and the keys that examples.Example documents."""

Tool = dict[str, Any]
"""A function schema as OpenAI writes it: ``{"type": "function", "function": {"name", ...}}``."""


_TEXT_PARTS: Final = ("text", "input_text", "output_text")
"""Types of content parts that hold text, in OpenAI's chat and in its responses."""


def kind_of(value: object) -> str:
    """
    Return *value* as an error message shows it: its JSON type, and a short value itself.
    """
    names: dict[type, str] = {
        dict: "an object", list: "a list", str: "a string", int: "an integer",
        float: "a number", bool: "a boolean", type(None): "null",
    }  # fmt: skip
    shown = "" if isinstance(value, dict | list) or value is None else f" {str(value)[:40]!r}"
    return names[type(value)] + shown


def text_of(value: object, where: str) -> str:
    """
    Return the text of a string or of a list of text parts, joined.

    Raises:
        MalformedExample: bad_content: it is another kind of value; nothing is converted.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_part(part, f"{where}[{i}]") for i, part in enumerate(value))
    raise MalformedExample("bad_content", f"{where} must be a string, got {kind_of(value)}")


def _part(part: object, where: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type", "text") not in _TEXT_PARTS:
        kind = part.get("type") if isinstance(part, dict) else kind_of(part)
        raise MalformedExample("bad_content", f"{where} must be a text part, got {kind!s:.40}")
    if not isinstance(part.get("text"), str):
        raise MalformedExample(
            "bad_content",
            f"{where}.text must be a string, got {kind_of(part.get('text'))}",
            hint=rename_hint(part, "text"),
        )
    return str(part["text"])


def required_text(value: object, where: str) -> str:
    """
    Return the text of *value*, which must not be blank.

    Raises:
        MalformedExample: bad_content or empty_content.
    """
    text = text_of(value, where)
    if not text.strip():
        raise MalformedExample("empty_content", f"{where} is empty")
    return text


def rename_hint(value: Mapping[str, object], wanted: str) -> str:
    """
    Return which other key of *value* probably holds the text that is missing at *wanted*.
    """
    for key in ("content", "value", "text", "message", "utterance", "body"):
        if key != wanted and isinstance(value.get(key), str):
            return f"There is a text at {key!r}: rename the key to {wanted!r}"
    return ""
