"""
Which finalist wins: the lowest held-out loss of those that break nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finetuned.core.tuning.space import Settings
from finetuned.core.tuning.trial import Trial


def winner(finalists: Sequence[Trial], harm: Mapping[int, Sequence[str]]) -> Trial | None:
    """
    Return the first finalist against which no rule of harm speaks, None if there is none.

    Args:
        finalists: The lowest held-out loss first.
        harm: By number of the trial: the rules of harm that failed.
    """
    return next((trial for trial in finalists if not harm.get(trial.number)), None)


def changed(found: Settings, today: Settings) -> dict[str, tuple[object, object]]:
    """
    Return the settings that differ, each with the value of today and the found one.
    """
    return {
        name: (today.get(name), value)
        for name, value in sorted(found.items())
        if today.get(name) != value
    }


def short(value: object) -> str:
    """
    Return a setting's value as people read it.
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)
