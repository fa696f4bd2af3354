"""
Figures of many runs -> medians, a table and a verdict.

Pure: knows numbers and names, neither torch nor processes.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.bench.settings import Contestant

LOSS_TOLERANCE = 0.01
"""Relative difference of held-out losses up to which two contestants did the same work."""

Run = Mapping[str, Any]
"""Figures of one contestant in one repeat, or ``{"error": text}``."""

_ROW = "{:<26} {:>9} {:>19} {:>10} {:>9} {:>9} {:>7}  {}"


def summarise(
    contestants: Sequence[Contestant], runs: Mapping[str, Sequence[Run]]
) -> list[dict[str, Any]]:
    """
    Return one summary per contestant, ours first.

    Args:
        contestants: Ours first.
        runs: Per name, one entry per repeat, in the order of the repeats; empty
            if a package is missing.

    Returns:
        ``rows_per_second`` and ``supervised_tokens_per_second`` as median, min and
        max; ``peak_mb`` (10^6 bytes); ``held_out_loss``; ``ratio``, how many times
        faster ours was, with the ratios of single repeats as ``ratio_min`` and
        ``ratio_max``; ``differs``, what is not as it is with ours. ``error``
        instead if a contestant did not finish.
    """
    ours = runs[contestants[0].name]
    return [_summary(c, runs[c.name], ours) for c in contestants]


def _summary(contestant: Contestant, runs: Sequence[Run], ours: Sequence[Run]) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "name": contestant.name,
        "note": contestant.note,
        "same_loss": contestant.same_loss,
        "error": None,
        "runs": list(runs),
    }
    missing = contestant.missing()
    errors = [run["error"] for run in runs if "error" in run]
    if missing:
        summary["error"] = f"not installed: {', '.join(missing)}"
    elif errors or not runs:
        summary["error"] = errors[0] if errors else "not run"
    if summary["error"]:
        return summary
    summary |= {
        "rows_per_second": _spread([_rate(run, "rows_planned") for run in runs]),
        "supervised_tokens_per_second": _spread([_rate(run, "supervised_tokens") for run in runs]),
        "peak_mb": round(statistics.median(run["peak_bytes"] for run in runs) / 1e6, 1),
        "start_mb": round(statistics.median(run["start_bytes"] for run in runs) / 1e6, 1),
        "held_out_loss": statistics.median(run["held_out_loss"] for run in runs),
        "steps": runs[0]["steps"],
        "note": contestant.note or runs[0].get("remark", ""),
    }
    if any("error" in run for run in ours) or not ours:
        return summary
    ratios = [
        _rate(a, "rows_planned") / _rate(b, "rows_planned") for a, b in zip(ours, runs, strict=True)
    ]
    mine = _spread([_rate(run, "rows_planned") for run in ours])
    return summary | {
        "ratio": round(mine["median"] / summary["rows_per_second"]["median"], 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "differs": _differences(contestant, runs[0], ours[0]),
    }


def _rate(run: Run, what: str) -> float:
    return float(run[what] / run["seconds"])


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def _differences(contestant: Contestant, run: Run, ours: Run) -> list[str]:
    """Say what keeps a contestant's figures from standing beside ours; [] if nothing does."""
    found = []
    if run["steps"] != ours["steps"]:
        found.append(f"{run['steps']} optimizer steps, not {ours['steps']}")
    if run["supervised_tokens"] != ours["supervised_tokens"]:
        found.append(
            f"{run['supervised_tokens']} supervised tokens, not {ours['supervised_tokens']}"
        )
    if contestant.same_loss and run["digest"] != ours["digest"]:
        found.append("trained other rows")
    apart = abs(run["held_out_loss"] - ours["held_out_loss"]) / ours["held_out_loss"]
    if contestant.same_loss and apart > LOSS_TOLERANCE:
        found.append(f"held-out loss {100 * apart:.2f}% away from ours")
    return found


def best_peer(summaries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """
    Return the fastest contestant beside ours that did the same work; None if none did.
    """
    able = [s for s in summaries[1:] if not s["error"] and s["same_loss"] and not s.get("differs")]
    return max(able, key=lambda s: float(s["rows_per_second"]["median"]), default=None)


def complaints(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """
    Return why the comparison does not hold; empty if it does.

    A peer that cannot run here is shown in the table and is no complaint; ours
    that cannot is.
    """
    found = [f"ours: {summaries[0]['error']}"] if summaries[0]["error"] else []
    return found + [f"{s['name']}: {text}" for s in summaries for text in s.get("differs", [])]


def table(title: str, summaries: Sequence[Mapping[str, Any]]) -> str:
    """
    Return the summaries as lines of text, the ratio to the best peer last.
    """
    head = ("", "rows/s", "(min..max)", "sup. tok/s", "peak MB", "loss", "ours x", "")
    lines = [title, _ROW.format(*head).rstrip()]
    for s in summaries:
        if s["error"]:
            lines.append(f"{s['name']:<26} {s['error']}")
            continue
        rows, tokens = s["rows_per_second"], s["supervised_tokens_per_second"]
        cells = (
            s["name"],
            f"{rows['median']:.2f}",
            f"({rows['min']:.2f}..{rows['max']:.2f})",
            f"{tokens['median']:.0f}",
            f"{s['peak_mb']:.0f}",
            f"{s['held_out_loss']:.4f}",
            f"{s['ratio']:.2f}" if "ratio" in s else "",
            s["note"],
        )
        lines.append(_ROW.format(*cells).rstrip())
    best = best_peer(summaries)
    if best is not None and not summaries[0]["error"]:
        lines.append(
            f"ours / best peer ({best['name']}): {best['ratio']:.2f}x"
            f" ({best['ratio_min']:.2f}..{best['ratio_max']:.2f} in single repeats)"
        )
    return "\n".join(lines + complaints(summaries))
