"""
Answer formats by the name that a row, a suite or the configuration gives them.

A format is named by a word (one that comes with finetuned, or "none"), or given as a JSON
Schema in place. Does not know models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

import orjson

from finetuned.core.answer_format import FREE, AnswerFormat, make_format
from finetuned.data.examples import Example
from finetuned.data.intent_schema import intent_schema
from finetuned.errors import ConfigError, MalformedExample

KEY: Final = "answer_format"
"""In a row, in its metadata, and in [model] of the configuration."""

SHIPPED: Final[Mapping[str, Callable[[], dict[str, object]]]] = {"intents": intent_schema}
"""The formats that come with finetuned, by name."""

_OWN: Final = "own"
"""What a schema that is given in place is called."""


def answer_format(value: object) -> AnswerFormat:
    """
    Return the format that *value* names or is; FREE for "none".

    Raises:
        ValueError: It is neither a known name nor a JSON Schema that answers can be held to.
    """
    if isinstance(value, dict):
        return _made(_OWN, orjson.dumps(value))
    if value == FREE.name:
        return FREE
    if isinstance(value, str) and value in SHIPPED:
        return _shipped(value)
    known = ", ".join((*SHIPPED, FREE.name))
    raise ValueError(f"{KEY} must be a JSON Schema or one of {known}; found {str(value)[:80]!r}")


def format_of(example: Example) -> AnswerFormat | None:
    """
    Return the format that a row asks for; None if it says nothing.

    Raises:
        MalformedExample: bad_answer_format: it cannot be used.
    """
    if (value := example.metadata.get(KEY)) is None:
        return None
    try:
        return answer_format(value)
    except ValueError as error:
        raise MalformedExample(
            "bad_answer_format",
            str(error),
            hint="Correct the schema, or name the label otherwise",
        ) from None


def check_answer(example: Example) -> None:
    """
    Refuse a row whose own answer its format does not allow: no model could be right.

    Raises:
        MalformedExample: bad_answer_format.
    """
    found = format_of(example)
    if found is None or found is FREE or example.kind != "conversation":
        return
    if not found.fits(example.messages[-1]["content"]):
        raise MalformedExample(
            "bad_answer_format",
            f"the answer does not fit the {KEY} of its row ({found.name})",
            hint="Correct one of them",
        )


def configured_format(text: str, root: Path) -> AnswerFormat | None:
    """
    Return the format that ``model.answer_format`` names, None for "".

    Args:
        text: The name of a shipped format, or the path of a file with a JSON Schema.
        root: What the path is relative to.

    Raises:
        ConfigError: There is no such format, or its file cannot be used.
    """
    if not text or text == FREE.name:
        return None
    if text in SHIPPED:
        return _shipped(text)
    path = root / text
    try:
        return _made(path.name, path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"model.{KEY} is {text!r}, which is neither one of {', '.join(SHIPPED)} nor a file "
            f"that can be read: {path}: {error.strerror}"
        ) from None
    except ValueError as error:
        raise ConfigError(f"model.{KEY}: {path}: {error}") from None


def resolved_format(text: str, root: Path) -> str:
    """
    Return ``model.answer_format`` as a process in another folder can use it.

    Raises:
        ConfigError: As configured_format.
    """
    configured_format(text, root)
    return text if not text or text in SHIPPED or text == FREE.name else str(root / text)


@lru_cache(maxsize=8)
def _shipped(name: str) -> AnswerFormat:
    return make_format(name, SHIPPED[name]())


@lru_cache(maxsize=64)
def _made(name: str, text: bytes) -> AnswerFormat:
    """A schema stands in many rows of a file and is read once."""
    try:
        schema = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ValueError("a JSON Schema must be an object")
    return make_format(name, schema)
