"""
What the answers of experiments/replay_experiment.py come to: matrix, forgetting, table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any


def mean(values: Sequence[float]) -> float:
    """
    Return the mean of one value or more.
    """
    return sum(values) / len(values)


def figures(arm: dict[str, Any]) -> dict[str, Any]:
    """
    Return the matrix of an arm and what follows from it.

    Args:
        arm: As run_arm returns it.

    Returns:
        ``matrix`` (exact match, 0 to 1, [file][task]), ``backward_transfer`` with
        ``standard_error`` (over the rows asked, in the same unit), ``worst_drop`` (the
        most negative R[last][j] - R[j][j], <= 0 where anything was lost),
        ``final_mean`` (of the last line).
    """
    after = arm["after"]
    last = len(after) - 1
    result = {
        "matrix": [[mean(row) if row else None for row in rows] for rows in after],
        "final_mean": mean([mean(row) for row in after[last]]),
    }
    if last == 0:
        return result
    changes = [
        [b - a for a, b in zip(after[j][j], after[last][j], strict=True)] for j in range(last)
    ]
    means = [mean(change) for change in changes]
    variance = sum(
        mean([(d - m) ** 2 for d in change]) / len(change)
        for change, m in zip(changes, means, strict=True)
    )
    return {
        **result,
        "backward_transfer": mean(means),
        "standard_error": math.sqrt(variance) / last,
        "worst_drop": min(means),
    }


def lines(tasks: list[str], arm: dict[str, Any], result: dict[str, Any]) -> Iterator[str]:
    """
    Yield an arm's matrix and figures as the lines of a Markdown table.
    """
    yield f"{arm['name']}: exact match in %, task (column) after file (line)"
    yield ""
    yield "| after | " + " | ".join(tasks) + " | rows rehearsed | seconds |"
    yield "| --- |" + " ---: |" * (len(tasks) + 2)
    columns = (arm["titles"], result["matrix"], arm["replayed"], arm["seconds_training"])
    for title, row, replayed, seconds in zip(*columns, strict=True):
        shown = " | ".join("" if r is None else f"{100 * r:.0f}" for r in row)
        yield f"| {title} | {shown} | {replayed} | {seconds:.0f} |"
    yield ""
    if "backward_transfer" in result:
        yield (
            f"backward transfer {100 * result['backward_transfer']:+.1f} points "
            f"(standard error {100 * result['standard_error']:.1f}), "
            f"worst drop {100 * result['worst_drop']:+.1f}"
        )
    yield (
        f"mean of all tasks at the end {100 * result['final_mean']:.1f}, "
        f"{sum(arm['seconds_training']):.0f} processor seconds"
    )
    yield ""
