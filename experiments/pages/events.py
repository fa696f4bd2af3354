"""
The log events as a table: the meaning from their list, level and fields from the calls that log.
"""

from __future__ import annotations

import ast
from collections import defaultdict

from experiments.pages.table import table
from experiments.pages.tree import PACKAGE
from finetuned.telemetry.events import EVENTS

LEVELS = ("debug", "info", "warning", "error")


def events() -> str:
    """
    Return a table of every event.
    """
    levels, fields = _calls()
    rows = [
        (
            f"`{event}`",
            ", ".join(level for level in LEVELS if level in levels[event]),
            ", ".join(f"`{field}`" for field in fields[event]),
            meaning,
        )
        for event, meaning in sorted(EVENTS.items())
    ]
    return table(("event", "level", "fields", "meaning"), rows)


def _calls() -> tuple[dict[str, set[str]], dict[str, list[str]]]:
    """Return event -> levels and event -> names of fields, over all calls of the package."""
    levels: dict[str, set[str]] = defaultdict(set)
    fields: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            first = node.args[0] if node.args else None
            if node.func.attr in LEVELS and isinstance(first, ast.Constant):
                event = str(first.value)
                levels[event].add(node.func.attr)
                names = [keyword.arg for keyword in node.keywords if keyword.arg]
                fields[event] += [name for name in names if name not in fields[event]]
    return levels, fields
