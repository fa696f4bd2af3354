"""
Numbers and text as a page shows them.

Pure. Knows what a reader needs (counts beside shares, a sign before a change) and
which characters must not be shown as they are; does not know what a page looks like.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from finetuned.core.text import visible

NOTHING = "not measured"


def finite(value: object) -> float | None:
    """
    Return *value* as a float, or None if it is not a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def moment(at: object) -> str:
    """
    Return an RFC 3339 UTC time to the minute: ``2026-11-29 08:38 UTC``; other text as it is.
    """
    text = str(at)
    if len(text) < 17 or text[10] != "T":
        return text
    return f"{text[:10]} {text[11:16]} UTC"


def percent(share: object) -> str:
    """
    Return a share of 0 to 1 as e.g. ``86%``; 100% and 0% only if they are exact.
    """
    value = finite(share)
    if value is None:
        return NOTHING
    whole = round(100 * value)
    if 0 < value < 1:
        whole = min(99, max(1, whole))
    return f"{whole}%"


def accuracy(score: Mapping[str, Any]) -> str:
    """
    Return a score's accuracy with its counts and 95% interval: ``86% (172/200, 81-90)``.
    """
    if finite(score.get("accuracy")) is None:
        return NOTHING
    counts = f"{score['n_correct']}/{score['n_asked']}"
    interval = score.get("interval_95")
    if interval:
        counts += ", {}-{}".format(*(percent(bound).rstrip("%") for bound in interval))
    return f"{percent(score['accuracy'])} ({counts})"


def number(value: object, *, digits: int = 3) -> str:
    """
    Return *value* with at most *digits* places; whole numbers without any, None as a dash.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    known = finite(value)
    if known is None:
        return "-" if value is None else visible(value)
    if known and not 10**-digits <= abs(known) < 1e12:
        return f"{known:.1e}"
    return str(int(known)) if known == int(known) else f"{known:.{digits}f}".rstrip("0").rstrip(".")


def nats(value: object) -> str:
    """
    Return a loss with three places, or a dash.
    """
    known = finite(value)
    return "-" if known is None else f"{known:.3f}"


def signed(points: object) -> str:
    """
    Return a change in percentage points with its sign: ``+3.5``, ``0.0``, ``-12.0``.
    """
    known = finite(points)
    if known is None:
        return "-"
    return "0.0" if abs(known) < 0.05 else f"{known:+.1f}"


def interval(bounds: Sequence[object] | None) -> str:
    """
    Return the bounds of a change in points as ``-1.0 to +8.0``, or an empty string.
    """
    if not bounds or len(bounds) != 2 or any(finite(bound) is None for bound in bounds):
        return ""
    return f"{signed(bounds[0])} to {signed(bounds[1])}"


def count(n: int, what: str, many: str | None = None) -> str:
    """
    Return *n* and the noun in its right number: ``1 item``, ``3 items``.
    """
    return f"{n} {what if n == 1 else many or what + 's'}"


def begin(text: str, chars: int) -> str:
    """
    Return the beginning of *text* on one line of at most *chars* characters (>= 4).
    """
    text = visible(text).replace("\n", " ").replace("\t", " ")
    return text if len(text) <= chars else f"{text[: chars - 3]}..."


def shorten(text: str, chars: int) -> str:
    """
    Return *text* on one line of at most *chars* characters (>= 5), the middle left out if longer.
    """
    text = visible(text).replace("\n", " ").replace("\t", " ")
    if len(text) <= chars:
        return text
    end = (chars - 3) // 2
    return f"{text[: chars - 3 - end]}...{text[-end:]}"


class Marks(TypedDict):
    """
    Counts over answers with a format, as a report has them.
    """

    n_asked: int
    n_correct: int
    n_fit: int
    n_checked: int
    n_invented: int


class FormatMarks(Marks):
    """
    The same of answers that may be held to it, and what the model says freely if that was asked.
    """

    n_held: int
    n_changed: int
    free: Marks | None


def format_facts(found: FormatMarks) -> list[str]:
    """
    Return what to say of answers with a format (``format`` of a suite's score), held and free.
    """
    if found["n_held"]:
        held = f"{found['n_held']} answers held to their format, which changed {found['n_changed']}"
        facts = [f"{held}: {_marks(found)}"]
    else:
        facts = [f"{found['n_asked']} answers with a format, asked freely: {_marks(found)}"]
    if found["free"] is not None:
        facts.append(f"the same without: {_marks(found['free'])}")
    return facts


def _marks(found: Marks) -> str:
    text = f"{found['n_correct']} of {found['n_asked']} right, {found['n_fit']} of the format"
    if found["n_checked"]:
        text += f", invented values in {found['n_invented']} of {found['n_checked']}"
    return text
