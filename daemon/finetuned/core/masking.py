"""
Secrets in free text, replaced before the text is written to a log. Pure.

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


def masked(text: str) -> str:
    """
    Return *text* with MASK in the place of each secret that can be told.
    """
    for form in _FORMS:
        text = form.sub(MASK, text)
    return _NAMED.sub(lambda m: f"{m['name']}{m['between']}{MASK}", text)
