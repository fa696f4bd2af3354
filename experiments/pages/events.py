"""
The log events as a table: level and fields read from the calls, the meaning from MEANINGS.
"""

from __future__ import annotations

import ast
from collections import defaultdict

from experiments.pages.table import table
from experiments.pages.tree import PACKAGE
from finetuned.telemetry.events import EVENTS

LEVELS = ("debug", "info", "warning", "error")

MEANINGS = {
    "answers_put_aside": "The file of answers is damaged; it is kept under another name.",
    "answers_unavailable": "The file of answers cannot be used now; every question is asked again.",
    "canaries_asked": "The canaries are being asked again of a version that was just promoted.",
    "canaries_never_asked": "The watch ended and no attempt to ask the canaries succeeded.",
    "canaries_not_asked": "Asking the canaries failed, and the version's files are intact.",
    "canaries_unreadable": "The file of canaries has a line that cannot be asked.",
    "candidate_judged": "The gate promoted or rejected a candidate; the reason is its first rule.",
    "claims_recovered": "Claimed files that a crash left unrecorded were adopted at the start.",
    "command_obeyed": "An order was carried out.",
    "command_received": "An order was found in control/.",
    "config_changed": "config.toml was read again and differs from before.",
    "config_key_ignored": "config.toml has a key that was removed; it is ignored.",
    "config_rejected": "config.toml is wrong; the last good configuration stays in force.",
    "consolidation_due": "The nightly merge of the adapter is due.",
    "current_model_changed": "The link current_model was made to follow the journal.",
    "current_model_repaired": "The link current_model was missing or wrong and was made anew.",
    "current_model_unreadable": "The link current_model does not lead to a version.",
    "dataset_accepted": "A file was validated and its dataset written.",
    "dataset_changed_while_read": "A file changed while it was validated; it is validated again.",
    "dataset_claimed": "A file was taken out of the inbox (the first ten of many).",
    "dataset_duplicate": "A file has the bytes of an earlier one; it is not trained again.",
    "dataset_quarantined": "A file was set aside whole.",
    "datasets_claimed": "More than ten files were taken out of the inbox at once.",
    "inbox_available": "The inbox can be read again.",
    "inbox_entry_refused": "A name in the inbox cannot be used, and why.",
    "inbox_unavailable": "The inbox cannot be read.",
    "incumbent_fell_back": "The version in use is lost; an intact ancestor takes its place.",
    "ingestion_crashed": "The ingestion worker died on a file.",
    "ingestion_ended": "An ingestion worker ended.",
    "ingestion_started": "An ingestion worker began to validate files.",
    "job_created": "Datasets were queued as one job, or a merge was queued.",
    "job_state_changed": "A job moved from one state to another.",
    "journal_corrupt": "The journal is damaged; it is kept under another name.",
    "journal_rebuilt": "The journal was rebuilt from the manifests of the versions.",
    "orphan_killed": "A worker of a dead supervisor was killed at the start.",
    "page_not_made": "The page of a version could not be drawn.",
    "run_ended": "A training or evaluation run ended.",
    "run_failed": "A run ended badly; error_type and error_message say how.",
    "run_started": "A training or evaluation run was given to a worker.",
    "status_not_written": "The status file could not be replaced.",
    "supervisor_cut_short": "A second SIGTERM: the daemon leaves at once.",
    "supervisor_started": "The daemon runs.",
    "supervisor_stopped": "The daemon ended in good order.",
    "training_ready": "A training run has chosen kernels and precision; its first step follows.",
    "trash_emptied": "Folders in the trash were deleted for good.",
    "version_backed_up": "A version was copied to models/backups/ and the copy verified.",
    "version_committed": "A candidate became a version; whether it is used is another matter.",
    "version_corrupt": "A file of a version does not match its hash.",
    "version_pinned": "A version is kept whatever its age.",
    "version_promoted": "A version is in use now.",
    "version_restored": "A version was rebuilt from its backup.",
    "version_rolled_back": "An earlier version is in use again, on a person's order.",
    "version_taken_back": "A version failed after its promotion; the one before is in use again.",
    "version_trashed": "A version or backup was moved to the trash.",
    "version_unpinned": "A version may be pruned again.",
    "version_unreadable": "The manifest of a version cannot be read.",
    "watch_ended": "The watch after a promotion is over.",
    "watcher_unavailable": "File system events are not available; the inbox is scanned instead.",
    "work_blocked": "Nothing new is started, and why.",
    "work_unblocked": "The reason for waiting is gone.",
    "worker_killed": "A worker was killed because it did not stop or made no progress.",
    "worker_recycled": "A worker that could have stayed ended; its memory had grown too much.",
    "worker_replaced": "An idle worker died before its next run; the run goes to a new one.",
    "worker_stopping": "A worker was asked to stop.",
    "worker_warmed_up": "An idle worker was started ahead of its run.",
}
"""Event -> one sentence."""


def events() -> str:
    """
    Return a table of every event.

    Raises:
        ValueError: An event has no meaning here.
    """
    missing = sorted(EVENTS - MEANINGS.keys())
    if missing:
        raise ValueError(f"give a meaning in experiments/pages/events.py to: {', '.join(missing)}")
    levels, fields = _calls()
    rows = [
        (
            f"`{event}`",
            ", ".join(level for level in LEVELS if level in levels[event]),
            ", ".join(f"`{field}`" for field in fields[event]),
            MEANINGS[event],
        )
        for event in sorted(EVENTS)
    ]
    return table(("event", "level", "fields", "meaning"), rows)


def _calls() -> tuple[dict[str, set[str]], dict[str, list[str]]]:
    """Return event -> levels and event -> names of fields, over all calls of the package."""
    levels: dict[str, set[str]] = defaultdict(set)
    fields: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            first = node.args[0] if node.args else None
            if node.func.attr in LEVELS and isinstance(first, ast.Constant):
                event = str(first.value)
                levels[event].add(node.func.attr)
                names = [keyword.arg for keyword in node.keywords if keyword.arg]
                fields[event] += [name for name in names if name not in fields[event]]
    return levels, fields
