"""
Secrets in a found row, replaced before the row is written or queued. Pure.

A secret is told by the key that holds it (``password``, ``api_key`` ...), in an answer that is
JSON and in arguments of tools, by the sentence that names it, or by its form. A value that a key
gives away is replaced wherever it stands in the row. A password that stands alone in a sentence
is not told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import orjson

from finetuned.core.masking import masked_in_prose
from finetuned.data.intents import REFERENCE_SCHEME
from finetuned.data.strict_json import parse_line
from finetuned.errors import MalformedExample

KEY: Final = re.compile(
    r"(?i)(?:.*[_-])?(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api_?key|access_?key"
    r"|secret_?key|private_?key|credentials?)"
)
"""Keys whose text is a secret, with any beginning: ``db_password``, ``wifi-passphrase``."""

_SHORTEST: Final = 3
"""Characters of a secret that is looked for in other texts; a shorter one is part of words."""


def is_secret(key: object, value: object) -> bool:
    """
    Return whether *value* is a secret by the name of its key, and no reference to one.
    """
    return (
        isinstance(key, str)
        and isinstance(value, str)
        and KEY.fullmatch(key) is not None
        and bool(value.strip())
        and not value.startswith(REFERENCE_SCHEME)
    )


def without_secrets(row: Mapping[str, object]) -> dict[str, object]:
    """
    Return *row* with each secret that can be told replaced; an equal row if there is none.
    """
    clean = dict(row)
    for secret, reference in dict(_named(row)).items():
        if len(secret) >= _SHORTEST:
            clean = {key: _put(value, secret, reference) for key, value in clean.items()}
    return {key: _cleaned(value) for key, value in clean.items()}


def _named(value: object, user: str = "") -> Iterator[tuple[str, str]]:
    """Yield each secret that a key gives away, with the reference that replaces it."""
    if isinstance(value, str):
        if (inner := _json_of(value)) is not None:
            yield from _named(inner, user)
    elif isinstance(value, list):
        for item in value:
            yield from _named(item, user)
    elif isinstance(value, Mapping):
        name = value.get("username") or value.get("name")
        user = name if isinstance(name, str) and name.strip() else user
        for key, item in value.items():
            if is_secret(key, item):
                yield str(item), f"{REFERENCE_SCHEME}{user or key}"
            else:
                yield from _named(item, user)


def _put(value: object, secret: str, reference: str) -> object:
    """Return *value* with a secret replaced where it stands as a whole word."""
    if isinstance(value, str):
        if (inner := _json_of(value)) is not None:
            put = _put(inner, secret, reference)
            return value if put == inner else orjson.dumps(put).decode()
        return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", lambda _: reference, value)
    if isinstance(value, list):
        return [_put(item, secret, reference) for item in value]
    if isinstance(value, Mapping):
        return {
            key: reference if is_secret(key, item) and item == secret
            else _put(item, secret, reference)
            for key, item in value.items()
        }  # fmt: skip
    return value


def _cleaned(value: object) -> object:
    """Return *value* with secrets in its sentences masked, and every named one replaced."""
    if isinstance(value, str):
        if (inner := _json_of(value)) is not None:
            clean = _cleaned(inner)
            return value if clean == inner else orjson.dumps(clean).decode()
        return masked_in_prose(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, Mapping):
        return {
            key: f"{REFERENCE_SCHEME}{key}" if is_secret(key, item) else _cleaned(item)
            for key, item in value.items()
        }
    return value


def _json_of(text: str) -> object | None:
    """Return the object or list that a text is, None if it is none."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = parse_line(text.encode("utf-8", "surrogatepass"))
    except MalformedExample:
        return None
    return value if isinstance(value, dict | list) else None
