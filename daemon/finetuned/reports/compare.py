"""
A comparison of two models as a page.

Knows the result of finetuned compare; does not know how it was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuned.core.text import visible
from finetuned.reports import charts, html
from finetuned.reports.examples import Card, card, judged, share_out, spread
from finetuned.reports.wording import count, finite, interval

MAX_SHOWN = 120

KINDS = {
    "only_a": "only {a} right",
    "only_b": "only {b} right",
    "both_wrong": "both wrong, differently",
}


def comparison_page(comparison: dict[str, Any]) -> str:
    """
    Return the page of a comparison.

    Args:
        comparison: ``a`` and ``b`` (each ``name`` and ``path``); ``suites`` and ``overall``
            (``n_items``, scores ``a`` and ``b`` as in an eval report, ``delta_accuracy`` of
            b minus a in points with ``interval_95``, ``p_value``, ``test``, ``winner`` "a",
            "b" or None, ``reason``); ``items`` with outcomes ``a`` and ``b``.

    Returns:
        One HTML file that refers to no other. The same for the same argument.
    """
    called = {key: visible(comparison[key]["name"]) for key in ("a", "b")}
    if called["a"] == called["b"]:
        called = {key: f"{name} ({key})" for key, name in called.items()}
    rows = [_row(suite, called) for suite in comparison.get("suites") or []]
    overall = comparison.get("overall")
    whole = [_row({"title": "all suites", **overall}, called)] if overall else []
    cards, counts, left_out = _cards(comparison, called)
    labels = {kind: label.format(**called) for kind, label in KINDS.items()}
    values = {
        "title": f"{called['a']} and {called['b']} compared",
        "called": called,
        "models": comparison,
        "headline": _headline(comparison, called),
        "rows": rows + whole,
        "cards": cards,
        "kinds": [(kind, label, counts[kind]) for kind, label in labels.items()],
        "labels": labels,
        "left_out": left_out,
        "card_suites": sorted({(shown.suite, shown.title) for shown in cards}),
        "chart": _chart(comparison),
    }
    return html.render("comparison.html", values)


def _headline(comparison: Mapping[str, Any], called: Mapping[str, str]) -> str:
    overall = comparison.get("overall") or {}
    reason = visible(overall.get("reason") or "nothing was compared").rstrip(".")
    winner = called.get(overall.get("winner") or "")
    if winner is None:
        return f"Neither {called['a']} nor {called['b']} is shown to be better: {reason}."
    loser = called["b" if overall["winner"] == "a" else "a"]
    return f"{winner} is better than {loser}: {reason}."


def _row(suite: Mapping[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    return {
        **suite,
        "interval": interval(suite.get("interval_95")),
        "won": called.get(suite.get("winner") or "", "neither"),
    }


def _chart(comparison: Mapping[str, Any]) -> str:
    """Return the accuracies of both, drawn as incumbent and candidate are on other pages."""
    suites = []
    for suite in comparison.get("suites") or []:
        known = {}
        for key, role in (("a", "incumbent"), ("b", "candidate")):
            score = suite.get(key) or {}
            value = finite(score.get("accuracy"))
            if value is not None:
                low, high = score.get("interval_95") or (value, value)
                known[role] = (value, low, high)
        suites += [(suite.get("title") or suite["name"], known)] if known else []
    labels = {
        role: comparison[key]["name"] for key, role in (("a", "incumbent"), ("b", "candidate"))
    }
    return charts.accuracies("accuracy", suites, labels=labels) if suites else ""


def _kind(item: Mapping[str, Any]) -> str | None:
    a, b = judged(item.get("a")), judged(item.get("b"))
    if a == b == "wrong":
        return "both_wrong" if item["a"].get("answer") != item["b"].get("answer") else None
    return {("right", "wrong"): "only_a", ("wrong", "right"): "only_b"}.get((a, b))


def _cards(
    comparison: Mapping[str, Any], called: Mapping[str, str]
) -> tuple[list[Card], dict[str, int], str]:
    """Return the cards of items that differ, the count of each kind, and what is left out."""
    items = comparison.get("items") or []
    pools: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in KINDS}
    for item in items:
        kind = _kind(item)
        if kind:
            pools[kind].append(item)
    counts = {kind: len(pool) for kind, pool in pools.items()}
    limits = dict(zip(KINDS, share_out(MAX_SHOWN, list(counts.values())), strict=True))
    titles = {s["name"]: s.get("title") or s["name"] for s in comparison.get("suites") or []}
    cards = [
        card(
            item,
            kind=kind,
            title=titles.get(item["suite"], item["suite"]),
            outcomes={key: item[key] for key in ("a", "b")},
            names=called,
        )
        for kind, pool in pools.items()
        for item in spread(pool)[: limits[kind]]
    ]
    differing = sum(counts.values())
    alike = len(items) - differing
    left_out = f"{count(differing, 'item differs', 'items differ')}, {alike} do not"
    if differing > len(cards):
        left_out += f"; {differing - len(cards)} of those that differ are not shown"
    return cards, counts, left_out + "."
