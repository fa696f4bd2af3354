"""
``finetuned confidence``: figures of an eval report, for people and for programs.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.cli.program import main
from finetuned.layout import Layout
from finetuned.reports.page import evaluation_page
from support.eval_reports import make_confidence, make_report


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """
    A version with a map, one whose evaluation had too little for one, and one of an earlier
    release.
    """
    layout = Layout(tmp_path)
    reports = [make_report() for _ in range(3)]
    reports[1]["confidence"] = make_confidence(10)
    del reports[2]["confidence"]
    for i, report in enumerate(reports):
        folder = layout.versions / f"v000{i}"
        folder.mkdir(parents=True)
        (folder / "eval_report.json").write_text(json.dumps(report))
    return tmp_path


def test_a_person_reads_what_confidence_is_worth_by_domain(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Calibrated beside not calibrated, and what is wrong if only the surest answers are given.
    """
    assert 0 == main(["confidence", "v0000", "--root", str(root)])
    text = capsys.readouterr().out
    assert text.startswith("v0000: A ")
    for part in ("fitted on 240 answers", "all", "dns", "users & groups", "uncalibrated ECE"):
        assert part in text
    assert "100% of them:" in text.splitlines()[-1]


def test_a_program_reads_the_report_itself(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    With the map, the bins and the curve.
    """
    assert 0 == main(["confidence", "v0000", "--json", "--root", str(root)])
    assert {"version": "v0000", "confidence": make_confidence()} == json.loads(
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("version", "said"),
    [("v0001", "10 answers"), ("v0002", "did not measure confidence"), ("v0009", "no version")],
)
def test_a_version_without_a_map_ends_with_1_and_says_why(
    root: Path, capsys: pytest.CaptureFixture[str], version: str, said: str
) -> None:
    """
    A program that asks whether confidence is calibrated needs only the status.
    """
    assert 1 == main(["confidence", version, "--root", str(root)])
    found = capsys.readouterr()
    assert said in found.out + found.err


def test_the_page_of_a_version_draws_reliability_and_risk() -> None:
    """
    Two charts if there is a map; a sentence if there is none; nothing for an earlier release.
    """
    report = make_report()
    page = evaluation_page(report, history=[])
    assert "<h2>Confidence</h2>" in page
    assert "Reliability: how often" in page
    assert "Risk and coverage" in page
    assert "users &amp; groups" in page
    without = evaluation_page({**report, "confidence": make_confidence(10)}, history=[])
    assert "No map was fitted: 10 answers" in without
    assert "Reliability: how often" not in without
    old = {key: value for key, value in report.items() if key != "confidence"}
    assert "<h2>Confidence</h2>" not in evaluation_page(old, history=[])
