"""
Why a file was set aside whole: what was found in it, and what to do, as one sentence.

The journal keeps the sentence. A list of files shows its two halves in different places.
"""

from __future__ import annotations

from typing import Final

_BETWEEN: Final = "; "


def sentence(found: str, remedy: str) -> str:
    """
    Return the two halves as one sentence.

    Args:
        found: What is wrong with the file.
        remedy: What to do, without a semicolon.
    """
    return f"{found}{_BETWEEN}{remedy}"


def halves(reason: str) -> tuple[str, str | None]:
    """
    Return what was found and what to do; None for the latter if the sentence does not say it.
    """
    found, between, remedy = reason.rpartition(_BETWEEN)
    return (found, remedy) if between else (reason, None)
