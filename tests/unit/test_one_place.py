"""
Some things are done in one place only, and nowhere else.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "daemon" / "finetuned"
SOURCES = sorted(
    path
    for folder in (PACKAGE, CHECKOUT / "tools", CHECKOUT / "experiments")
    for path in folder.rglob("*.py")
)

SQL = re.compile(
    r"\bSELECT\s[^\"]*\sFROM\s|\bINSERT\s(OR\s\w+\s)?INTO\s|\bUPDATE\s\w+\sSET\s|\bDELETE\sFROM\s"
    r"|\bCREATE\s(TABLE|INDEX|VIEW)\b|\bALTER\sTABLE\b|\bPRAGMA\s|\bsqlite3\.connect\("
)
MOVES = re.compile(r"\.jobs\.(move|retrain)\(|\.finish_training\(|\.conclude\(")


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(CHECKOUT)) for path in paths]


@pytest.mark.parametrize(
    "statement",
    [
        'db.execute("SELECT a, b FROM runs")',
        '"INSERT OR IGNORE INTO jobs VALUES (?)"',
        '"UPDATE jobs SET x = 1"',
        '"DELETE FROM settings"',
        "sqlite3.connect(path)",
    ],
)
def test_sql_is_recognised(statement: str) -> None:
    """
    The law below can be broken.
    """
    assert SQL.search(statement)


def test_sql_is_in_files_only() -> None:
    """
    Who else wants to know something asks a method with a name.
    """
    found = [p for p in SOURCES if SQL.search(p.read_text())]
    files, examples = PACKAGE / "files", PACKAGE / "cli" / "sql.py"  # the help of finetuned sql

    assert [] == names([p for p in found if not p.is_relative_to(files) and p != examples])
    assert (files / "database.py") in found


def test_a_job_is_moved_and_the_move_logged_in_one_place() -> None:
    """
    No path to another state is silent, and none is logged twice.
    """
    only = PACKAGE / "supervisor" / "job_moves.py"
    moving = [p for p in SOURCES if MOVES.search(p.read_text()) and "files" not in p.parts]
    logging = [p for p in SOURCES if re.search(r"log\.\w+\(\s*\"job_state_changed", p.read_text())]

    assert names([only]) == names(moving)
    assert names([only]) == names(logging)
    assert 1 == only.read_text().count('"job_state_changed"')
