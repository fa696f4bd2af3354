"""
``finetuned augment``: where the rows go, what is said, and the exit status.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.cli.program import main

ROWS = "".join(
    json.dumps({"prompt": f"Show the state of host {name}", "completion": f"{name} is up"}) + "\n"
    for name in ("web-01", "web-02", "mail-07", "db-3")
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FINETUNED_ROOT", str(tmp_path))
    (tmp_path / "inbox").mkdir()
    Path("rows.jsonl").write_text(ROWS)


def test_rows_go_beside_the_file_and_the_next_step_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    How many were made, by what, and where they are.
    """
    assert 0 == main(["augment", "rows.jsonl", "--times", "3"])
    first, by, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("8 of 8 rows were made of 4; 12 rows are now in rows.3x.jsonl")
    assert by.startswith("by ")
    assert "next: finetuned check rows.3x.jsonl" == last
    assert 12 == len(Path("rows.3x.jsonl").read_text().splitlines())


def test_the_same_for_programs_and_what_a_suite_asks_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    A row that a suite asks has no children.
    """
    Path("benchmarks").mkdir()
    Path("benchmarks/s.jsonl").write_text(ROWS.splitlines()[0])
    assert 0 == main(["augment", "rows.jsonl", "-o", "inbox/a.jsonl", "--only", "typos", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert (4, 3, {"typos": 3}) == (said["wanted"], said["made"], said["by_transform"])
    assert {"held_out": 1} == said["dropped"]
    assert "inbox/a.jsonl" == said["output"]


def test_no_row_made_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """
    With the reasons; the file is written all the same.
    """
    assert 1 == main(["augment", "rows.jsonl", "--only", "clues"])
    assert "not made: 4 nothing_to_change" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["none.jsonl"], "no such file"),
        (["rows.jsonl", "--times", "1"], "--times must be 2 to 10"),
        (["rows.jsonl", "--only", "magic"], "no transform 'magic'"),
        (["rows.jsonl", "-o", "a.json"], "must end in .jsonl"),
        (["rows.jsonl", "--by", "http://127.0.0.1:9/v1"], "go together"),
        (["rows.jsonl", "--only", "served"], "needs --by"),
        (["rows.jsonl", "--by", "nowhere", "--model", "m"], "no address"),
    ],
)
def test_wrong_usage_is_said(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Status 2, and nothing is written.
    """
    with pytest.raises(SystemExit, match="2"):
        main(["augment", *arguments])
    assert says in capsys.readouterr().err
    assert [] == list(Path().glob("rows.*x.jsonl"))


def test_an_existing_file_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Status 1.
    """
    Path("rows.2x.jsonl").write_text("mine")
    assert 1 == main(["augment", "rows.jsonl"])
    assert "exists already" in capsys.readouterr().err
    assert "mine" == Path("rows.2x.jsonl").read_text()
