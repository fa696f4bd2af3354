"""
Every event name that finetuned logs. An interface: dashboards and reports read them.

Held to the code by tests/unit/test_event_names.py, in both directions.
"""

from __future__ import annotations

EVENTS = frozenset(
    {
        "trash_emptied",
        "version_backed_up",
        "version_committed",
        "version_pinned",
        "version_promoted",
        "version_restored",
        "version_rolled_back",
        "version_trashed",
        "version_unpinned",
    }
)
