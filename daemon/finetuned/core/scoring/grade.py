"""
The scorers themselves: an answer and what is expected give a grade.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from finetuned.core.json_schema import schema_complaint
from finetuned.core.scoring.json_values import NOT_JSON, parse_json, wrong_fields
from finetuned.core.scoring.scorer import Grade, Scorer
from finetuned.core.scoring.texts import last_number, normalise, token_f1

REGEX_SECONDS: Final = 2.0
"""Longest search of one answer: some patterns would take years."""

_DEFAULT_F1: Final = 0.8
"""Least word F1 of a right answer, unless the option at_least says otherwise."""


def grade(scorer: Scorer, answer: str, expected: Any) -> Grade:
    """
    Mark one answer.

    Args:
        scorer: Not ``choice``; see grade_choice.
        answer: The final answer, without reasoning.
        expected: Accepted by check_expected().
    """
    return _GRADERS[scorer.name](answer, expected, scorer.options)


def grade_choice(log_likelihoods: list[float], lengths: list[int], expected: int) -> Grade:
    """
    Mark a multiple choice by which continuation the model finds most likely.

    Args:
        log_likelihoods: Summed over each choice's tokens, in nats. Length N.
        lengths: Tokens, or characters, to divide by; all 1 for plain sums. Length N.
        expected: Index of the right choice, from 0. A tie is wrong: the model prefers no choice.
    """
    values = [x / max(1, n) for x, n in zip(log_likelihoods, lengths, strict=True)]
    best = max(values)
    chosen = [i for i, value in enumerate(values) if value == best]
    right = chosen == [expected] and not any(map(math.isnan, values))
    return Grade(right, float(right), {"chosen": (chosen or [0])[0], "per_choice": values})


def _exact(answer: str, expected: str, _: Mapping[str, Any]) -> Grade:
    return _all_or_nothing(answer == expected.strip())


def _normalised(answer: str, expected: str, _: Mapping[str, Any]) -> Grade:
    return _all_or_nothing(normalise(answer) == normalise(expected))


def _numeric(answer: str, expected: Any, options: Mapping[str, Any]) -> Grade:
    found = last_number(answer)
    wanted = last_number(expected) if isinstance(expected, str) else float(expected)
    tolerance = float(options.get("tolerance", 1e-9))
    right = (
        found is not None
        and wanted is not None
        and math.isclose(found, wanted, rel_tol=tolerance, abs_tol=tolerance)
    )
    return Grade(right, float(right), {"found": found, "expected": wanted})


def _contains(answer: str, expected: Any, options: Mapping[str, Any]) -> Grade:
    wanted = [expected] if isinstance(expected, str) else list(expected)
    fold = str.casefold if options.get("ignore_case", True) else str
    missing = [w for w in wanted if fold(w) not in fold(answer)]
    right = len(missing) < len(wanted) if options.get("any") else not missing
    return Grade(right, 1 - len(missing) / len(wanted), {"missing": missing})


def _regex(answer: str, expected: str, options: Mapping[str, Any]) -> Grade:
    import regex  # type: ignore[import-untyped]  # re of the standard library has no time limit

    flags = regex.IGNORECASE if options.get("ignore_case") else 0
    try:
        found = regex.search(expected, answer, flags, timeout=REGEX_SECONDS)
    except TimeoutError:
        return Grade(False, 0.0, {"complaint": f"no match within {REGEX_SECONDS:g} s"})
    return _all_or_nothing(found is not None)


def _f1(answer: str, expected: str, options: Mapping[str, Any]) -> Grade:
    value = token_f1(answer, expected)
    return Grade(value >= float(options.get("at_least", _DEFAULT_F1)), value)


def _json(answer: str, expected: Any, options: Mapping[str, Any]) -> Grade:
    found = parse_json(answer)
    schema = options.get("schema")
    if found is NOT_JSON:
        return Grade(False, 0.0, {"valid": False, "schema_valid": False if schema else None})
    complaint = None if schema is None else schema_complaint(found, schema)
    detail: dict[str, Any] = {
        "valid": True,
        "schema_valid": None if schema is None else complaint is None,
    }
    if complaint is not None:
        detail["complaint"] = complaint
    wanted = parse_json(expected) if isinstance(expected, str) else expected
    if wanted is NOT_JSON:  # only the schema decides
        return Grade(complaint is None, float(complaint is None), detail)
    wrong, n = wrong_fields(found, wanted)
    detail |= {"fields": n, "fields_right": n - len(wrong), "wrong": wrong[:20]}
    share = max(0.0, (n - len(wrong)) / n)
    return Grade(not wrong and complaint is None, share, detail)


def _all_or_nothing(right: bool) -> Grade:
    return Grade(right, float(right))


_GRADERS: Final[dict[str, Callable[[str, Any, Mapping[str, Any]], Grade]]] = {
    "exact": _exact,
    "normalised": _normalised,
    "json": _json,
    "numeric": _numeric,
    "contains": _contains,
    "regex": _regex,
    "f1": _f1,
}
