"""
Input that was made to break programs: a clear reason each, and the worker goes on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from finetuned.config import DataConfig
from finetuned.data import store
from finetuned.data.render import Renderer
from finetuned.data.store import TokenisedDataset
from finetuned.errors import EXIT_TEMPFAIL
from finetuned.files.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
HOSTILE = DATA / "hostile"
BASE = DATA / "tokenizers" / "gpt2"

pytestmark = pytest.mark.skipif(
    not (HOSTILE.is_dir() and BASE.is_dir()), reason="shared/data is not here"
)

GOOD = b'{"prompt": "What is 2+2?", "completion": "Four."}\n'


ENVIRONMENT = {"PYTHONPATH": str(ROOT / "daemon"), "PATH": "/usr/bin:/bin"}


def _prepare(
    root: Path, files: list[tuple[Path, str]], base: Path = BASE, **changes: Any
) -> list[str]:
    """Write the run folder of path and name pairs, and return the worker's command."""
    run_dir, datasets = root / "run", root / "datasets"
    run_dir.mkdir()
    datasets.mkdir()
    spec = {
        "kind": "ingestion",
        "run_id": "run",
        "files": [
            {"dataset_key": f"k{i}", "path": str(path), "name": name}
            for i, (path, name) in enumerate(files)
        ],
        "datasets_dir": str(datasets),
        "base": str(base),
        "data": {**asdict(DataConfig()), **changes},
        "enable_thinking": False,
        "model_max_length": None,
    }
    (run_dir / "spec.json").write_text(json.dumps(spec))
    return [sys.executable, "-m", "finetuned.ingestion.worker", str(run_dir)]


def _ingest(root: Path, files: list[tuple[Path, str]], **changes: Any) -> list[dict[str, Any]]:
    """Run the worker over path and name pairs; it must end with 0."""
    command = _prepare(root, files, **changes)
    assert 0 == subprocess.run(command, env=ENVIRONMENT).returncode
    run_dir = root / "run"
    results = [
        json.loads((run_dir / "results" / f"k{i}.json").read_text()) for i in range(len(files))
    ]
    for result in results:
        assert result["result"] == "accepted" or result["reason"]
    return results


def _rejects(root: Path, i: int) -> list[dict[str, Any]]:
    path = root / "run" / f"k{i}" / store.REJECTS
    return [json.loads(line) for line in path.read_text().splitlines()]


def _naughty() -> list[str]:
    strings = json.loads((HOSTILE / "naughty_strings.json").read_text())
    return [s for s in dict.fromkeys(strings) if s.strip()]


def test_every_json_case_gets_a_reason_as_a_file_and_as_a_line(tmp_path: Path) -> None:
    """
    None of the 318 is a training example; each says why, and the next one is read.
    """
    cases = sorted((HOSTILE / "json_test_suite").glob("*.json"))
    assert 318 == len(cases)
    blank = (b"", b"\xef\xbb\xbf")
    lines = [
        d for d in (c.read_bytes() for c in cases) if b"\n" not in d and d.strip() not in blank
    ]
    together = tmp_path / "together.jsonl"
    together.write_bytes(b"\n".join(lines))
    results = _ingest(tmp_path, [(p, p.name) for p in [*cases, together]])

    assert {"quarantined"} == {r["result"] for r in results}
    rejects = _rejects(tmp_path, 318)
    assert list(range(1, len(lines) + 1)) == [r["line"] for r in rejects]
    assert all(r["code"] and r["reason"] for r in rejects)
    assert all(len(r["text"]) <= 200 for r in rejects)


def test_naughty_strings_are_learned_as_they_are(tmp_path: Path) -> None:
    """
    As question and as answer, every string comes back from its token ids unchanged.
    """
    strings = _naughty()
    path = tmp_path / "a.jsonl"
    rows = [{"prompt": f"{i} {s}", "completion": s} for i, s in enumerate(strings)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (result,) = _ingest(tmp_path, [(path, "a")], holdout_fraction=0.0)

    assert "accepted" == result["result"], result["reason"]
    dataset = TokenisedDataset.open(tmp_path / "datasets" / result["dataset_id"])
    renderer = Renderer.load(BASE, max_length=2048)
    assert len(strings) == len(dataset)
    for i, text in enumerate(strings):
        ids, mask = dataset[i]
        assert f"User:\n{i} {text}\n\nAssistant:\n" == renderer.decode(ids[~mask])
        assert text + "<|endoftext|>" == renderer.decode(ids[mask])


def test_naughty_file_names_are_only_names(tmp_path: Path) -> None:
    """
    Each file is read, and its name is stored on one printable line.
    """
    folder = tmp_path / "files"
    folder.mkdir()
    files = []
    for i, name in enumerate(_naughty()):
        if "/" in name or "\0" in name or len(os.fsencode(name)) > 200 or name in (".", ".."):
            continue
        path = folder / name
        path.write_text(json.dumps({"prompt": f"{i}?", "completion": f"{i}."}) + "\n")
        files.append((path, name))
    assert len(files) > 200
    results = _ingest(tmp_path, files)

    assert {"accepted"} == {r["result"] for r in results}
    for result in results:
        stored = read_manifest(tmp_path / "datasets" / result["dataset_id"])["source_name"]
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in stored)


def test_damaged_files_get_their_reason_and_the_next_file_its_dataset(tmp_path: Path) -> None:
    """
    Nesting, encodings, NUL bytes, a cut last line: nothing of it ends the worker.
    """
    damaged = {
        "deep arrays": b"[" * 100_000 + b"]" * 100_000 + b"\n",
        "deep objects": b'{"text":' * 100_000 + b"1" + b"}" * 100_000,
        "utf-16": '{"prompt": "a", "completion": "b"}\n'.encode("utf-16"),
        "utf-16 without mark": '{"prompt": "a", "completion": "b"}\n'.encode("utf-16-le"),
        "latin-1": '{"prompt": "ä", "completion": "b"}\n'.encode("latin-1"),
        "nul bytes": b"\0" * 5000,
        "nul in a string": b'{"prompt": "a\0b", "completion": "c"}\n',
        "half a line": GOOD[: len(GOOD) // 2],
        "huge integer": b'{"prompt": "a", "completion": "b", "n": ' + b"9" * 200_000 + b"}\n",
        "huge exponent": b'{"prompt": "a", "completion": "b", "n": 1e999999999}\n',
        "a million keys": b'{"prompt": "a", "prompt": "b", "completion": "c"}\n',
        "carriage returns only": GOOD.replace(b"\n", b"\r") * 3,
        "not json": b"\x89PNG\r\n\x1a\n" * 50,
        "json array of rows": b"[" + GOOD.strip() + b"]",
    }
    files = []
    for i, (name, data) in enumerate(damaged.items()):
        path = tmp_path / f"{i}.jsonl"
        path.write_bytes(data)
        files.append((path, name))
    good = tmp_path / "good.jsonl"
    good.write_bytes(GOOD)
    results = _ingest(tmp_path, [*files, (good, "good")])

    found = {name: r["result"] for (_, name), r in zip(files, results, strict=False)}
    assert dict.fromkeys(damaged, "quarantined") == found
    assert "accepted" == results[-1]["result"]
    said = {
        name: result["reason"].split(", not JSON lines; ")[0]
        for name, result in zip(damaged, results, strict=False)
        if ", not JSON lines; " in result["reason"]
    }
    assert {
        "utf-16": "the file is UTF-16 text",
        "utf-16 without mark": "the file is UTF-16 text",
        "nul bytes": "the file is binary data",
        "carriage returns only": "the file is text whose lines end in a carriage return alone",
        "not json": "the file is binary data",
        "json array of rows": "the file is one JSON array",
    } == said
    codes = {
        name: _rejects(tmp_path, i)[0]["code"] for i, name in enumerate(damaged) if name not in said
    }
    assert {
        "deep arrays": "too_deep",
        "deep objects": "too_deep",
        "latin-1": "not_utf8",
        "nul in a string": "not_json",
        "half a line": "not_json",
        "huge integer": "number_range",
        "huge exponent": "number_range",
        "a million keys": "duplicate_key",
    } == codes


def test_line_ends_of_windows_and_a_missing_last_one_are_fine(tmp_path: Path) -> None:
    """
    A byte order mark, CR LF, blank lines and a last line without its end change nothing.
    """
    rows = [GOOD.strip().replace(b"2+2", str(i).encode()) for i in range(3)]
    path = tmp_path / "a.jsonl"
    mark = b"\xef\xbb\xbf"
    path.write_bytes(mark + rows[0] + b"\r\n\r\n\n" + rows[1] + b"\r\n" + mark + rows[2])
    (result,) = _ingest(tmp_path, [(path, "a")], holdout_fraction=0.0)

    dataset = TokenisedDataset.open(tmp_path / "datasets" / result["dataset_id"])
    assert [1, 4, 5] == [int(dataset.example_id(i).split(":")[1]) for i in range(3)]


def test_a_line_cut_by_a_crash_of_the_writer_costs_that_line(tmp_path: Path) -> None:
    """
    The rows before it are trained, and the report names it.
    """
    path = tmp_path / "a.jsonl"
    rows = [GOOD.replace(b"2+2", str(i).encode()) for i in range(30)]
    path.write_bytes(b"".join(rows) + GOOD[:20])
    (result,) = _ingest(tmp_path, [(path, "a")])

    assert "accepted" == result["result"]
    assert 30 == result["report"]["rows_accepted"]
    assert [31] == [e["line"] for e in result["report"]["first_rejects"]]


@pytest.mark.slow
def test_one_line_of_a_gigabyte_is_refused_in_little_memory(tmp_path: Path) -> None:
    """
    It is skipped without being held, and the row after it is trained.
    """
    path, good = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    with path.open("wb") as f:
        f.write(b'{"text": "')
        f.seek(1 << 30)
        f.write(b'"}\n' + GOOD)
    good.write_bytes(GOOD)
    code = (
        "import resource, subprocess, sys;"
        "status = subprocess.run(sys.argv[1:]).returncode;"
        "usage = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(usage.ru_maxrss * 1024); sys.exit(status)"
    )
    results = _ingest(tmp_path, [(path, "a"), (good, "b")], max_rejected_fraction=0.5)
    assert ["accepted", "accepted"] == [r["result"] for r in results]
    first = results[0]["report"]["first_rejects"][0]
    assert "line_too_long" == first["code"]
    assert str((1 << 30) + 2) in first["reason"]

    # Once more, for its memory: the same run folder, its results forgotten.
    for result in (tmp_path / "run" / "results").iterdir():
        result.unlink()
    command = [sys.executable, "-m", "finetuned.ingestion.worker", str(tmp_path / "run")]
    measured = subprocess.run(
        [sys.executable, "-c", code, *command], env=ENVIRONMENT, capture_output=True, check=True
    )
    assert int(measured.stdout) < 300 << 20


@pytest.mark.slow
def test_a_worker_whose_template_loops_for_ever_obeys_sigterm(tmp_path: Path) -> None:
    """
    It ends with 75 within seconds, so that a service manager need not wait for its timeout.
    """
    base = tmp_path / "base"
    base.mkdir()
    for file in BASE.iterdir():
        (base / file.name).symlink_to(file)
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (base / "chat_template.jinja").unlink(missing_ok=True)
    (base / "chat_template.jinja").write_text(loop)
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD)
    command = _prepare(tmp_path, [(path, "a")], base=base)
    with subprocess.Popen(command, env=ENVIRONMENT) as worker:
        heartbeat = tmp_path / "run" / "heartbeat.json"
        until = time.monotonic() + 60
        while not heartbeat.exists() and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(1)
        assert worker.poll() is None, "the template did not loop"
        worker.send_signal(signal.SIGTERM)
        assert EXIT_TEMPFAIL == worker.wait(timeout=60)
    assert [] == list((tmp_path / "datasets").iterdir())
