"""
Where the addresses of those who get messages stand, and how they are kept out of every text.

An address is a URL of Apprise, such as ``mailtos://user:password@example.com``: it holds a
secret. It is read from a systemd credential or from the environment, handed to the library that
sends, and neither logged nor recorded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, unquote_plus

from finetuned.errors import ConfigError

CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd names the folder of a unit's credentials."""

MOST_BYTES: Final = 8192

_HIDDEN = "***"
_SHORT = 3
"""Parts of an address up to so many characters are words like "to", and no secret."""


def variable_of(name: str) -> str:
    """
    Return the environment variable that holds the address of *name*.
    """
    return f"FINETUNED_REPORT_{name.upper()}"


def credential_of(name: str) -> str:
    """
    Return the systemd credential that holds it.
    """
    return f"report-{name}"


def address_of(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """
    Return the address of *name*.

    Args:
        name: Of ``report.to``.
        environment: The variables of this process.

    Raises:
        ConfigError: There is none. The message names both places and no secret.
    """
    folder = environment.get(CREDENTIALS)
    if folder:
        try:
            with (Path(folder) / credential_of(name)).open("rb") as file:
                found = file.read(MOST_BYTES).decode("utf-8", "replace").strip()
        except OSError:
            found = ""
        if found:
            return found
    found = environment.get(variable_of(name), "").strip()
    if found:
        return found
    raise ConfigError(
        f"no address of {name!r}: neither the variable {variable_of(name)} nor the systemd "
        f"credential {credential_of(name)} is set"
    )


def redacted(text: str, address: str) -> str:
    """
    Return *text* without any part of *address* that could be a secret.

    The scheme and the name of the server stay: they tell a reader which service it is.
    """
    scheme, mark, rest = address.partition("://")
    if not mark:  # no address at all: perhaps a password that was put in the wrong place
        return text.replace(address, _HIDDEN)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    server = authority.rpartition("@")[2]
    host = server.partition(":")[0]
    parts = {address, rest, *re.split(r"[/?#&=@:;,\s]+", rest)}
    kept = {scheme, host, server, server.rpartition(":")[2]}
    if "@" not in authority and len(host) > 1 and "." not in host and host != "localhost":
        kept = {scheme}  # a token may stand where other addresses name a server
    hidden: set[str] = set()
    for part in parts - kept:
        if len(part) > _SHORT:
            hidden |= {part, unquote(part), unquote_plus(part), quote(part, safe="")}
    for part in sorted(hidden - kept, key=len, reverse=True):
        text = text.replace(part, _HIDDEN)
    return text
