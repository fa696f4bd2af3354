"""
Names, numbers and addresses exchanged for others of the same shape, in prompt and answer alike.

Only values that the file's answers copy from their prompts are exchanged (facts.py). A new value
is drawn letter by letter, so that it belongs to no other row. Pure.
"""

from __future__ import annotations

import ipaddress
import random
import re
from dataclasses import replace
from typing import Final

from finetuned.core.scoring.json_values import NOT_JSON, parse_json, same_json
from finetuned.sources.augment.exchange import Exchange, exchanged, leaves, occurrences
from finetuned.sources.augment.transform import Transform

_TRIES: Final = 12
_LEAST: Final = 2
"""Shortest value that is exchanged, in characters: a single letter stands for too much."""

_VOWELS: Final = "aeiou"
_CONSONANTS: Final = "bcdfghjklmnprstvwz"
_PART: Final = re.compile(r"[A-Za-z]+|[0-9]+")


def drawn_like(value: str, rng: random.Random) -> str:
    """
    Return another value of the same shape: letters for letters, digits for digits, the rest kept.

    An address stays an address of its version with its first half; a name keeps its last
    label, a path its first folders; a number keeps its first digit and its length.
    """
    address = _address(value)
    if isinstance(address, ipaddress.IPv4Address):
        first = value.split(".")[:2]
        return ".".join((*first, str(rng.randint(0, 254)), str(rng.randint(1, 254))))
    if address is not None:
        return _address_like(value, rng)
    if value.startswith("/") and "/" in value[1:]:
        at = value.rindex("/") + 1
        return value[:at] + _parts_like(value[at:], rng)
    head, dot, last = value.rpartition(".")
    if dot and head and last.isalpha():
        return _parts_like(head, rng) + dot + last
    return _parts_like(value, rng)


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def _address_like(value: str, rng: random.Random) -> str:
    groups = value.split(":")
    for i, group in enumerate(groups):
        if i and group and "." not in group:
            digits = rng.choice("123456789abcdef") + "".join(
                rng.choice("0123456789abcdef") for _ in group[1:]
            )
            groups[i] = digits
    return ":".join(groups)


def _parts_like(text: str, rng: random.Random) -> str:
    def other(match: re.Match[str]) -> str:
        part = match[0]
        if part.isdigit():
            first = part[0] if len(part) > 1 else rng.choice("123456789")
            return first + "".join(rng.choice("0123456789") for _ in part[1:])
        return _letters_like(part, rng)

    return _PART.sub(other, text)


def _letters_like(part: str, rng: random.Random) -> str:
    """Return as many letters that can be spoken, with the case of the given ones."""
    offset = rng.randrange(2)
    drawn = [rng.choice(_VOWELS if (i + offset) % 2 else _CONSONANTS) for i, _ in enumerate(part)]
    return "".join(d.upper() if c.isupper() else d for c, d in zip(part, drawn, strict=True))


def _draw(exchange: Exchange, rng: random.Random) -> Exchange | None:
    both = f"{exchange.prompt}\n{exchange.answer}".casefold()
    values: dict[str, str] = {}
    for value in exchange.values:
        if len(value) < _LEAST or value.casefold() in exchange.common:
            continue  # such a word has a meaning of its own
        for _ in range(_TRIES):
            other = drawn_like(value, rng)
            if other.casefold() not in both and other not in values.values():
                values[value] = other
                break
    if not values:
        return None
    return replace(
        exchange,
        prompt=exchanged(exchange.prompt, values),
        answer=_answer_with(exchange.answer, values),
        values=tuple(values.get(value, value) for value in exchange.values),
    )


def _answer_with(answer: str, values: dict[str, str]) -> str:
    """Return the JSON text with whole strings and numbers exchanged, its layout kept."""

    def other(match: re.Match[str]) -> str:
        if match["key"] is not None:
            return match[0]
        inner = match["string"] if match["string"] is not None else match["number"]
        return match[0].replace(inner, values[inner]) if inner in values else match[0]

    return _SCALAR.sub(other, answer)


_SCALAR: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*"\s*:)|"(?P<string>(?:[^"\\]|\\.)*)"|(?P<number>-?\d[\d.eE+-]*)'
)
"""A key, a string or a number of JSON text; text in a string is never taken for a number."""


def exchanges(parent: Exchange, child: Exchange) -> dict[str, str] | None:
    """
    Return which values became which, None if the answers differ in more than values.
    """
    before, after = parse_json(parent.answer), parse_json(child.answer)
    if before is NOT_JSON or after is NOT_JSON:
        return None
    values: dict[str, str] = {}
    olds, news = list(leaves(before)), list(leaves(after))
    if [path for path, _ in olds] != [path for path, _ in news]:
        return None
    for (_, old), (_, new) in zip(olds, news, strict=True):
        if same_json(old, new):
            continue
        if type(old) is not type(new) or values.setdefault(str(old), str(new)) != str(new):
            return None
    return values


def _complaint(parent: Exchange, child: Exchange) -> str | None:
    values = exchanges(parent, child)
    if values is None:
        return "answer_changed"
    if not values or not values.keys() <= set(parent.values):
        return "other_values_changed"
    before = f"{parent.prompt}\n{parent.answer}".casefold()
    if len(set(values.values())) < len(values) or any(
        new.casefold() in before for new in values.values()
    ):
        return "value_not_new"
    back = {new: old for old, new in values.items()}
    if exchanged(child.prompt, back) != parent.prompt:
        return "prompt_changed"
    if _answer_with(child.answer, back) != parent.answer:
        return "answer_changed"
    after = f"{child.prompt}\n{child.answer}".casefold()
    for old, new in values.items():
        if occurrences(new, child.prompt) != occurrences(old, parent.prompt):
            return "value_lost"
        if old.casefold() in after:
            return "value_left"  # in a word that was made from it
        if type(_address(old)) is not type(_address(new)):
            return "value_of_another_kind"
    return None


VALUES: Final = Transform(
    "values",
    "the words around the values, the keys and the layout of the answer, and all other values",
    _draw,
    _complaint,
)
