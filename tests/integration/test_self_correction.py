"""
Self-correction of a whole daemon: one file for a job, of trained rows alone, and then no more.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.data.examples import prompt_hash
from finetuned.data.reader import to_example
from finetuned.data.store import TokenisedDataset
from finetuned.layout import Layout
from support.daemon import Daemon, make_root
from support.disk import log_events
from support.tiny_base import write_rows

MOST = 12


def datasets(layout: Layout) -> dict[str, TokenisedDataset]:
    """Return the datasets by the name of their file."""
    with sqlite3.connect(layout.journal) as db:
        found = db.execute("SELECT name, dataset_id FROM datasets").fetchall()
    return {name: TokenisedDataset.open(layout.datasets / key) for name, key in found}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_job_is_followed_by_one_file_of_corrections_and_that_by_none(
    tmp_path: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Capped, made of trained rows and of no held-out one, and trained; the verb finds the same rows.
    """
    data = f"self_correction = true\ncorrection_examples = {MOST}"
    layout = Layout(make_root(tmp_path / "root", tiny_base, data=data))
    write_rows(layout.inbox / "a.jsonl", 40)
    with Daemon(layout.root, "--until-idle") as daemon:
        assert daemon.wait_exit(900) == 0, daemon.output()

    found = datasets(layout)
    name = "corrections-j000001.jsonl"
    assert sorted(found) == ["a.jsonl", name]
    [file] = layout.done.glob("corrections-*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert 3 <= len(rows) <= MOST
    trained = set(found["a.jsonl"].prompt_hashes.tolist())
    held_out = {
        prompt_hash(to_example({"messages": row["messages"]}))
        for row in found["a.jsonl"].held_out_rows()
    }
    parents = {int(row["metadata"]["correction"]["of"], 16) for row in rows}
    assert held_out
    assert parents <= trained
    assert not parents & held_out
    assert len(found[name]) >= len(rows)
    events = log_events(layout.root)
    assert [e["rows"] for e in events if e["event"] == "corrections_queued"] == [len(rows)]
    assert [e["job_id"] for e in events if e["event"] == "corrections_none"] == ["j000002"]

    assert main(["corrections", "--root", str(layout.root), "--max", str(MOST), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["version"] == "v0002"
    assert said["output"] is None
    assert said["looked_at"] == said["right"] + said["wrong"] + sum(said["not_asked"].values())
    assert main(["corrections", "--root", str(layout.root), "--max", "3", "--drop"]) == 0
    assert len(list(layout.inbox.glob("corrections-v0002-*.jsonl"))) == 1
    assert main(["corrections", "--root", str(layout.root), "d00000009"]) == 1
    assert "has learnt no file d00000009" in capsys.readouterr().err
