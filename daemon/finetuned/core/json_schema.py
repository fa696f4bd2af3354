"""
JSON values checked against a JSON Schema, in bounded time.

The jsonschema package matches the patterns of a schema with the standard library's `re`,
which cannot be stopped: on some patterns a short text takes years. Here the keywords that
hold patterns are matched by the `regex` package with a time limit, and so is the descent into
parts of the schema, which may refer to each other twice and twice again. Nothing is fetched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

MATCH_SECONDS: Final = 2.0
"""Longest time that a schema, its patterns included, may take on one value."""

_deadline: ContextVar[float] = ContextVar("deadline")
"""When the patterns must have been matched, on the clock of time.monotonic."""

_Errors = Iterator[Any]


def check_schema(schema: Mapping[str, Any]) -> None:
    """
    Check that values can be compared with *schema*.

    Raises:
        ValueError: *schema* is not a JSON Schema, or it combines ``unevaluatedProperties``
            with ``patternProperties``, whose patterns could not be given a time limit.
    """
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]

    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"not a JSON Schema: {error.message}") from None
    if {"unevaluatedProperties", "patternProperties"} <= _all_keys(schema):
        raise ValueError(
            "a JSON Schema with unevaluatedProperties and patternProperties is not supported; "
            "use additionalProperties"
        )


def schema_complaint(value: Any, schema: Mapping[str, Any]) -> str | None:
    """
    Return why *value* does not fit *schema*, at most 300 characters, or None if it fits.

    Args:
        value: What a JSON parser returns.
        schema: Accepted by check_schema().
    """
    import regex  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
    from referencing.exceptions import Unresolvable

    token = _deadline.set(time.monotonic() + MATCH_SECONDS)
    try:
        # The registry knows the drafts and fetches nothing.
        validator = _limited(validator_for(schema))(schema, registry=REGISTRY)
        error = next(validator.iter_errors(value), None)
    except RecursionError:
        return "the schema refers to itself without end"
    except Unresolvable as unknown:
        return f"the schema refers to what is not in it: {unknown}"[:300]
    except TimeoutError:
        return (
            f"the schema could not be checked within {MATCH_SECONDS:g} s; simplify its patterns, "
            "and parts that refer to other parts more than once"
        )
    except regex.error as problem:
        return f"the schema has a pattern that is not a regular expression: {problem}"[:300]
    finally:
        _deadline.reset(token)
    return None if error is None else f"{error.json_path}: {error.message}"[:300]


def fits_part(value: object, part: object, whole: Mapping[str, object]) -> bool:
    """
    Return whether *value* fits a part of a schema; one that cannot be checked in time does not.

    Args:
        value: What a JSON parser returns.
        part: A schema inside *whole*, or one that refers to it.
        whole: Accepted by check_schema(), and fitted by the value that *value* is a part of.
    """
    from jsonschema.validators import validator_for
    from jsonschema_specifications import REGISTRY

    token = _deadline.set(time.monotonic() + MATCH_SECONDS)
    try:
        validator = _limited(validator_for(whole))(whole, registry=REGISTRY)
        return next(validator.evolve(schema=part).iter_errors(value), None) is None
    except (RecursionError, TimeoutError):
        return False
    finally:
        _deadline.reset(token)


def _search(pattern: str, text: str) -> bool:
    """Return whether *text* has a match of *pattern*; raise TimeoutError after the deadline."""
    import regex

    return regex.search(pattern, text, timeout=_left()) is not None


def _left() -> float:
    """Return the seconds to the deadline; raise TimeoutError after it."""
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@cache
def _limited(validator_class: Any) -> Any:
    """Return the validator class of a draft with its patterns matched by _search()."""
    import attrs
    from jsonschema.validators import extend

    stock = validator_class.VALIDATORS["additionalProperties"]

    def additional_properties(validator: Any, rule: Any, value: Any, schema: Any) -> _Errors:
        patterns = schema.get("patternProperties", {})
        if patterns and isinstance(value, dict):
            value = {k: v for k, v in value.items() if not any(_search(p, k) for p in patterns)}
            schema = {k: v for k, v in schema.items() if k != "patternProperties"}
        yield from stock(validator, rule, value, schema)

    keywords = {"pattern": _pattern, "patternProperties": _pattern_properties}
    limited = extend(validator_class, {**keywords, "additionalProperties": additional_properties})
    evolve = limited.evolve

    def evolve_limited(validator: Any, **changes: Any) -> Any:
        # A part of a schema that names its draft gets the unlimited class of that draft.
        _left()
        made = evolve(validator, **changes)
        if isinstance(made, limited):
            return made
        unlimited: Any = type(made)
        fields = [field for field in attrs.fields(unlimited) if field.init]
        return _limited(unlimited)(**{f.alias: getattr(made, f.name) for f in fields})

    limited.evolve = evolve_limited
    return limited


def _pattern(validator: Any, wanted: str, value: Any, schema: Any) -> _Errors:
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and not _search(wanted, value):
        yield ValidationError(f"{value!r} does not match {wanted!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, schema: Any) -> _Errors:
    for wanted, subschema in patterns.items() if isinstance(value, dict) else ():
        for name, inner in value.items():
            if _search(wanted, name):
                yield from validator.descend(inner, subschema, path=name, schema_path=wanted)


def _all_keys(value: Any) -> set[str]:
    """Return the keys of all objects in a JSON value."""
    found: set[str] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            found.update(item)
            stack += item.values()
        elif isinstance(item, list):
            stack += item
    return found
