"""
``finetuned convert``: where the rows go, what is said, and the exit status.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.cli.convert import target_of
from finetuned.cli.program import main

ARRAY = '[{"prompt": "a", "completion": "b"},\n{"text": "c"}]'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("a.json", "a.jsonl"),
        ("a.v2.csv.GZ", "a.v2.jsonl"),
        ("a", "a.jsonl"),
        ("a.jsonl", "a.converted.jsonl"),
        (".json", "rows.jsonl"),
    ],
)
def test_the_new_file_lies_beside_and_has_another_name(name: str, target: str) -> None:
    """
    Endings of known shapes give way to .jsonl.
    """
    assert Path("x", target) == target_of(Path("x", name))


def test_rows_go_beside_the_file_and_the_next_step_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    All of them: exit status 0.
    """
    Path("my rows.json").write_text(ARRAY)

    assert 0 == main(["convert", "my rows.json"])
    assert [
        "my rows.json: one JSON array",
        "all 2 rows are now in my rows.jsonl",
        "next: finetuned check 'my rows.jsonl'",
    ] == capsys.readouterr().out.splitlines()
    assert 2 == len((tmp_path / "my rows.jsonl").read_text().splitlines())


def test_the_daemon_takes_what_appears_in_its_inbox(capsys: pytest.CaptureFixture[str]) -> None:
    """
    There is no next step to name.
    """
    Path("inbox").mkdir()
    Path("a.json").write_text(ARRAY)

    assert 0 == main(["convert", "a.json", "-o", "inbox/a.jsonl"])
    assert "all 2 rows are now in inbox/a.jsonl" == capsys.readouterr().out.splitlines()[-1]


def test_refused_rows_are_listed_and_end_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """
    For people and for programs.
    """
    Path("a.json").write_text(ARRAY.replace(",\n", ",\n7,"))

    assert 1 == main(["convert", "a.json", "-o", "b.jsonl"])
    assert (
        "2 of 3 rows are now in b.jsonl\n1 refused:\n  line 2: found 7" in capsys.readouterr().out
    )
    assert 1 == main(["convert", "a.json", "-o", "c.jsonl", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert ("array", 3, 2, 1) == tuple(
        found[key] for key in ("shape", "rows_in", "rows_out", "rows_refused")
    )
    assert [{"place": 2, "reason": "found 7, expected an object"}] == found["refused"]


def test_what_is_no_rows_ends_with_1_and_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The file, what it is and what to do; also as JSON.
    """
    Path("a.txt").write_text("Once upon a time\n")

    assert 1 == main(["convert", "a.txt", "--json"])
    out, err = capsys.readouterr()
    assert err.startswith("finetuned convert: a.txt: it is text without any JSON object")
    assert "put each document on a line" in json.loads(out)["error"]


def test_json_lines_need_no_conversion(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Unless another name is wanted.
    """
    Path("a.jsonl").write_text('{"text": "a"}\n')

    assert 0 == main(["convert", "a.jsonl"])
    assert "is JSON lines already" in capsys.readouterr().err
    assert 0 == main(["convert", "a.jsonl", "-o", "b.jsonl"])
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["none.json"], "no such file"),
        (["folder"], "not a file"),
        (["a.json", "-o", "b.json"], "must end in .jsonl"),
        (["a.json", "-o", "none/b.jsonl"], "is not a folder"),
    ],
)
def test_wrong_usage_ends_with_2(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing is written.
    """
    Path("a.json").write_text(ARRAY)
    Path("folder").mkdir()

    with pytest.raises(SystemExit) as caught:
        main(["convert", *args])
    assert 2 == caught.value.code
    assert said in capsys.readouterr().err
    assert {Path("a.json"), Path("folder")} == set(Path().iterdir())
