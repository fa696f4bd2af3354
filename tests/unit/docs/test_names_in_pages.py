"""
Names that pages spell are those of the code, and the other way round.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import fields

import pytest

from finetuned.config import Config
from finetuned.core.order import OrderKind
from finetuned.core.scoring.scorer import SCORERS
from finetuned.layout import Layout
from finetuned.telemetry.events import EVENTS
from support.pages import CHECKOUT, PAGES, by_hand, name

PACKAGE = CHECKOUT / "daemon" / "finetuned"
REFERENCE = CHECKOUT / "docs" / "reference"
SECTIONS = {f.name: {k.name for k in fields(getattr(Config(), f.name))} for f in fields(Config)}
KEYS = {f"{section}.{key}" for section, keys in SECTIONS.items() for key in keys}


def column(page: str, *, table: int = 0) -> set[str]:
    """
    Return the names in code style of the first column of a table.
    """
    tables = re.findall(r"(?:^\|.*\n)+", (REFERENCE / page).read_text(), re.MULTILINE)
    rows = tables[table].splitlines()[2:]
    return {n for row in rows for n in re.findall(r"`([^`]+)`", row.split("|")[1])}


def constants(folder: str, *calls: str) -> set[str]:
    """
    Return the first arguments, if they are texts, of all calls of the functions *calls*.
    """
    found = set()
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in calls and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_configuration_keys_in_pages_exist(page):
    """
    A knob that is removed or renamed leaves the pages with it.
    """
    pattern = rf"(?<![\w./-])((?:{'|'.join(SECTIONS)})\.[a-z][a-z_0-9]+)(?![\w./*(-])"
    files = (".py", ".md", ".png", ".json", ".safetensors", ".jinja", ".sqlite3")
    found = {key for key in re.findall(pattern, by_hand(page)) if not key.endswith(files)}

    assert set() == found - KEYS


def test_every_configuration_key_is_in_the_reference():
    """
    Also when it was added a minute ago.
    """
    text = (REFERENCE / "config.md").read_text()

    assert [] == sorted(key for key in KEYS if f"`{key}`" not in text)


def test_every_log_event_is_in_the_reference_and_no_other():
    """
    Dashboards are written from this page.
    """
    assert EVENTS.keys() == column("events.md")


def test_every_status_field_is_described():
    """
    A field without a sentence is a riddle.
    """
    schema = json.loads((REFERENCE / "training_status.schema.json").read_text())

    assert [] == [k for k, v in schema["properties"].items() if not v.get("description")]


def test_every_gate_rule_is_in_the_reference_and_no_other():
    """
    The name in a verdict can be looked up.
    """
    rules = constants("core/gate", "Rule", "absolute", "missing")

    assert rules == column("gate-rules.md")


def test_every_scorer_is_in_the_reference_and_no_other():
    """
    A scorer that nobody can find is not used.
    """
    assert set(SCORERS) == column("suites.md", table=1)


def test_every_reason_for_rejecting_a_row_is_in_the_reference():
    """
    A code in rejects.jsonl can be looked up.
    """
    codes = constants("data", "MalformedExample") | constants("ingestion", "MalformedExample")
    codes |= constants("data", "Refused")

    assert codes
    assert [] == sorted(codes - column("rows.md", table=2))


@pytest.mark.parametrize("order", OrderKind)
def test_every_order_is_in_the_readme_and_the_reference(order):
    """
    What can be ordered is said where people look first.
    """
    assert f"control/{order}" in (CHECKOUT / "README.md").read_text()
    assert order in column("orders.md")


def test_every_folder_of_a_root_is_in_the_reference():
    """
    A folder that appears in somebody's root is explained.
    """
    text = (REFERENCE / "files.md").read_text()
    root = CHECKOUT / "root"
    folders = {str(path.relative_to(root)) for path in Layout(root).folders()}

    assert [] == sorted(folder for folder in folders if f"`{folder}/`" not in text)


FILES = sorted(
    {
        (page, path)
        for page in PAGES
        for path in re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.py)`", by_hand(page))
    }
)


@pytest.mark.parametrize(("page", "path"), FILES, ids=[f"{name(p)}:{path}" for p, path in FILES])
def test_a_file_named_in_a_page_exists(page, path):
    """
    Under the checkout, the source folder or the package, as the page writes it.
    """
    assert any((top / path).is_file() for top in (CHECKOUT, PACKAGE.parent, PACKAGE))
