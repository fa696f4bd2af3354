"""
Values of log events as plain ones that JSON can hold and a terminal can show.

Does not know which events exist.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from finetuned.core.text import printable

MAX_DEPTH = 8
"""Deepest nesting that is logged as structure; deeper values are logged as text."""


def plain(value: object, depth: int = 0) -> Any:
    """
    Return *value* as a value that orjson can write and that holds no control characters.
    """
    if isinstance(value, Enum):
        value = value.value
    match value:
        case None | bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float():
            # orjson would write null, and a NaN loss must be visible.
            return value if math.isfinite(value) else str(value)
        case str():
            return printable(value)
        case bytes() | os.PathLike():
            return printable(os.fsdecode(value))
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            return {printable(str(k)): plain(v, depth + 1) for k, v in value.items()}
        if isinstance(value, Sequence | set | frozenset):
            return [plain(v, depth + 1) for v in value]
    try:
        return printable(repr(value))
    except Exception:  # its repr is broken or too deep; its class is still a clue
        return f"<{type(value).__name__}>"
