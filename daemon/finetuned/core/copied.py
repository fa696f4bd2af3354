"""
Values of an answer that must stand in the prompt, and those that do not: the model invented them.

Which values these are is said by a JSON Schema (core/copy_marks.py). Pure; does not know
models, nor what an answer is about.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from finetuned.core.copy_marks import ADDRESS, COPIED, HOST, JsonSchema
from finetuned.core.json_schema import fits_part, schema_complaint
from finetuned.core.scoring.json_values import NOT_JSON, parse_json
from finetuned.core.scoring.texts import NUMBER

_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]*[0-9A-Fa-f:]")
_NUMBER: Final = re.compile(NUMBER)


@dataclass(frozen=True, slots=True)
class Invented:
    """
    A value that does not stand in the prompt.
    """

    path: str
    """Where it is in the answer, such as ``$.steps[0].zone``."""
    value: str


@dataclass(frozen=True, slots=True)
class CopyCheck:
    """
    What came of looking for an answer's values in its prompt.
    """

    n_values: int
    """Values that were looked for, >= 0."""
    invented: tuple[Invented, ...]
    """Those that are not there, in the order of the answer."""

    @property
    def copied(self) -> bool:
        """Whether all of them are there."""
        return not self.invented

    def listed(self) -> list[dict[str, str]]:
        """
        Return the invented values as JSON.
        """
        return [{"path": one.path, "value": one.value} for one in self.invented]


def check_copied(answer: str, schema: JsonSchema, prompt: str) -> CopyCheck | None:
    """
    Look for the marked values of an answer in its prompt.

    Args:
        answer: JSON text.
        schema: Accepted by check_schema() and check_marks().
        prompt: All that the model was told, system message and earlier turns included.

    Returns:
        None if *answer* does not fit *schema*: which values are copied is not known then.
    """
    value = parse_json(answer)
    if value is NOT_JSON or schema_complaint(value, schema) is not None:
        return None
    told = _Told(prompt)
    found = list(dict.fromkeys(_marked(value, schema, schema, "$", set())))
    invented = [Invented(path, str(part)) for path, part, kind in found if not told.has(part, kind)]
    return CopyCheck(len(found), tuple(invented))


class _Told:
    """
    A prompt in the forms in which values are looked for.
    """

    def __init__(self, prompt: str) -> None:
        self._text = _plain(prompt)

    def has(self, value: str | int | float, kind: object) -> bool:
        """Return whether a value stands in the prompt."""
        if not isinstance(value, str):
            return any(_as_number(n) == value for n in _NUMBER.findall(self._text))
        if kind == ADDRESS and (address := _as_address(value)) is not None:
            return any(_as_address(a) == address for a in _addresses(self._text))
        if kind == HOST:
            return _stands(value.rstrip(".").casefold(), self._text.casefold())
        return _stands(value, self._text)


def _stands(value: str, text: str) -> bool:
    """
    Return whether *value* stands in *text* as whole words: "nas.home" is no part of "nas.home.lan".
    """
    if not (wanted := _plain(value)):
        return False
    joined = r"[.\-/]" if wanted.startswith("/") else r"[.\-]"
    pattern = rf"(?<!\w)(?<!\w[.\-]){re.escape(wanted)}(?!\w)(?!{joined}\w)"
    return re.search(pattern, text) is not None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _as_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        return None


def _addresses(text: str) -> Iterator[str]:
    """Yield what may be an address; of 10.0.0.5:80 also what stands before the port."""
    for found in _ADDRESS.findall(text):
        yield found
        if "." in found and ":" in found:
            yield found.rpartition(":")[0]


def _as_number(text: str) -> float:
    return float(text.replace(",", ""))


def _marked(
    value: Any,
    part: Any,
    whole: Mapping[str, Any],
    path: str,
    seen: set[tuple[str, int]],
) -> Iterator[tuple[str, str | int | float, object]]:
    """Yield path, value and mark of each marked value, of a value that fits *part*."""
    if not isinstance(part, Mapping) or (path, id(part)) in seen:
        return
    seen.add((path, id(part)))
    if COPIED in part and isinstance(value, str | int | float) and not isinstance(value, bool):
        yield path, value, part[COPIED]
    for inner in _same_value(value, part, whole):
        yield from _marked(value, inner, whole, path, seen)
    if isinstance(value, dict):
        for name, item in value.items():
            for inner in _of_property(name, part):
                yield from _marked(item, inner, whole, f"{path}.{name}", seen)
    elif isinstance(value, list):
        first = part.get("prefixItems", [])
        for i, item in enumerate(value):
            inner = first[i] if i < len(first) else part.get("items")
            yield from _marked(item, inner, whole, f"{path}[{i}]", seen)


def _same_value(value: Any, part: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the schemas that *part* applies to the same value, and that the value fits."""
    if isinstance(part.get("$ref"), str):
        yield _referred(part["$ref"], whole)
    yield from part.get("allOf", ())
    for key in ("anyOf", "oneOf"):
        for branch in part.get(key, ()):
            if not _differs(value, branch) and fits_part(value, branch, whole):
                yield branch


def _differs(value: Any, branch: Any) -> bool:
    """Return whether a constant of a branch tells at once that it is not meant."""
    if not (isinstance(value, dict) and isinstance(branch, Mapping)):
        return False
    named = branch.get("properties", {})
    return any(
        name in value
        and isinstance(inner, Mapping)
        and inner.get("const", value[name]) != value[name]
        for name, inner in named.items()
    )


def _of_property(name: str, part: Mapping[str, Any]) -> Iterator[Any]:
    named, patterns = part.get("properties", {}), part.get("patternProperties", {})
    found = [named[name]] if name in named else []
    # A pattern that cannot be matched in time has been complained of before.
    found += [
        inner for pattern, inner in patterns.items() if fits_part(name, {"pattern": pattern}, {})
    ]
    yield from found or [part.get("additionalProperties")]


def _referred(reference: str, whole: Mapping[str, Any]) -> Any:
    """Return the part of *whole* that a reference such as ``#/$defs/host`` names; None without."""
    if not reference.startswith("#"):
        return None
    found: Any = whole
    for step in reference[1:].split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return found
