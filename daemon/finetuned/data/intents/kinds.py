"""
Kinds of values in a command: how one is read, and the JSON Schema that it fits then.

A kind reads a value in any accepted spelling and returns the canonical one, which it reads as
itself. Does not know actions.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from finetuned.core.copy_marks import ADDRESS, COPIED
from finetuned.core.copy_marks import HOST as HOST_MARK

REFERENCE_SCHEME: Final = "secret://"
"""Every stored credential is a reference that starts so."""

Value = str | int | list[str]


class IntentError(ValueError):
    """
    A mapping names a known action but lacks a value that the action needs.
    """


@dataclass(frozen=True, slots=True)
class Kind:
    """
    What one value may be.
    """

    name: str
    """Its name among the definitions of the schema; empty if it is written in place."""
    schema: Mapping[str, object]
    """The JSON Schema of a canonical value."""
    read: Callable[[object], Value]
    """Return the canonical value; ValueError with what is wrong, never with the value itself."""


def one_of(*words: str, **others: str) -> Kind:
    """
    Return the kind of a word from a list.

    Args:
        words: The canonical words.
        others: Other spellings, in small letters with ``_`` for ``-`` and spaces, and what they
            mean.
    """
    known = {word.lower().replace("-", "_"): word for word in words} | others

    def read(value: object) -> str:
        plain = re.sub(r"[\s-]+", "_", value.strip().lower()) if isinstance(value, str) else ""
        if plain not in known:
            raise ValueError(f"is none of {', '.join(words)}")
        return known[plain]

    schema = {"const": words[0]} if len(words) == 1 else {"enum": list(words)}
    return Kind("", schema, read)


def number(name: str, low: int, high: int, meaning: str) -> Kind:
    """
    Return the kind of a whole number from *low* to *high*, which the prompt has in digits.
    """

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value.strip()):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"is no whole number from {low} to {high}")
        return value

    limits = {"type": "integer", "minimum": low, "maximum": high, COPIED: True}
    return Kind(name, {"description": meaning, **limits}, read)


def several(kind: Kind) -> Kind:
    """
    Return the kind of a list of one or more values; one alone is read as a list of one.
    """

    def read(value: object) -> list[str]:
        items = value if isinstance(value, list) else [value]
        if not items:
            raise ValueError("is an empty list")
        return list(dict.fromkeys(str(kind.read(item)) for item in items))

    return Kind("", {"type": "array", "minItems": 1, "items": reference_to(kind)}, read)


def reference_to(kind: Kind) -> dict[str, object]:
    """
    Return the schema of *kind* as it stands in the schema of an object.
    """
    return {"$ref": f"#/$defs/{kind.name}"} if kind.name else dict(kind.schema)


def _line(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("is not one line of text")
    return value.strip()


def _host(value: object) -> str:
    # Names in the DNS have no case; a final dot only says "absolute".
    name = _line(value).rstrip(".").lower()
    if not name or any(c.isspace() for c in name):
        raise ValueError("is not a host name")
    return name


def _reference(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text.startswith(REFERENCE_SCHEME) or text == REFERENCE_SCHEME:
        # The value may be a password: it must not appear in a log.
        raise ValueError(f"does not start with {REFERENCE_SCHEME}")
    return _line(text)


def _address(version: int | None) -> Callable[[object], str]:
    def read(value: object) -> str:
        try:
            found = ipaddress.ip_address(_line(value))
        except ValueError:
            found = None
        if found is None or version not in (None, found.version):
            raise ValueError(f"is not an IP{f'v{version}' if version else ''} address")
        return str(found)

    return read


def _network(value: object) -> str:
    text = _line(value)
    try:
        return str(ipaddress.ip_interface(text) if "/" in text else ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("is neither an IP address nor a network") from None


def _with_prefix(value: object) -> str:
    if "/" not in (text := _line(value)):
        raise ValueError("has no length of its network, such as /24")
    return _network(text)


def _email(value: object) -> str:
    local, at, domain = _line(value).rpartition("@")
    if not at or not re.fullmatch(r"[^\s@]+", local):
        raise ValueError("is not a mail address")
    return f"{local}@{_host(domain)}"


def _interface(value: object) -> str:
    name = _line(value)
    if not re.fullmatch(_INTERFACE, name):
        raise ValueError("is not the name of a network interface")
    return name


_INTERFACE: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,14}"
_PREFIX: Final = "/[0-9]{1,3}"
_ADDRESS: Final = r"(([0-9]{1,3}\.){3}[0-9]{1,3}|[0-9a-f:]*:[0-9a-f:.]*)"


def _text(
    name: str, meaning: str, pattern: str, mark: object, read: Callable[[object], str]
) -> Kind:
    schema = {"description": meaning, "type": "string", "pattern": f"^{pattern}$"}
    return Kind(name, schema if mark is None else {**schema, COPIED: mark}, read)


HOST: Final = _text(
    "host",
    "a name in the DNS: small letters, no final dot",
    r"[^\sA-Z]*[^\sA-Z.]",
    HOST_MARK,
    _host,
)
LINE: Final = _text("line", "a text of one line", r"\S(.*\S)?", True, _line)
REFERENCE: Final = _text(
    "reference", "where a secret is kept; never the secret", f"{REFERENCE_SCHEME}.*\\S", None,
    _reference,
)  # fmt: skip
NETWORK: Final = _text(
    "network", "an IP address, or a network such as 10.0.0.0/8", f"{_ADDRESS}({_PREFIX})?", True,
    _network,
)  # fmt: skip
WITH_PREFIX: Final = _text(
    "address", "an IP address with the length of its network, such as 10.0.0.5/24",
    f"{_ADDRESS}{_PREFIX}", True, _with_prefix,
)  # fmt: skip
EMAIL: Final = _text("email", "a mail address", r"[^\s@]+@[^\sA-Z@]*[^\sA-Z@.]", True, _email)
INTERFACE: Final = _text(
    "interface", "the name of a network interface, such as eth0", _INTERFACE, True, _interface
)
IP4: Final = Kind("", {"type": "string", "format": "ipv4", COPIED: ADDRESS}, _address(4))
IP6: Final = Kind("", {"type": "string", "format": "ipv6", COPIED: ADDRESS}, _address(6))
IP: Final = Kind(
    "ip", {"description": "an IP address", "type": "string", "pattern": f"^{_ADDRESS}$",
           COPIED: ADDRESS}, _address(None),
)  # fmt: skip

PORT: Final = number("port", 1, 65535, "a port of TCP or UDP")
PRIORITY: Final = number("priority", 0, 65535, "of a record; the lowest is asked first")
TTL: Final = number("ttl", 0, 2**31 - 1, "for how many seconds an answer may be kept")
DAYS: Final = number("days", 1, 36500, "for how many days something is valid")
VLAN: Final = number("vlan", 1, 4094, "the number of a VLAN")
MTU: Final = number("mtu", 68, 65535, "the longest packet, in bytes")
