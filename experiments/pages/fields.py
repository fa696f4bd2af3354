"""
The fields of a JSON file as a table, read from its JSON Schema.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.pages.table import table
from experiments.pages.tree import CHECKOUT

REFERENCE = CHECKOUT / "docs" / "reference"


def status_fields() -> str:
    """
    Return a table of the fields of status/training_status.json.
    """
    return _fields(REFERENCE / "training_status.schema.json")


def report_fields() -> str:
    """
    Return a table of the top-level fields of eval_report.json.
    """
    return _fields(REFERENCE / "eval_report.schema.json")


def _fields(path: Path) -> str:
    properties = json.loads(path.read_text())["properties"]
    rows = []
    for name, schema in properties.items():
        rows.append((f"`{name}`", _type(schema), schema.get("description", "")))
    return table(("field", "type", "meaning"), rows)


def _type(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema["enum"])
    found = schema.get("type", "object")
    return found if isinstance(found, str) else " or ".join(found)
