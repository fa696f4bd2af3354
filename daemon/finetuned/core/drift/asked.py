"""
What is known of a prompt: its text, and its outer form.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]{2,}")
_CODE = re.compile(r"```|^\s*(?:def |class |import |SELECT |#include|\$ )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Asked:
    """
    One prompt.
    """

    text: str
    """The last turn of the user, or the whole of a text."""
    turns: int = 1
    """Turns before the answer, a system prompt not counted."""
    system: bool = False
    tools: bool = False
    plain: bool = False
    """Whether it is a text without turns."""

    @property
    def form(self) -> str:
        """Its outer form in a few words; one of some thirty."""
        if self.plain:
            frame = "text"
        else:
            frame = "one turn" if self.turns <= 1 else "several turns"
            frame = f"system prompt, {frame}" if self.system else frame
        return f"{frame}{', tools' if self.tools else ''}, {_kind_of(self.text)}"


def _kind_of(text: str) -> str:
    bare = text.strip()
    if bare[:1] in ("{", "[") and _is_json(bare):
        return "JSON"
    if _CODE.search(bare):
        return "code"
    return "several lines" if "\n" in bare else "one line"


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def words_of(text: str) -> list[str]:
    """
    Return the words of *text* in small letters: two letters or more on end, of any script.
    """
    return _WORD.findall(text.casefold())
