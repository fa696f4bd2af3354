"""
Text of strangers made safe to show: on a terminal, in a log line, on a page.

Knows characters; does not know where the text came from or goes to.
"""

from __future__ import annotations

import re

MAX_TEXT_CHARS = 16_384
"""Longest string that is shown: a rejected 8 MiB line must not become an 8 MiB log line."""

# C1 and DEL drive terminals like C0; the others reverse or hide text (CVE-2021-42574), or are
# surrogates and noncharacters, which encoders refuse.
_HIDDEN = (
    "\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\ufffe\uffff"
)
_NOT_ON_A_LINE = re.compile(f"[\x00-\x1f{_HIDDEN}]")
_NOT_IN_A_TEXT = re.compile(f"[\x00-\x08\x0b-\x1f{_HIDDEN}]")


def printable(text: str) -> str:
    """
    Return *text* on one line, with everything a terminal might obey spelled out.

    Args:
        text: Any string, also a file name that is not UTF-8 (surrogateescape).

    Returns:
        UTF-8-encodable text of at most MAX_TEXT_CHARS characters and an ellipsis.
    """
    text = _NOT_ON_A_LINE.sub(_escape, text)
    return text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + "..."


def visible(text: object) -> str:
    r"""
    Return *text* with every character that cannot be seen spelled out, e.g. ``\u202e``.

    Tab and newline stay; CR LF becomes a newline. The result can be encoded as UTF-8 and
    is not yet escaped for HTML.
    """
    spelled = str(text).replace("\r\n", "\n")
    return _NOT_IN_A_TEXT.sub(lambda m: f"\\u{ord(m[0]):04x}", spelled)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte of a name that is not UTF-8
        code -= 0xDC00
    elif code > 0xFF:
        return f"\\u{code:04x}"
    return {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}.get(code, f"\\x{code:02x}")
