"""
The sealed suite's runner, with a small sealed set and a real model.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path

import pytest

from experiments.sealed import main

SECRET = "syzygy"


def seal(folder: Path) -> Path:
    """
    Seal two items, of which a model with random weights answers one group's choice right.
    """
    folder.mkdir()
    rows = [
        {"id": "dns-1", "prompt": f"add {SECRET}", "completion": f"{SECRET}-answer"},
        {
            "id": "users-1",
            "prompt": f"which {SECRET}?",
            "choices": [SECRET, f"{SECRET} and far more of it than that"],
            "expected": SECRET,
            "scorer": "choice",
        },
    ]
    data = lzma.compress("".join(json.dumps(r) + "\n" for r in rows).encode())
    (folder / "s.jsonl.xz").write_bytes(data)
    facts = {"file": "s.jsonl.xz", "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({**facts, "items": {"dns": 1, "users": 1}}))
    return folder


def test_a_model_is_asked_once_and_only_counts_come_out(
    tiny_base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """
    Counts are printed and recorded, nothing of an item is; the second time needs --again.
    """
    log = tmp_path / "log.jsonl"
    words = [str(tiny_base), "--root", str(tmp_path), "--set", str(seal(tmp_path / "sealed"))]
    words += ["--log", str(log)]

    found = [main(words), main(words), main([*words, "--again"])]
    records = [json.loads(line) for line in log.read_text().splitlines()]
    said = capfd.readouterr()

    assert [0, 1, 0] == found
    assert [False, True] == [r["again"] for r in records]
    assert [{"dns": [0, 1], "users": [1, 1]}] * 2 == [r["right"] for r in records]
    assert 2 == said.out.count("all        1 of   2   50%")
    assert "was scored on" in said.err
    assert SECRET not in said.out + said.err + log.read_text()
