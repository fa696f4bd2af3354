"""
Values put into the text of a TOML file, whose comments and order stay.

Knows tables and keys on lines of their own; the caller checks that the new text means what it
should, since a file may be written in other ways too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(#.*)?$")
_ANY_HEADER = re.compile(r"\s*\[")
_KEY = re.compile(r"(\s*)([A-Za-z0-9_-]+)(\s*=\s*)([^#]*?)(\s*#.*)?$")


def with_values(text: str, table: str, values: Mapping[str, str]) -> str:
    """
    Return *text* with other values in one of its tables.

    A key that is there is replaced on its line, and a comment after it stays; the others are
    added at the end of the table, which is added if it is missing.

    Args:
        text: Of the file; may be empty.
        table: Its name.
        values: By key, as TOML writes them. A value that spans lines in *text* is not found
            again whole: the caller's check finds that.
    """
    lines = text.splitlines()
    left = dict(values)
    where, last = "", None
    for i, line in enumerate(lines):
        if header := _HEADER.match(line):
            where = header[1]
        elif _ANY_HEADER.match(line):
            where = ""
        if where != table:
            continue
        if line.strip() and not line.lstrip().startswith("#"):
            last = i
        found = _KEY.match(line)
        if found and found[2] in left:
            indent, key, equals, _, comment = found.groups()
            lines[i] = f"{indent}{key}{equals}{left.pop(key)}{comment or ''}"
    added = [f"{key} = {value}" for key, value in left.items()]
    if added and last is not None:
        lines[last + 1 : last + 1] = added
    elif added:
        lines += [*([""] if lines and lines[-1].strip() else []), f"[{table}]", *added]
    return "\n".join(lines) + "\n"
