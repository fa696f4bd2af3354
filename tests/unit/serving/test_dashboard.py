"""
docs/grafana-dashboard.json has the shape that Grafana reads, and asks only for what exists.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import orjson

from finetuned.serving.gateway.metric_list import METRICS, series_names
from support.promtool import DOCS, metrics_in, run_promtool, write_yaml

BOARD: dict[str, Any] = orjson.loads((DOCS / "grafana-dashboard.json").read_bytes())
PANELS: list[dict[str, Any]] = BOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in GRAPHS
    for target in panel["targets"]
} | {each["name"]: each["expr"] for each in BOARD["annotations"]["list"]}
PROCESS = {"process_resident_memory_bytes"}
"""Of prometheus-client's own list."""
COLUMNS = 24

_SELECTOR = re.compile(r"\b((?:finetuned|http)_[a-z0-9_]+)\{([^}]*)\}")
_BY = re.compile(r"by \(([^)]*)\)")


def test_it_has_what_grafana_needs_to_import_it() -> None:
    """
    A board without an id of its own, with a name, a version of its form and a place for each panel.
    """
    assert BOARD.get("id") is None
    assert ("finetuned", "finetuned") == (BOARD["uid"], BOARD["title"])
    assert BOARD["schemaVersion"] >= 36
    assert ["datasource", "instance"] == [each["name"] for each in BOARD["templating"]["list"]]
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    kinds = {"row", "stat", "timeseries", "state-timeline", "bargauge"}
    assert kinds == {panel["type"] for panel in PANELS}


def test_panels_lie_side_by_side() -> None:
    """
    Two that overlap push each other away when the board is opened.
    """
    places = [panel["gridPos"] for panel in PANELS]

    assert all(0 <= p["x"] and p["x"] + p["w"] <= COLUMNS for p in places)
    assert [] == [
        (a, b)
        for a, b in itertools.combinations(places, 2)
        if a["x"] < b["x"] + b["w"]
        and b["x"] < a["x"] + a["w"]
        and a["y"] < b["y"] + b["h"]
        and b["y"] < a["y"] + a["h"]
    ]


def test_every_panel_says_what_it_shows_and_asks_the_chosen_source() -> None:
    """
    No panel is tied to a data source of the machine on which the board was made.
    """
    for panel in GRAPHS:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {"${datasource}"} == {source["uid"] for source in sources}
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters))
        for target in panel["targets"]:
            assert "$instance" in target["expr"], panel["title"]
            assert target["legendFormat"]


def test_every_query_asks_for_a_metric_that_metrics_exposes() -> None:
    """
    A panel on a name that was renamed would stay empty for ever.
    """
    asked = set().union(*(metrics_in(query) for query in QUERIES.values()))

    assert set() == asked - series_names() - PROCESS


def test_every_label_in_a_query_is_one_of_its_metric() -> None:
    """
    A wrong label selects nothing, without an error.
    """
    labels = {
        name: {*metric.labels, "le", "instance"} for metric in METRICS for name in metric.series()
    }
    wrong = []
    for title, query in QUERIES.items():
        for name, selector in _SELECTOR.findall(query):
            used = set(re.findall(r"(\w+)\s*[=!]~?", re.sub(r'"[^"]*"', '""', selector)))
            wrong += [(title, label) for label in used - labels[name]]
        known = set().union(*(labels[name] for name, _ in _SELECTOR.findall(query)), {"instance"})
        grouped = {g.strip() for by in _BY.findall(query) for g in by.split(",")}
        wrong += [(title, label) for label in grouped - known]

    assert [] == wrong


def test_a_legend_names_labels_that_its_query_leaves() -> None:
    """
    Otherwise all lines of a panel have the same empty name.
    """
    labels = {name: set(metric.labels) for metric in METRICS for name in metric.series()}
    for panel in GRAPHS:
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) - {"instance"}
            found = metrics_in(target["expr"]) - PROCESS
            assert named <= set().union(*(labels[name] for name in found), set()), panel["title"]


def test_every_query_is_promql(tmp_path: Path) -> None:
    """
    As Prometheus' own checker says, with Grafana's variables filled in.
    """
    rules = [
        {"record": f"q{n}", "expr": query.replace("$__rate_interval", "1m")}
        for n, query in enumerate(QUERIES.values())
    ]
    file = write_yaml(tmp_path / "rules.yml", {"groups": [{"name": "board", "rules": rules}]})

    run_promtool("check", "rules", str(file))
