"""
The last status file as the beginning of the next one, whoever wrote it.

Keeps what has the type of its field, so that no file of another version ends the daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NO_VERDICT: Final[Mapping[str, object]] = {
    "job_id": None,
    "version": None,
    "outcome": None,
    "promoted": None,
    "reason": None,
    "rules": [],
    "lost_canaries": [],
    "interpolated": None,
}
"""``last_verdict`` before the first one: the same shape, so that no recipe fails on it."""


def restored(previous: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, object]:
    """
    Return every field, from *previous* if that has a value of the kind of the default.

    Args:
        previous: The last status document; {} if there is none.
        defaults: Every field, with its value before the first run. None stands for any kind.
    """
    fields = {
        name: previous[name] if name in previous and _is_like(default, previous[name]) else default
        for name, default in defaults.items()
    }
    if not isinstance(fields["fixed_eval_em"], int | float):
        fields["fixed_eval_em"] = None
    fields["last_verdict"] = _verdict_of(previous.get("last_verdict"))
    return fields


def _is_like(default: object, value: object) -> bool:
    if default is None:
        return True
    if isinstance(default, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, type(default))


def _verdict_of(previous: object) -> dict[str, object]:
    """Return the last verdict as an earlier status file has it, complete."""
    if not isinstance(previous, dict):
        return dict(NO_VERDICT)
    promoted = previous.get("promoted")
    outcome = None if promoted is None else "promoted" if promoted is True else "rejected"
    return {**NO_VERDICT, "outcome": outcome, **previous}  # a file from before "held" has none
