"""
How one answer is marked: a scorer's name and options, and what it makes of a text.

Call parse_scorer() on what a suite's item says, check_expected() once, then
grade() on each answer. Pure; does not know models, files or suites.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from finetuned.core.json_schema import check_schema, schema_complaint

CHOICE: Final = "choice"
"""Marked by the likelihood of each choice, not by a generated text: see grade_choice."""

_OPTIONS: Final[dict[str, dict[str, type | tuple[type, ...]]]] = {
    "exact": {},
    "normalised": {},
    "json": {"schema": dict},
    "numeric": {"tolerance": (int, float)},
    "contains": {"any": bool, "ignore_case": bool},
    "regex": {"ignore_case": bool},
    "f1": {"at_least": (int, float)},
    CHOICE: {"per_token": bool},
}
SCORERS: Final = tuple(_OPTIONS)

NUMBER: Final = r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
"""A number in a text, as a regular expression; commas separate thousands."""
_DEFAULT_F1: Final = 0.8

REGEX_SECONDS: Final = 2.0
"""Longest search of one answer: some patterns would go on for years."""
_MAX_DEPTH: Final = 64
"""Objects and arrays inside one another; what compares them goes into each by a call."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """
    A way of marking answers.
    """

    name: str = "exact"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grade:
    """
    What one answer is worth.
    """

    correct: bool
    score: float
    """0 to 1: 1 for a right answer, for some scorers a share where it is partly right."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What the scorer saw, e.g. which fields of an object are right."""


def parse_scorer(value: object) -> Scorer:
    """
    Return the scorer that an item names: ``"json"`` or ``{"name": "json", "schema": {...}}``.

    Raises:
        ValueError: No such scorer or option; the message lists those there are.
    """
    if value is None:
        return Scorer()
    if isinstance(value, str):
        name, options = value, {}
    elif isinstance(value, dict) and isinstance(value.get("name"), str):
        name, options = value["name"], {k: v for k, v in value.items() if k != "name"}
    else:
        raise ValueError(f"scorer must be a name or an object with a name, found {value!r}")
    if name not in _OPTIONS:
        raise ValueError(f"no scorer {name!r}; there are: {', '.join(SCORERS)}")
    for key, option in options.items():
        expected = _OPTIONS[name].get(key)
        if expected is None:
            known = ", ".join(_OPTIONS[name]) or "none"
            raise ValueError(f"scorer {name!r} has no option {key!r}; it has: {known}")
        if not isinstance(option, expected) or (isinstance(option, bool) and expected is not bool):
            raise ValueError(f"option {key!r} of scorer {name!r} cannot be {option!r}")
        most = 1.0 if key == "at_least" else math.inf
        if isinstance(option, int | float) and not 0 <= option <= most:
            raise ValueError(f"option {key!r} of scorer {name!r} cannot be {option!r}")
    if name == "json" and "schema" in options:
        check_schema(options["schema"])
    return Scorer(name, options)


def check_expected(scorer: Scorer, expected: object) -> None:
    """
    Raise where no answer could ever be marked right: an item nobody can pass is a mistake.

    Raises:
        ValueError: *expected* is of the wrong kind; the message says what it has to be.
    """
    name = scorer.name
    if name == "contains" and _strings(expected):
        return
    if name == "json" and not isinstance(expected, str) and expected is not None:
        return  # the object itself; None is an item that says nothing
    if name == CHOICE and isinstance(expected, int) and not isinstance(expected, bool):
        return
    if name == "numeric" and isinstance(expected, int | float) and not isinstance(expected, bool):
        return
    if not isinstance(expected, str):
        raise ValueError(f"scorer {name!r} cannot compare with {expected!r}")
    if name == "numeric" and last_number(expected) is None:
        raise ValueError(f"scorer 'numeric' needs a number, found {expected!r}")
    if name == "json" and _parse(expected) is _INVALID and "schema" not in scorer.options:
        raise ValueError(f"scorer 'json' needs JSON, found {expected[:80]!r}")
    if name == "regex":
        import regex  # type: ignore[import-untyped]

        try:
            regex.compile(expected)
        except regex.error as error:
            raise ValueError(f"not a regular expression: {expected!r}: {error}") from None


def grade(scorer: Scorer, answer: str, expected: Any) -> Grade:
    """
    Mark one answer.

    Args:
        scorer: Not ``choice``; see grade_choice.
        answer: The final answer, reasoning aside.
        expected: What check_expected() let through.
    """
    return _GRADERS[scorer.name](answer, expected, scorer.options)


def grade_choice(log_likelihoods: list[float], lengths: list[int], expected: int) -> Grade:
    """
    Mark a multiple choice by which continuation the model finds most likely.

    Args:
        log_likelihoods: Summed over each choice's tokens, in nats. Length N.
        lengths: Tokens, or characters, to divide by; all 1 for plain sums. Length N.
        expected: Number of the right choice, from 0. A tie is wrong: it is no preference.
    """
    values = [x / max(1, n) for x, n in zip(log_likelihoods, lengths, strict=True)]
    best = max(values)
    chosen = [i for i, value in enumerate(values) if value == best]
    right = chosen == [expected] and not any(map(math.isnan, values))
    return Grade(right, float(right), {"chosen": (chosen or [0])[0], "per_choice": values})


def last_number(text: str) -> float | None:
    """
    Return the last number in *text*, commas as thousands; None where there is none.

    ``#### 1,234.`` is 1234: a full stop that ends a sentence is no decimal point.
    """
    found = re.findall(NUMBER, text.replace("\N{MINUS SIGN}", "-"))
    value = float(found[-1].replace(",", "")) if found else None
    return value if value is not None and math.isfinite(value) else None


def normalise(text: str) -> str:
    """
    Return *text* without what does not matter to a reader: case, punctuation, spacing.

    Unicode NFKC, case folded, punctuation and symbols replaced by spaces (a
    minus before a digit and a point between digits stay: they are the number).
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    kept = []
    for i, c in enumerate(text):
        after = text[i + 1 : i + 2]
        between = text[i - 1 : i].isdigit() and after.isdigit()
        is_minus = c == "-" and after.isdigit() and not text[i - 1 : i].isalnum()
        is_word = unicodedata.category(c)[0] not in "PS"
        kept.append(c if is_word or is_minus or (c == "." and between) else " ")
    return " ".join("".join(kept).split())


def token_f1(answer: str, expected: str) -> float:
    """
    Return the F1 of the two texts as bags of normalised words, 0 to 1.

    Source:
        Rajpurkar et al., SQuAD, EMNLP 2016, without their removal of English articles.
    """
    ours, theirs = normalise(answer).split(), normalise(expected).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


# -- the scorers ----------------------------------------------------------------


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
    import regex  # the standard library's cannot be stopped

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
    found = _parse(answer)
    schema = options.get("schema")
    if found is _INVALID:
        return Grade(False, 0.0, {"valid": False, "schema_valid": False if schema else None})
    complaint = None if schema is None else schema_complaint(found, schema)
    detail: dict[str, Any] = {
        "valid": True,
        "schema_valid": None if schema is None else complaint is None,
    }
    if complaint is not None:
        detail["complaint"] = complaint
    wanted = _parse(expected) if isinstance(expected, str) else expected
    if wanted is _INVALID:  # judged by its schema alone
        return Grade(complaint is None, float(complaint is None), detail)
    wrong, n = _wrong_fields(found, wanted)
    whole = not wrong
    detail |= {"fields": n, "fields_right": n - len(wrong), "wrong": wrong[:20]}
    share = 1.0 if whole else max(0.0, (n - len(wrong)) / n)
    return Grade(whole and complaint is None, share, detail)


def _wrong_fields(found: Any, wanted: Any) -> tuple[list[str], int]:
    """Return the top-level fields that differ, are missing or too many, and how many there are."""
    if not (isinstance(found, dict) and isinstance(wanted, dict)):
        return ([] if same_json(found, wanted) else ["(whole)"]), 1
    names = list(wanted) + [name for name in found if name not in wanted]
    wrong = [
        name
        for name in names
        if name not in found or name not in wanted or not same_json(found[name], wanted[name])
    ]
    return wrong, max(1, len(names))


def same_json(one: Any, other: Any) -> bool:
    """
    Return whether two JSON values are equal: 1 is 1.0 and not true, order counts in arrays only.
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


class _Invalid:
    """What text that is no JSON parses to: None is a JSON value."""


_INVALID: Final = _Invalid()


def _parse(text: str) -> Any:
    """
    Return the value in *text*, or _INVALID.

    A string that itself holds an object is that object: some datasets encode
    their answers twice. A fence of Markdown around it is not part of it. A key
    given twice, half a surrogate pair, a number beyond all floats and more than
    64 levels are no JSON here: two readers would read two things, or none.
    """
    fenced = re.fullmatch(r"\s*```(?:json)?\s*\n(.*)\n```\s*", text, re.DOTALL)
    try:
        value = _load(fenced[1] if fenced else text)
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            value = _load(value)
    except (ValueError, RecursionError):
        return _INVALID
    return value


def _load(text: str) -> Any:
    value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, str):
            item.encode()  # fails on half a surrogate pair, which no report could hold
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError("a number beyond all floats")
        elif isinstance(item, dict | list):
            if depth > _MAX_DEPTH:
                raise ValueError("too many levels")
            inner = [*item, *item.values()] if isinstance(item, dict) else item
            stack += [(i, depth + 1) for i in inner]
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _all_or_nothing(right: bool) -> Grade:
    return Grade(right, float(right))


def _strings(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)


_GRADERS: Final[dict[str, Callable[[str, Any, Mapping[str, Any]], Grade]]] = {
    "exact": _exact,
    "normalised": _normalised,
    "json": _json,
    "numeric": _numeric,
    "contains": _contains,
    "regex": _regex,
    "f1": _f1,
}
