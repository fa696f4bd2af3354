"""
Keys that earlier versions had: accepted, without effect, and reported.

A config.toml that sets one must still load, and so must the configuration that
was recorded with a job or a version before the key was retired.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_RETIRED: Final[Mapping[tuple[str, str], str]] = {
    ("gate", "on_equal"): 'gate.release = "no-harm" does what "promote" did',
    ("gate", "max_new_accuracy_drop"): "new rows are judged by a paired test",
    ("inbox", "share_run_max_files"): "a shared run has at most 2000 datasets",
    ("supervisor", "log_backups"): "five rotated log files are kept",
    ("training", "replay_fraction"): "training.replay_presentations says how often",
    ("training", "rewarm_steps"): "a short warm-up has 20 steps",
}
"""By section and key: what happens now, whatever the key is set to."""


def is_retired(section: str, key: str) -> bool:
    """
    Return whether an earlier version had this key and this one ignores it.
    """
    return (section, key) in _RETIRED


def retired_keys(tables: Mapping[str, object]) -> list[str]:
    """
    Return one sentence for each retired key that *tables* sets, in the order of the file.
    """
    return [
        f"{section}.{key} has no effect any more ({_RETIRED[section, key]}); remove it"
        for section, table in tables.items()
        if isinstance(table, Mapping)
        for key in table
        if is_retired(section, key)
    ]
