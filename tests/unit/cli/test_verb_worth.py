"""
``finetuned worth``: what a file cost, what it changed, and what is not known of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetuned.cli.program import main
from finetuned.files.review import ReviewQueue
from finetuned.reports.page import evaluation_page
from finetuned.reports.worth_section import worth_section
from support.eval_reports import make_report
from support.feedback import exchange
from support.worth_root import forget_version, make_worth_root

CONFIG = """
[costs]
price_per_kwh = 0.5
price_per_device_hour = 3.6
currency = "USD"
cpu_core_watts = 36.0
value_per_point = 0.1
"""

KILLED = 60 * 0.001 + 50 * 36 / 3.6e6 * 0.5
FINISHED = 90 * 0.001 + 43200 / 3.6e6 * 0.5
ASKED = 30 * 0.001 + 30 * 36 / 3.6e6 * 0.5
"""Of the three runs in support/worth_root.py: 3.6 an hour is 0.001 a second."""


def worth(root: Path, capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert 0 == main(["worth", "--json", "--root", str(root), *args])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def root(tmp_path):
    make_worth_root(tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def test_files_of_one_job_share_all_its_cost_by_their_tokens(root, capsys):
    """
    Also that of the training that was killed: for as long as it was seen, not until it was found.
    """
    found = worth(root, capsys)
    a, b = found["files"]

    whole = KILLED + FINISHED + ASKED
    assert pytest.approx(whole) == found["cost"]["money"]
    assert 180.0 == pytest.approx(found["cost"]["seconds"])
    assert pytest.approx((0.75 * whole, 0.25 * whole)) == (a["cost"]["money"], b["cost"]["money"])
    assert (0.75, 0.25) == (a["share"], b["share"])
    assert ["estimate", "nvml", "rapl"] == a["cost"]["energy_from"]
    assert pytest.approx(whole) == found["cost_of_a_training"]
    assert "USD" == found["currency"]


def test_what_was_learnt_and_what_was_known_before_are_told_apart(root, capsys):
    """
    One file took the model from 2 to 18 of 20, the other was right before it began.
    """
    a, b = worth(root, capsys)["files"]

    assert (2, 20) == (a["right_before"]["right"], a["right_before"]["asked"])
    assert 80.0 == a["effects"][0]["points"]
    assert a["effects"][0]["interval_95"][0] > 0
    assert a["effects"][0]["paired"]
    assert pytest.approx(a["cost"]["money"] / 80) == a["price_of_a_point"]
    assert pytest.approx(80 * 0.1 / a["cost"]["money"] - 1) == a["return"]
    assert (20, 20) == (b["right_before"]["right"], b["right_before"]["asked"])
    assert b["price_of_a_point"] is None
    assert not b["effects"][0]["shown"]


def test_one_file_is_shown_with_all_suites_in_words(root, capsys):
    """
    By its name or its key; what is shared and what is not known are said.
    """
    assert 0 == main(["worth", "--root", str(root), "--dataset", "b.jsonl"])
    text = capsys.readouterr().out

    assert "d00000002  b.jsonl: promoted" in text
    assert "25.0% of that job by tokens, beside 1 other file" in text
    assert "20 of 20 held-out rows were answered right before" in text
    assert "on a.jsonl (new, 20 questions)" in text
    assert "its dataset is deleted" in text


def test_the_list_has_a_line_for_each_file(root, capsys):
    """
    With the sum of all runs below it.
    """
    assert 0 == main(["worth", "--root", str(root)])
    lines = capsys.readouterr().out.splitlines()

    assert ["d00000001", "d00000002"] == [line.split()[0] for line in lines[1:3]]
    assert "+80.0" in lines[1]
    assert "all 3 runs: 3 min, ~12.8 Wh" in "\n".join(lines)


@pytest.mark.parametrize("whole", [True, False])
def test_a_version_without_its_report_is_judged_by_the_counts(tmp_path, capsys, whole):
    """
    A pruned folder, or one whose report is gone: wider intervals, and it is said.
    """
    layout = make_worth_root(tmp_path, report=not whole)
    if not whole:
        forget_version(layout)
    a, _ = worth(tmp_path, capsys)["files"]

    assert 80.0 == pytest.approx(a["effects"][0]["points"])
    assert not a["effects"][0]["paired"]
    assert any("intervals are from counts" in note for note in a["notes"])


@pytest.mark.parametrize("cut", [b"", b'{"suites": [{"name"', b"[]", b'{"suites": 7, "items": {}}'])
def test_a_cut_report_stops_nothing(tmp_path, capsys, cut):
    """
    The counts of the journal are still there.
    """
    layout = make_worth_root(tmp_path)
    (layout.versions / "v0001" / "eval_report.json").write_bytes(cut)

    assert 80.0 == pytest.approx(worth(tmp_path, capsys)["files"][0]["effects"][0]["points"])


def test_an_empty_root_and_an_unknown_file_are_one_sentence(tmp_path, capsys):
    """
    With a status that scripts see.
    """
    assert 1 == main(["worth", "--root", str(tmp_path)])
    assert "no daemon ever ran here" in capsys.readouterr().err
    make_worth_root(tmp_path)
    assert 1 == main(["worth", "--root", str(tmp_path), "--dataset", "c.jsonl"])
    assert "c.jsonl is neither the key nor the name" in capsys.readouterr().err


def test_requests_of_the_service_are_counted_by_version(root, capsys):
    """
    What users got: production is beside the held-out rows.
    """
    serving = root / "models" / "serving"
    serving.mkdir(parents=True)
    queue = ReviewQueue(serving / "feedback.sqlite3")
    queue.record([exchange(1), exchange(2, confidence=0.9)], threshold=0.7)
    queue.close()
    (production,) = worth(root, capsys)["production"]

    assert ("v0007", 2, 0.7) == (
        production["version"],
        production["requests"],
        pytest.approx(production["confidence"]),
    )
    (serving / "feedback.sqlite3").write_bytes(b"no database at all" * 100)
    assert "cannot be read" in worth(root, capsys)["problem"]


def test_the_page_of_a_version_says_what_it_cost(root):
    """
    A section of its own, and a sentence if nothing can be known.
    """
    from finetuned.layout import Layout

    section = worth_section(Layout(root), "v0001")
    page = evaluation_page(make_report(promoted=True), history=[], worth=section)
    assert "a.jsonl" in page
    assert "it was hardly needed" not in page  # 20 of 20 do not show 90%
    assert "+80.0" in page
    assert "What it cost" in page
    assert [] == list(worth_section(Layout(root), "v0009").rows)
    assert "not known" in worth_section(Layout(root / "absent"), "v0001").sentences[0]
