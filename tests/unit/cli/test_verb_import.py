"""
``finetuned import``: from a playbook to approved rows in inbox/, and what is said on the way.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from finetuned.cli.import_rows import target_of
from finetuned.cli.program import main
from support.feedback import make_root

pytest.importorskip("ruamel.yaml")

PLAYBOOK = """---
- hosts: web
  tasks:
    - name: Install nginx
      apt: {name: nginx, state: present}
    - name: Restart nginx
      service: name=nginx state=restarted
    - name: Write {{ page }}
      template: {src: a, dest: b}
"""
ROW = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FINETUNED_ROOT", str(tmp_path))
    make_root(tmp_path)
    Path("site.yml").write_text(PLAYBOOK)


def test_a_playbook_is_trained_once_a_person_has_approved_its_tasks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Imported, reviewed, dropped, accepted by the check: the row says where its task stands.
    """
    assert 0 == main(["import", "playbook", "site.yml"])
    said = capsys.readouterr().out
    assert "2 for a person to look at (2 unverified): 2 answers wait" in said
    assert "site.yml:8 ([1].tasks[3]): 'Write {{ page }}'" in said
    assert "next: finetuned review" in said
    assert not Path("site.import.jsonl").exists()

    monkeypatch.setattr("sys.stdin", io.StringIO("a\nr\n"))
    assert 0 == main(["review"])
    shown = capsys.readouterr().out
    assert "imported from site.yml:4 ([1].tasks[1])" in shown
    assert "confidence unknown" in shown

    (dropped,) = Path("inbox").glob("review-*.jsonl")
    (row,) = map(json.loads, dropped.read_text().splitlines())
    assert "Install nginx" == row["messages"][0]["content"]
    assert ("import", 4, ["unverified"]) == (
        row["metadata"]["source"],
        row["metadata"]["import"]["line"],
        row["metadata"]["reasons"],
    )
    assert 0 == main(["check", str(dropped)])
    assert 0 == main(["review", "--count"])
    assert "0 wait for review" in capsys.readouterr().out


def test_what_waits_is_listed_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """
    With its origin, and null for a confidence that nobody knows.
    """
    assert 0 == main(["import", "playbook", "site.yml", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (3, 0, 2, 1) == tuple(
        report[key] for key in ("rows_found", "rows_written", "rows_to_review", "rows_refused")
    )
    assert "template" in report["refused"]
    assert 0 == main(["review", "--json"])
    listed = json.loads(capsys.readouterr().out)["waiting"]
    assert [(None, 4), (None, 6)] == [(one["confidence"], one["origin"]["line"]) for one in listed]


def test_rows_that_somebody_vouches_for_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Into an inbox too, where there is no next step.
    """
    arguments = ["import", "playbook", "site.yml", "--verified-by", "ada", "-o", "inbox/a.jsonl"]
    assert 0 == main(arguments)
    assert "2 written to inbox/a.jsonl" in capsys.readouterr().out
    assert 2 == len(Path("inbox/a.jsonl").read_text().splitlines())


def test_the_root_says_how_sure_is_sure_enough(capsys: pytest.CaptureFixture[str]) -> None:
    """
    serving.review_confidence, unless --confidence is given.
    """
    Path("config.toml").write_text("[serving]\nreview_confidence = 0.4\n")
    Path("r.jsonl").write_text(json.dumps({**ROW, "confidence": 0.5}) + "\n")
    assert 0 == main(["import", "openai", "r.jsonl"])
    assert "1 written to r.import.jsonl" in capsys.readouterr().out
    assert 0 == main(["import", "openai", "r.jsonl", "--confidence", "0.6", "-o", "other.jsonl"])
    assert "1 for a person to look at (1 unsure)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["openai", "none.jsonl"], "no such file"),
        (["openai", "inbox"], "not a file"),
        (["slides", "site.yml"], "invalid choice"),
        (["playbook", "site.yml", "-o", "a.json"], "must end in .jsonl"),
        (["playbook", "site.yml", "-o", "none/a.jsonl"], "is not a folder"),
        (["playbook", "site.yml", "--confidence", "nan"], "must be 0 to 1"),
        (["playbook", "site.yml", "--verified-by", " "], "needs the name"),
    ],
)
def test_wrong_usage_is_said(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Status 2, before anything is read.
    """
    with pytest.raises(SystemExit, match="2"):
        main(["import", *arguments])
    assert says in capsys.readouterr().err


def test_an_unfinished_dump_ends_with_1_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    What was found and what to do is one sentence, as JSON too.
    """
    before = sorted(Path().rglob("*"))
    Path("d.sql").write_text("COPY ai_decisions (query, parsed_intent) FROM stdin;\na\t{}\n")
    assert 1 == main(["import", "decisions", "d.sql", "--json"])
    shown = capsys.readouterr()
    assert "the dump breaks off" in json.loads(shown.out)["error"]
    assert "exit status of pg_dump" in shown.err
    left = {path for path in Path().rglob("*") if not path.match("logs/*")}
    assert {*before, Path("d.sql")} == left


def test_a_source_without_any_row_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """
    With the reasons.
    """
    Path("r.jsonl").write_text("[1]\n")
    assert 1 == main(["import", "openai", "r.jsonl"])
    assert "1 bad_row" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("dump.sql.gz", "dump.import.jsonl"),
        ("rows.jsonl", "rows.import.jsonl"),
        ("roles", "roles.import.jsonl"),
        (".jsonl", "rows.import.jsonl"),
    ],
)
def test_the_new_file_is_beside_the_source_under_another_name(source: str, target: str) -> None:
    """
    Never the source itself.
    """
    assert target == target_of(Path(source)).name
