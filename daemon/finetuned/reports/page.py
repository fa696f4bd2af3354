"""
One version's eval report as a page.

Call render_version(), which reads models/versions/<version>/eval_report.json and writes
models/reports/<version>.html; or, from a process that must not load matplotlib,

    python -m finetuned.reports.page --root DIR VERSION

Knows eval reports and their folders; does not know the daemon. A page that cannot be
made changes no verdict.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from finetuned.core.retention import version_number
from finetuned.core.text import visible
from finetuned.errors import FinetunedError, ModelError, RegistryError
from finetuned.files.atomic import write_atomic
from finetuned.files.eval_report import SCHEMA_VERSION
from finetuned.files.run import REPORT, read_json
from finetuned.layout import Layout
from finetuned.registry.versions import list_versions
from finetuned.reports import cards, charts, html, subjects, suite_tables, summary
from finetuned.reports.confidence_section import ConfidenceSection, confidence_section
from finetuned.reports.wording import count, finite, nats, number, percent, signed
from finetuned.reports.worth_section import WorthSection, worth_section

"""Of the eval reports that can be shown."""

MAX_MATRIX = 30
"""Rows and columns of the forgetting matrix; the newest are shown."""


def evaluation_page(
    report: dict[str, Any],
    *,
    history: list[dict[str, Any]],
    worth: WorthSection | None = None,
) -> str:
    """
    Return the page of one eval report.

    Args:
        report: schema_version 2; see docs/reference/eval_report.schema.json. A part that is
            null or missing is replaced by a sentence.
        history: Eval reports of earlier versions, schema_version 2, oldest first. Their
            items are not used.
        worth: What its job cost; None leaves that part out.

    Returns:
        One HTML file that refers to no other but the pages of earlier versions beside it.
        The same for the same arguments.
    """
    shown, counts, left_out = cards.example_cards(report)
    suites, versions = summary.history_rows(report, history)
    called = subjects.names(report)
    confidence = confidence_section(report)
    accuracies = suite_tables.chart_suites(report)
    values = {
        "title": f"{report['version']} evaluated",
        "report": report,
        "headline": summary.headline(report),
        "facts": summary.facts(report),
        "suites": suite_tables.suite_rows(report),
        "asked_once": bool(((report.get("subjects") or {}).get("incumbent") or {}).get("same_as")),
        "numbers": suite_tables.all_numbers(report),
        "rules": summary.rule_rows(report),
        "lost": summary.lost_of(report),
        "accuracy_chart": charts.accuracies("accuracy", accuracies) if accuracies else "",
        "curves": _curves(report.get("curves") or {}),
        "forgetting": _forgetting(report.get("forgetting") or {}),
        "interpolation": report.get("interpolation"),
        "confidence": confidence,
        "confidence_charts": _confidence_charts(confidence),
        "worth": worth,
        "history_suites": suites,
        "history": versions,
        "cards": shown,
        "kinds": [(kind, label, counts[kind]) for kind, label in cards.KINDS.items()],
        "labels": cards.KINDS,
        "left_out": left_out,
        "card_suites": sorted({(card.suite, card.title) for card in shown}),
        "beside": [s for s in called if s != "base"] if "incumbent" in called else list(called),
    }
    return html.render("evaluation.html", values)


def _curves(curves: Mapping[str, Any]) -> dict[str, Any]:
    train = charts.known_points(curves.get("train_loss"))
    held_out = charts.known_points(curves.get("held_out_loss"))
    kl = charts.known_points(curves.get("kl"))
    longest = max(len(train), len(held_out), len(kl))
    return {
        "loss": _curve("loss", "loss", {"training rows": train, "held-out rows": held_out})
        or "No loss was recorded during training.",
        "kl": _curve("kl", "divergence", {"divergence": kl}) or "No divergence was recorded.",
        "most": charts.MAX_POINTS,
        "thinned": longest if longest > charts.MAX_POINTS else 0,
    }


def _curve(name: str, what: str, lines: Mapping[str, list[charts.Point]]) -> Markup | str:
    """Return a chart; a sentence if no line has two points; nothing if none has any."""
    if any(len(points) > 1 for points in lines.values()):
        return charts.curves(name, f"{what} by optimizer step", lines, unit="nats per token")
    known = [
        f"{label} {nats(points[0][1])} at step {number(points[0][0])}"
        for label, points in lines.items()
        if points
    ]
    return f"Measured once, in nats per token: {', '.join(known)}." if known else ""


def _confidence_charts(section: ConfidenceSection | None) -> list[tuple[str, Markup]]:
    """Return caption and drawing of the reliability diagram and of the risk-coverage curve."""
    drawn = []
    if section is not None and section.reliability:
        what = "share of answers that are right by their confidence"
        chart = charts.curves(
            "reliability", what, section.reliability, unit="right, %", x="confidence, %"
        )
        drawn.append(("Reliability: how often answers of a confidence are right", chart))
    if section is not None and section.risk:
        what = "share of wrong answers if only the surest are given"
        chart = charts.curves("risk", what, section.risk, unit="wrong, %", x="answers given, %")
        drawn.append(("Risk and coverage: what is wrong if only the surest are given", chart))
    return drawn


def _forgetting(forgetting: Mapping[str, Any]) -> dict[str, Any]:
    table = forgetting.get("matrix") or {}
    rows, columns = table.get("rows") or [], table.get("columns") or []
    accuracy = [
        [finite(value) for value in row[-MAX_MATRIX:]]
        for row in (table.get("accuracy") or [])[-MAX_MATRIX:]
    ]
    left_out = max(0, len(rows) - MAX_MATRIX), max(0, len(columns) - MAX_MATRIX)
    return {
        "transfer": forgetting.get("backward_transfer"),
        "sentences": _forgetting_sentences(forgetting),
        "chart": charts.matrix(
            "matrix",
            [row["version"] for row in rows[-MAX_MATRIX:]],
            columns[-MAX_MATRIX:],
            accuracy,
        )
        if accuracy and columns
        else "",
        "left_out": f"{count(left_out[0], 'older version')} and {count(left_out[1], 'older suite')}"
        if any(left_out)
        else "",
        "learnt": [
            (visible(row["version"]), ", ".join(map(visible, row.get("titles") or [])))
            for row in rows[-MAX_MATRIX:]
        ],
    }


def _forgetting_sentences(forgetting: Mapping[str, Any]) -> list[str]:
    transfer, worst = forgetting.get("backward_transfer"), forgetting.get("worst_drop")
    said = []
    if finite(transfer) is None:
        said.append("There is no backward transfer to report: no earlier file was measured.")
    else:
        said.append(
            f"Backward transfer: {signed(transfer)} points, the mean over earlier files of "
            "accuracy now minus accuracy right after the file was learnt."
        )
    if worst:
        said.append(
            f"Worst drop: {visible(worst['title'])} from {percent(worst['best'])} at its best to "
            f"{percent(worst['now'])} now, {number(worst['drop'], digits=1)} points."
        )
    return said


def read_report(layout: Layout, version: str) -> dict[str, Any]:
    """
    Return the eval report of *version*.

    Raises:
        RegistryError: There is no such version.
        ModelError: It has no readable report, or one of another schema_version.
    """
    if version_number(version) is None:
        raise RegistryError(f"{version!r} is not a version name; they look like v0007")
    folder = layout.versions / version
    if not folder.is_dir():
        known = ", ".join(list_versions(layout)[-5:]) or "none"
        raise RegistryError(f"there is no version {version}; the newest are: {known}")
    report = read_json(folder / REPORT)
    if report is None:
        raise ModelError(f"{version} has no readable {REPORT}")
    if report.get("schema_version") != SCHEMA_VERSION:
        raise ModelError(
            f"{version} has an eval report of schema_version {report.get('schema_version')}; "
            f"pages are made from schema_version {SCHEMA_VERSION}"
        )
    return report


def _history(layout: Layout, version: str) -> list[dict[str, Any]]:
    """Return the readable reports of the newest versions before *version*, oldest first."""
    before = list_versions(layout)
    before = before[: before.index(version)][-summary.MAX_HISTORY :]
    found = []
    for name in before:
        report = read_json(layout.versions / name / REPORT)
        if report and report.get("schema_version") == SCHEMA_VERSION:
            found.append({**report, "items": []})
    return found


def page_of(layout: Layout, version: str) -> bytes:
    """
    Return the page of *version* as UTF-8.

    Raises:
        RegistryError: There is no such version.
        ModelError: Its report cannot be read or is of another schema_version.
    """
    report = read_report(layout, version)
    history = _history(layout, version)
    worth = worth_section(layout, version)
    return evaluation_page(report, history=history, worth=worth).encode()


def render_version(layout: Layout, version: str) -> Path:
    """
    Write models/reports/<version>.html and return its path.

    Raises:
        RegistryError: There is no such version.
        ModelError: Its report cannot be read or is of another schema_version.
        OSError: The file system refused; an earlier page is still in place.
    """
    page = page_of(layout, version)
    layout.reports.mkdir(parents=True, exist_ok=True)
    path = layout.reports / f"{version}.html"
    # No fsync: the page can be made again at any time.
    write_atomic(path, page, durable=False)
    return path


def main(argv: list[str] | None = None) -> int:
    """
    Write one version's page and print its path.

    Returns:
        0, or the exit status of the error, which is printed in one line.
    """
    parser = argparse.ArgumentParser(prog="finetuned.reports.page", description=main.__doc__)
    parser.add_argument("version")
    parser.add_argument("--root", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(argv)
    try:
        path = render_version(Layout(args.root.resolve()), args.version)
    except FinetunedError as error:
        print(visible(error), file=sys.stderr)
        return error.exit_status
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
