"""
``finetuned check`` says what ingestion would say, of the same rows, and writes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetuned.cli.check_text import PIECE_CHARACTERS, TO_DO, Piece, marked, shortened
from finetuned.cli.program import main
from finetuned.config import DataConfig
from finetuned.core.phase import Phase
from finetuned.data.render import Renderer
from finetuned.files.shipped import shipped
from finetuned.ingestion.ingest import Ingestion
from finetuned.ingestion.source import Source
from finetuned.layout import Layout

PACKAGE = Path(__file__).parents[3] / "daemon"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """
    A root with nothing but a folder of datasets, which is also the current directory.
    """
    layout = Layout(tmp_path / "root")
    layout.datasets.mkdir(parents=True)
    layout.benchmarks.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FINETUNED_ROOT", str(layout.root))
    return layout


def rows(first: int, last: int) -> list[dict[str, object]]:
    return [
        {"prompt": f"What comes after {i}?", "completion": f"It is {i + 1}."}
        for i in range(first, last)
    ]


def write(name: str, lines: list[object]) -> Path:
    path = Path(name)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(text + "\n" for text in texts))
    return path


def ingested(layout: Layout, path: Path) -> dict[str, Any]:
    """Return what ingestion makes of a file, into the root's datasets."""
    run_dir = layout.root / "run"
    run_dir.mkdir(exist_ok=True)
    made = Ingestion(
        datasets_dir=layout.datasets,
        run_dir=run_dir,
        renderer=Renderer.load(shipped().bases / "micro", max_length=512),
        config=DataConfig(),
        benchmarks=layout.benchmarks,
    )
    source = Source(f"key-{path.stem}", path, path.name)

    def go_on(_phase: Phase, _rows: int, _n_bytes: int) -> None:
        return None

    result = made.ingest(source, go_on)
    return {"result": result.result, "reason": result.reason, "report": result.report}


def checked(*args: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    main(["check", *args, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of every file below a folder."""
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))}


def test_a_check_says_what_ingestion_says(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Accepted, set aside, a duplicate, nothing to train: the same verdict, reason and report,
    after what earlier files of the root and its suites hold.
    """
    write("root/config.toml", ["[data]\nmax_length = 512"])
    write("root/benchmarks/asked.jsonl", [*rows(0, 3), *rows(500, 503)])
    assert "accepted" == ingested(layout, write("first.jsonl", [*rows(0, 60)]))["result"]
    cases = {
        "clean.jsonl": rows(100, 160),
        "mixed.jsonl": [*rows(50, 150), *rows(50, 52), "{", {"prompt": "a", "completion": 7}],
        "broken.jsonl": [*rows(200, 210), "{", '{"text": "a\\ud800"}'],
        "long.jsonl": [*rows(0, 9), {"prompt": "a", "completion": "word " * 900}],
        "asked.jsonl": rows(500, 503),
        "blank.jsonl": ["", " "],
        "again.jsonl": rows(0, 60),
    }
    for name, lines in cases.items():
        path = write(name, list(lines))
        before = everything(Path())
        found = checked(name, capsys=capsys)
        assert before == everything(Path())
        expected = ingested(layout, path)

        assert (expected["result"], expected["reason"]) == (found["verdict"], found["reason"])
        if expected["result"] == "duplicate":
            continue
        for key in ("seconds", "dataset_id", "leaks"):
            expected["report"].pop(key)
            found["report"].pop(key)
        assert expected["report"] == found["report"]


def test_what_a_person_has_to_know_is_said(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Counts, reasons with lines and what to do, lengths and their limit, repeats, what is known.
    """
    write("root/config.toml", ["[data]\nmax_length = 300\nmax_rejected_fraction = 0.5"])
    write("root/benchmarks/asked.jsonl", [*rows(0, 2)])
    write("root/benchmarks/bad.jsonl", ["{"])
    long = {"prompt": "a", "completion": "word " * 900}
    lines = [*rows(0, 20), *rows(5, 7), {**rows(9, 10)[0], "completion": "Ten."}, "{", long, long]
    write("a.jsonl", lines)

    assert 1 == main(["check", "a.jsonl"])
    out = capsys.readouterr().out
    for said in (
        "a.jsonl would be accepted with 23 of its 26 rows: ",
        "23 accepted, 3 rejected",
        "300 are allowed (data.max_length)",
        "2 rows repeat an earlier row of the file (line 21 is line 6, line 22 is line 7)",
        "1 row asks what an earlier row of the file asks, with another answer",
        "2 rows ask what the suite asked asks, which are never trained",
        "not compared with a suite: bad.jsonl:1",
        "  2 too_long: lines 25, 26\n",
        "  1 not_json: line 24\n      column 2: found the end of the line",
        "      write one whole JSON object on the line",
        "What comes after 0?",
        "\u27e6It is 1.<|im_end|>\u27e7",
    ):
        assert said in out
    assert 3 == out.count("\nline ")

    main(["check", "a.jsonl", "--line", "24", "--line", "12", "--line", "99"])
    out = capsys.readouterr().out
    for said in (
        "\nline 12: ",
        "\u27e6It is 12.<|im_end|>\u27e7",
        "\nline 24: rejected, not_json: column 2: found the end of the line",
        "\n  it begins with: {\n",
        "\nline 99: there is no row\n",
    ):
        assert said in out
    assert 3 == out.count("\nline ")
    found = checked("a.jsonl", "--show", "1", "--line", "12", "--line", "24", capsys=capsys)
    assert [1, 12] == [row["line"] for row in found["shown"]]
    assert [24] == [rejected["line"] for rejected in found["asked"]]


def test_the_exit_status_says_whether_every_row_is_used(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    0 all, 1 not all or none, 2 wrong usage, 78 no such base model.
    """
    write("good.jsonl", [*rows(0, 40)])
    write("bad.jsonl", [*rows(0, 40), "{"])
    Path("array.jsonl").write_text(json.dumps(rows(0, 40)))

    assert 0 == main(["check", "good.jsonl", "--show", "0"])
    assert "rows as the model sees them" not in capsys.readouterr().out
    assert 1 == main(["check", "bad.jsonl"])
    write("worse.jsonl", [*rows(0, 10), "{"])
    assert 1 == main(["check", "worse.jsonl"])
    assert (
        "1 of 11 lines are rejected (9.1%), more than data.max_rejected_fraction allows; correct "
        "or remove the rejected lines and drop the file again, or raise "
        "data.max_rejected_fraction to train the other 10 lines\n"
    ) in capsys.readouterr().out
    assert 1 == main(["check", "array.jsonl"])
    assert (
        "one JSON array, not JSON lines; make JSON lines of it: finetuned convert array.jsonl"
        in (capsys.readouterr().out)
    )
    assert 78 == main(["check", "good.jsonl", "--base", "none"])
    for wrong in (
        ["none.jsonl"],
        ["root"],
        ["good.jsonl", "--show", "-1"],
        ["good.jsonl", "--line", "0"],
    ):
        with pytest.raises(SystemExit) as caught:
            main(["check", *wrong])
        assert 2 == caught.value.code


def test_without_a_root_the_defaults_hold(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A name that the daemon would ignore is pointed out, and a mark of Windows is none of it.
    """
    monkeypatch.delenv("FINETUNED_ROOT")
    monkeypatch.setattr("finetuned.cli.root.checkout", lambda: None)
    write("a.txt", ["\ufeff" + json.dumps(row) for row in rows(0, 20)])

    assert 0 == main(["check", "a.txt"])
    out = capsys.readouterr().out
    assert "micro, with the default settings, as there is no root" in out
    assert "the daemon reads only names that end in .jsonl" in out


def test_a_check_loads_no_torch_and_is_read_without_colour(layout: Layout) -> None:
    """
    In a process of its own: marks on a terminal that has no such letters, no escapes in a pipe.
    """
    write("a.jsonl", [*rows(0, 20)])
    code = (
        "import sys; from finetuned.cli.program import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 9 * ('torch' in sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, "check", "a.jsonl"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONIOENCODING": "ascii:replace"},
        capture_output=True,
        check=True,
    )

    assert b"[[It is 1.<|im_end|>]]" in found.stdout
    assert b"\x1b" not in found.stdout


def test_advice_is_for_codes_that_exist() -> None:
    """
    Each is explained on the page of rows.
    """
    page = (PACKAGE.parent / "docs" / "reference" / "rows.md").read_text()

    assert [] == [code for code in TO_DO if f"`{code}`" not in page]


def test_a_long_piece_is_shown_without_its_middle() -> None:
    """
    A row of a megabyte must not fill the screen, and nothing in it drives the terminal.
    """
    text = shortened("a\x1b[2J" + "b" * 5000)

    assert text.startswith("a\\u001b[2Jbb")
    assert "characters ...]" in text
    assert len(text) < PIECE_CHARACTERS + 50
    assert "q[[a]]" == marked([Piece("q", False), Piece("a", True)], ("[[", "]]"))
