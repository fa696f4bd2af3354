"""
An answer format: the JSON Schema that answers are held to, token by token, and its name.

Pure; does not know where formats come from, nor tokenizers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

import orjson

from finetuned.core.copied import CopyCheck, check_copied
from finetuned.core.copy_marks import (
    JsonSchema,
    check_marks,
    has_marks,
    unknown_extensions,
    without_marks,
)
from finetuned.core.json_schema import check_schema, schema_complaint
from finetuned.core.scoring.json_values import NOT_JSON, parse_json

_OPTIONS: Final[Any] = {"whitespace_pattern": "[ ]?", "lenient": False}
"""
At most one space between two parts: a model that is held may else write spaces for ever.
A keyword that cannot be held is an error, whatever the schema says of itself.
"""


@dataclass(frozen=True)
class AnswerFormat:
    """
    What answers look like.
    """

    name: str
    """For people: ``intents``, the name of a file, or ``own`` for a schema given in place."""
    schema: JsonSchema
    """As its author wrote it, with marks of copied values; empty in FREE."""

    @cached_property
    def digest(self) -> str:
        """Of all that decides which answers it allows; marks do not."""
        plain = without_marks(self.schema)
        return sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def has_copied(self) -> bool:
        """Whether it says of some value that it is copied from the prompt."""
        return has_marks(self.schema)

    def fits(self, answer: str) -> bool:
        """
        Return whether *answer* is JSON of this format.
        """
        value = parse_json(answer)
        return value is not NOT_JSON and schema_complaint(value, self.schema) is None

    def check_copied(self, answer: str, prompt: str) -> CopyCheck | None:
        """
        As core.copied.check_copied; None also if the format marks no value.
        """
        return check_copied(answer, self.schema, prompt) if self.has_copied else None


FREE: Final = AnswerFormat("none", {})
"""Said of an answer that is not to be held, whatever the default is."""


def grammar_of(schema: JsonSchema) -> str:
    """
    Return what llguidance holds answers with.

    Raises:
        ValueError: *schema* is no JSON Schema, or has a keyword that cannot be held.
    """
    from llguidance import LLMatcher

    check_schema(schema)
    grammar = LLMatcher.grammar_from_json_schema(without_marks(schema), overrides=_OPTIONS)
    if problem := LLMatcher.validate_grammar(grammar).strip():
        raise ValueError(f"this JSON Schema cannot be held: {problem.splitlines()[0]}")
    return str(grammar)


def make_format(name: str, schema: JsonSchema) -> AnswerFormat:
    """
    Return *schema* as a format.

    Raises:
        ValueError: It is no JSON Schema, cannot be held, or has a keyword ``x-...`` that means
            nothing here.
    """
    grammar_of(schema)
    if unknown := unknown_extensions(schema):
        raise ValueError(f"unknown keyword {unknown[0]}; the one of this program is x-copied")
    check_marks(schema)
    return AnswerFormat(name, schema)
