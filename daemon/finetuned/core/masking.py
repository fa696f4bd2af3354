"""
Secrets in free text, replaced before the text is written to a log or into a row. Pure.

Finds what names itself a secret or has the form of one; it cannot know a password that stands
alone in a sentence.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "[secret]"

_NAMED: Final = re.compile(
    r"""(?ix)
    (?<![a-z])(?P<name>pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key|access[_-]?key)
    (?P<between>["']?\s*[:=]\s*["']?|\s+(?:(?:is|of|to|as)\s+)?["']?)
    (?P<value>[^\s"',;}{]+)
    """
)
_FORMS: Final = (
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
    ),
    re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9+/._~-]{8,}=*"),
    re.compile(r"\b(?:sk|ghp|gho|github_pat|xox[abp]|AKIA|ft)[-_A-Za-z0-9]{16,}"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
)
"""Private keys, credentials of HTTP, keys of well-known services and ours, users in addresses."""

_WORD: Final = r"(?<![a-z])(?:pass(?:word|wd|phrase|code)|pwd)"
_VALUE: Final = r"""(?P<value>"[^"\n]+"|'[^'\n]+'|[^\s"',;}{]*[^\s"',;}{.!?])"""
_IN_PROSE: Final = (
    re.compile(
        rf"(?i)(?<![a-z])(?:{_WORD}|secret|token|api[_-]?key|access[_-]?key)[\"']?\s*[:=]\s*{_VALUE}"
    ),
    re.compile(rf"(?i){_WORD}\s+(?:is|to|as|of)\s+{_VALUE}"),
    re.compile(
        rf"(?i)\b(?:with|using)\s+(?:(?:the|a|an|initial|temporary|new)\s+)*{_WORD}\s+{_VALUE}"
    ),
    re.compile(rf"(?i){_WORD}\s+(?=[\"']|\S*[0-9!@#$%^&*])(?!secret://){_VALUE}"),
)
"""A secret that a sentence names: ``password: x``, ``the password is x``, ``with password x``."""
_NO_VALUE_WORDS: Final = """
    a an and any are be been by change expires expiry file for from has hash have in its
    login manager may must no not of off on only or policy prompt protected protection
    required reset rotation secret should so something storage than that the their them then
    this to via was were when which will with within without authentication true false none
    null
    """
_NO_VALUE: Final = frozenset(_NO_VALUE_WORDS.split())
"""Words that are not taken for a secret where one could stand."""
_PLACES: Final = (MASK, "secret://", "//", "{{")
"""How a value begins that stands for a secret: // is the end of ``secret://`` itself."""


def masked(text: str) -> str:
    """
    Return *text* with MASK in the place of each secret that can be told.
    """
    for form in _FORMS:
        text = form.sub(MASK, text)
    return _NAMED.sub(lambda m: f"{m['name']}{m['between']}{MASK}", text)


def masked_in_prose(text: str) -> str:
    """
    Return *text* with MASK in the place of each secret that its words give away.

    Unlike masked() it leaves sentences about secrets alone ("reset the password for bob"), since
    a row that is trained must keep its meaning; it misses more.
    """
    for form in _FORMS:
        text = form.sub(MASK, text)
    for form in _IN_PROSE:
        text = form.sub(_without_value, text)
    return text


def _without_value(match: re.Match[str]) -> str:
    value = match["value"]
    if value.strip("\"'").casefold() in _NO_VALUE or value.lstrip("\"'").startswith(_PLACES):
        return match[0]
    begin, end = (i - match.start() for i in match.span("value"))
    return f"{match[0][:begin]}{MASK}{match[0][end:]}"
