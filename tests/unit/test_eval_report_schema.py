"""
The contract of eval_report.json, checked on whole hand-made reports.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from support.eval_reports import make_report

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "reference" / "eval_report.schema.json").read_text()
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
REPORT = make_report()

OPTIONAL = ("outcomes", "numbers", "detail", "calibrated", "uncalibrated")
"""Objects whose keys depend on who was asked, on the rule, the scorer, or on the questions."""


def objects(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each object in *value*, of each list only the first one's."""
    if isinstance(value, dict):
        yield where
        for key, part in value.items():
            yield from objects(part, (*where, key))
    elif isinstance(value, list) and value:
        yield from objects(value[0], (*where, 0))


STRICT = [
    path
    for path in objects(REPORT)
    if path[-1:] not in [(key,) for key in (*OPTIONAL, "suites")] and "detail" not in path
]


def at(report: dict[str, Any], path: tuple[str | int, ...]) -> Any:
    value: Any = report
    for step in path:
        value = value[step]
    return value


def test_the_schema_is_one():
    """
    A schema that is itself wrong accepts everything.
    """
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("incumbent", ["v0003", None])
@pytest.mark.parametrize("promoted", [True, False])
def test_whole_reports_are_accepted(incumbent, promoted):
    """
    Promoted or not, with or without an incumbent.
    """
    VALIDATOR.validate(make_report(incumbent=incumbent, promoted=promoted))


def test_a_report_with_nothing_to_say_is_accepted():
    """
    The first job of a root: no earlier file, no curve, no mixture, nothing asked.
    """
    report = make_report(0, incumbent=None)
    report["forgetting"] = {
        "backward_transfer": None,
        "worst_drop": None,
        "matrix": {"rows": [], "columns": [], "accuracy": []},
    }
    report["curves"] = {"train_loss": [], "held_out_loss": [], "kl": []}
    report["interpolation"] = None

    VALIDATOR.validate(report)


@pytest.mark.parametrize("path", STRICT, ids=lambda path: ".".join(map(str, path)) or "report")
def test_a_field_that_is_missing_or_unknown_is_refused(path):
    """
    Every object, however deep, has exactly the fields of the contract.
    """
    unknown = copy.deepcopy(REPORT)
    at(unknown, path)["no_such_field"] = 1
    assert not VALIDATOR.is_valid(unknown)
    for key in at(REPORT, path):
        if (path[-2:-1], key) == (("tried",), "passes"):
            continue
        missing = copy.deepcopy(REPORT)
        del at(missing, path)[key]
        assert not VALIDATOR.is_valid(missing), key


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), 1),
        (("version",), "4"),
        (("created_at",), "2026-11-20 10:09:41"),
        (("suites", 0, "origin"), "other"),
        (("subjects", "candidate", "suites", "old-lights", "accuracy"), 86),
        (("subjects", "candidate", "suites", "old-lights", "interval_95"), [0.1]),
        (("subjects", "candidate", "suites", "old-lights", "n_asked"), -1),
        (("items", 0, "outcomes", "stranger"), {}),
        (("curves", "kl"), [[1, 0.5, 2]]),
        (("verdict", "rules", 0, "numbers", "p_value"), "small"),
    ],
    ids=str,
)
def test_a_value_out_of_its_range_is_refused(path, value):
    """
    Shares are 0 to 1, counts are not negative, names are from their lists.
    """
    report = copy.deepcopy(REPORT)
    at(report, path[:-1])[path[-1]] = value

    assert not VALIDATOR.is_valid(report)


def test_every_field_says_what_it_is():
    """
    The schema is the documentation of the file.
    """

    def silent(part: Any, where: str) -> Iterator[str]:
        if not isinstance(part, dict):
            return
        for key, field in part.get("properties", {}).items():
            yield from [] if field.get("description") else [f"{where}.{key}"]
        for key, field in part.items():
            for sub in field if isinstance(field, list) else [field]:
                yield from silent(sub, f"{where}.{key}")

    assert [] == list(silent(SCHEMA, ""))
