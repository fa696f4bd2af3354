"""
The keyword ``x-copied`` of a JSON Schema: which values of an answer stand in its prompt.

It belongs to a string or a number:

    true         the text stands in the prompt, as whole words
    "host"       the same for a host name: case and a final dot make no difference
    "address"    an IP address that the prompt has, in whatever spelling

Values without it (enums, references, what follows by rule) are never looked for. Looking is
core/copied.py. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

JsonSchema = Mapping[str, object]
"""A JSON Schema, as a JSON parser returns it."""

COPIED: Final = "x-copied"
HOST: Final = "host"
ADDRESS: Final = "address"

_MAPS: Final[tuple[str, ...]] = ("properties", "patternProperties", "$defs", "definitions")
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_PARTS: Final = ("items", "additionalProperties")
"""Keywords whose schemas are followed from a value to its marks."""

_MAPS_NOT_READ: Final[tuple[str, ...]] = ("dependentSchemas", "dependencies")
_PARTS_NOT_READ: Final[tuple[str, ...]] = (
    *("not", "if", "then", "else", "contains", "propertyNames", "contentSchema"),
    *("unevaluatedItems", "unevaluatedProperties"),
)
"""Keywords with schemas below which a mark is refused: it would never be looked at."""


def check_marks(schema: JsonSchema) -> None:
    """
    Check every ``x-copied`` of a JSON Schema.

    Raises:
        ValueError: One has an unknown value, is at no string or number, or stands where it
            would never be looked at; the message has its place.
    """
    for place, part, is_read in _schemas(schema, "#", is_read=True):
        if COPIED not in part:
            continue
        kind = part[COPIED]
        if kind is not True and kind not in (HOST, ADDRESS):
            raise ValueError(
                f'{place}: {COPIED} must be true, "{HOST}" or "{ADDRESS}", found {kind!r}'
            )
        allowed = ("string", "number", "integer") if kind is True else ("string",)
        if part.get("type") not in allowed:
            raise ValueError(
                f"{place}: {COPIED} {kind!r} needs a type beside it: {' or '.join(allowed)}"
            )
        if not is_read:
            raise ValueError(
                f"{place}: {COPIED} is not looked at there; put it below properties, items, "
                "anyOf, oneOf, allOf or $defs"
            )


def unknown_extensions(schema: JsonSchema) -> list[str]:
    """
    Return the keywords of a JSON Schema that begin with ``x-`` and mean nothing, with their places.
    """
    return [
        f"{place}/{key}"
        for place, part, _ in _schemas(schema, "#", is_read=True)
        for key in part
        if key.startswith("x-") and key != COPIED
    ]


def has_marks(schema: JsonSchema) -> bool:
    """
    Return whether *schema* says of some value that it is copied.
    """
    return any(COPIED in part for _, part, _ in _schemas(schema, "#", is_read=True))


def without_marks(schema: JsonSchema) -> dict[str, object]:
    """
    Return *schema* without ``x-copied``, for those who do not know the keyword.
    """
    made: dict[str, Any] = {key: value for key, value in schema.items() if key != COPIED}
    for key in (*_MAPS, *_MAPS_NOT_READ):
        if isinstance(made.get(key), Mapping):
            made[key] = {name: _bare(part) for name, part in made[key].items()}
    for key in (*_LISTS, *_PARTS, *_PARTS_NOT_READ):
        if key in made:
            made[key] = _bare(made[key])
    return made


def _schemas(
    part: Any, place: str, *, is_read: bool
) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Yield place, schema and whether its marks are looked at, of *part* and all below it."""
    if not isinstance(part, Mapping):
        return
    yield place, part, is_read
    for keys, read in ((_MAPS, is_read), (_MAPS_NOT_READ, False)):
        for key in keys:
            inner = part.get(key)
            for name, one in inner.items() if isinstance(inner, Mapping) else ():
                yield from _schemas(one, f"{place}/{key}/{name}", is_read=read)
    for keys, read in (((*_LISTS, *_PARTS), is_read), (_PARTS_NOT_READ, False)):
        for key in keys:
            inner = part.get(key)
            if isinstance(inner, list):
                for i, one in enumerate(inner):
                    yield from _schemas(one, f"{place}/{key}/{i}", is_read=read)
            else:
                yield from _schemas(inner, f"{place}/{key}", is_read=read)


def _bare(value: Any) -> Any:
    if isinstance(value, list):
        return [_bare(item) for item in value]
    return without_marks(value) if isinstance(value, Mapping) else value
