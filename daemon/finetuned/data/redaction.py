"""
Passwords in a command and in its prompt, replaced by references to a secret store.

Knows where each spelling of an intent keeps a password; does not know rows or files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from finetuned.data.intents import REFERENCE_SCHEME, canonical, reference_for

_PASSWORD_WORD: Final = re.compile(
    r"(?:password|passwd|passphrase|passcode|pwd|pw|pass|secret)\W*(?:(?:is|of|to|as)\W+)?$",
    re.IGNORECASE,
)
"""What a prompt writes directly before a password."""


def redact(prompt: str, intent: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """
    Replace every password of *intent* by a secret reference, in the prompt too.

    If the password is also another value of the intent (user "sam", password
    "sam"), only the occurrence that the prompt calls a password is replaced, or
    the last one if it calls none so.

    Args:
        prompt: What the user wrote, in which passwords may occur literally.
        intent: The answer to it, in any accepted spelling.

    Returns:
        The prompt without the passwords, and the canonical intent.

    Raises:
        IntentError: As ``canonical``.
    """
    clean = canonical(intent)
    public = {v for v in _strings(clean) if not v.startswith(REFERENCE_SCHEME)}
    for password, reference in _passwords(intent):
        prompt = _hide(prompt, password, reference, shared=password in public)
    return prompt, clean


def redact_others(value: object, intent: Mapping[str, Any]) -> object:
    """
    Replace every password of *intent* wherever else it stands in its row.

    Args:
        value: What is kept with the row, as JSON.
        intent: The answer of the row, in any accepted spelling.

    Returns:
        The value, with a secret reference in the place of each password.
    """
    for password, reference in _passwords(intent):
        value = _replaced(value, password, reference)
    return value


def _replaced(value: object, password: str, reference: str) -> object:
    if isinstance(value, str):
        return value.replace(password, reference)
    if isinstance(value, Mapping):
        return {key: _replaced(inner, password, reference) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, password, reference) for inner in value]
    return value


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _passwords(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for inner in value:
            yield from _passwords(inner)
    if not isinstance(value, Mapping):
        return
    password = str(value.get("password") or "")
    if password and not password.startswith(REFERENCE_SCHEME):
        yield password, str(value.get("password_ref") or reference_for(value))
    entities = value.get("entities")
    if isinstance(entities, Mapping):
        # The code form keeps the user beside the password, or one level up.
        around = {key: value.get(key) for key in ("username", "host")}
        yield from _passwords({**around, **entities})
    yield from _passwords(value.get("steps"))


def _hide(prompt: str, password: str, reference: str, *, shared: bool) -> str:
    literal = re.escape(password)
    spans = [m.span() for m in re.finditer(rf"(?<!\w){literal}(?!\w)", prompt)]
    if not spans:
        spans = [m.span() for m in re.finditer(literal, prompt)]
    if shared and spans:
        named = [s for s in spans if _PASSWORD_WORD.search(prompt[: s[0]])]
        spans = named or spans[-1:]
    for start, end in reversed(spans):
        prompt = prompt[:start] + reference + prompt[end:]
    return prompt
