"""
The ways of marking an answer, and the options of each.

Call parse_scorer() on a suite's item, check_expected() once, then grade() on each
answer. Pure; does not know models, files or suites.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from finetuned.core.json_schema import check_schema

CHOICE: Final = "choice"
"""The scorer that compares the likelihood of each choice: see grade_choice."""

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
    The mark of one answer.
    """

    correct: bool
    score: float
    """0 to 1: 1 for a right answer; some scorers give a share for a partly right one."""
    detail: dict[str, Any] = field(default_factory=dict)
    """The scorer's findings, for example which fields of an object are right. JSON values."""


def parse_scorer(value: object) -> Scorer:
    """
    Return the scorer that an item names: ``"json"`` or ``{"name": "json", "schema": {...}}``.

    Raises:
        ValueError: There is no such scorer or option; the message lists the known ones.
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
        _check_option(name, key, option)
    if name == "json" and "schema" in options:
        check_schema(options["schema"])
    return Scorer(name, options)


def _check_option(name: str, key: str, option: object) -> None:
    expected = _OPTIONS[name].get(key)
    if expected is None:
        known = ", ".join(_OPTIONS[name]) or "none"
        raise ValueError(f"scorer {name!r} has no option {key!r}; it has: {known}")
    if not isinstance(option, expected) or (isinstance(option, bool) and expected is not bool):
        raise ValueError(f"option {key!r} of scorer {name!r} cannot be {option!r}")
    most = 1.0 if key == "at_least" else math.inf
    if isinstance(option, int | float) and not 0 <= option <= most:
        raise ValueError(f"option {key!r} of scorer {name!r} cannot be {option!r}")
