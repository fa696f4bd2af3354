"""
Every event name that finetuned logs. An interface: dashboards and reports read them.

Held to the code by tests/unit/test_event_names.py, in both directions.
"""

from __future__ import annotations

EVENTS = frozenset(
    {
        "candidate_judged",
        "claims_recovered",
        "command_obeyed",
        "command_received",
        "config_changed",
        "config_rejected",
        "current_model_changed",
        "current_model_unreadable",
        "dataset_accepted",
        "dataset_changed_while_read",
        "dataset_claimed",
        "dataset_duplicate",
        "dataset_quarantined",
        "datasets_claimed",
        "inbox_available",
        "inbox_entry_refused",
        "inbox_unavailable",
        "ingestion_crashed",
        "ingestion_ended",
        "ingestion_started",
        "job_created",
        "job_state_changed",
        "journal_corrupt",
        "journal_rebuilt",
        "orphan_killed",
        "run_ended",
        "run_failed",
        "run_started",
        "status_not_written",
        "supervisor_cut_short",
        "supervisor_started",
        "supervisor_stopped",
        "trash_emptied",
        "training_ready",
        "version_backed_up",
        "version_committed",
        "version_corrupt",
        "version_pinned",
        "version_promoted",
        "version_restored",
        "version_rolled_back",
        "version_trashed",
        "version_unpinned",
        "version_unreadable",
        "watcher_unavailable",
        "work_blocked",
        "work_unblocked",
        "worker_killed",
        "worker_recycled",
        "worker_replaced",
        "worker_stopping",
        "worker_warmed_up",
    }
)
