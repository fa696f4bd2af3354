"""
The example answers of a page: which items are shown, and which are only counted.

Pure. Knows schema_version 2 of eval_report.json (docs/reference/eval_report.schema.json); does not
know HTML. A part that is missing or null is left out and is never an error, because a page
is needed most after a run that went wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetuned.reports.examples import Card, card, judged, share_out, spread
from finetuned.reports.subjects import Report, names
from finetuned.reports.wording import count

MAX_CHANGED = 60
"""Items shown whose answer got better or worse."""
MAX_OTHERS = 40
"""Items shown whose answer did not change."""

KINDS = {
    "better": "got better",
    "worse": "got worse",
    "wrong": "wrong before and after",
    "right": "right before and after",
}

_THAT = {
    kind: label.replace("wrong", "were wrong").replace("right", "were right")
    for kind, label in KINDS.items()
}


def example_cards(report: Report) -> tuple[list[Card], dict[str, int], str]:
    """
    Choose the examples to show: what changed first, then some of the rest.

    Returns:
        The cards in order; how many of each kind there are in all; and a sentence
        about what is not shown, empty if every item is shown.
    """
    pools: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in KINDS}
    unjudged = 0
    for item in report.get("items") or []:
        kind = _kind(item.get("outcomes") or {})
        if kind:
            pools[kind].append(item)
        else:
            unjudged += 1
    limits = dict(zip(KINDS, _limits(pools), strict=True))
    titles = {s["name"]: s["title"] for s in report.get("suites") or []}
    cards = [
        card(
            item,
            kind=kind,
            title=titles.get(item["suite"], item["suite"]),
            outcomes=item["outcomes"],
            names=names(report),
        )
        for kind, pool in pools.items()
        for item in spread(pool)[: limits[kind]]
    ]
    hidden = {kind: len(pool) - limits[kind] for kind, pool in pools.items()}
    more = [f"{n} more that {_THAT[kind]}" for kind, n in hidden.items() if n]
    more += [f"{count(unjudged, 'item')} without a judged answer"] if unjudged else []
    left_out = f"Not shown: {', '.join(more)}." if more else ""
    return cards, {kind: len(pool) for kind, pool in pools.items()}, left_out


def _limits(pools: Mapping[str, Sequence[object]]) -> list[int]:
    sizes = [len(pool) for pool in pools.values()]
    return share_out(MAX_CHANGED, sizes[:2]) + share_out(MAX_OTHERS, sizes[2:])


def _kind(outcomes: Mapping[str, Any]) -> str | None:
    # If the incumbent is the base, the base's outcome is the incumbent's.
    before = judged(outcomes.get("incumbent") or outcomes.get("base"))
    after = judged(outcomes.get("candidate"))
    kinds = {("wrong", "right"): "better", ("right", "wrong"): "worse"}
    same = after if before in (after, "unjudged") and after != "unjudged" else None
    return kinds.get((before, after), same)
