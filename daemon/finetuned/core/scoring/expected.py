"""
The expected answer of an item, checked against its scorer when the suite is read.
"""

from __future__ import annotations

from finetuned.core.scoring.json_values import NOT_JSON, parse_json
from finetuned.core.scoring.scorer import CHOICE, Scorer
from finetuned.core.scoring.texts import last_number


def check_expected(scorer: Scorer, expected: object) -> None:
    """
    Refuse an expected answer with which no answer could ever be marked right.

    Raises:
        ValueError: *expected* is of the wrong kind; the message says which kind is needed.
    """
    name = scorer.name
    if not isinstance(expected, str):
        if not _fits(name, expected):
            raise ValueError(f"scorer {name!r} cannot compare with {expected!r}")
        return
    if name == "numeric" and last_number(expected) is None:
        raise ValueError(f"scorer 'numeric' needs a number, found {expected!r}")
    if name == "json" and parse_json(expected) is NOT_JSON and "schema" not in scorer.options:
        raise ValueError(f"scorer 'json' needs JSON, found {expected[:80]!r}")
    if name == "regex":
        _check_pattern(expected)


def _fits(name: str, expected: object) -> bool:
    """Return whether a scorer compares with a value that is not text."""
    is_number = isinstance(expected, int | float) and not isinstance(expected, bool)
    match name:
        case "contains":
            return (
                isinstance(expected, list)
                and bool(expected)
                and all(isinstance(part, str) for part in expected)
            )
        case "json":
            return expected is not None  # None stands for an item without an expected answer
        case "numeric":
            return is_number
        case _:
            return name == CHOICE and is_number and isinstance(expected, int)


def _check_pattern(pattern: str) -> None:
    import regex  # type: ignore[import-untyped]

    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"not a regular expression: {pattern!r}: {error}") from None
