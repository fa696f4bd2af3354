"""
Log events as lines for a person who watches a terminal.

Pure: one event in, one line out. logs/supervisor.log has the same events as JSON.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from finetuned.core.text import printable

MAX_VALUE_CHARS = 160

SENTENCES = {
    "supervisor_started": "watching {root}/inbox",
    "supervisor_stopped": "stopped; the next start goes on from here",
    "supervisor_cut_short": "left at once; work since the last checkpoint is done again",
    "dataset_claimed": "{name}: found in the inbox",
    "dataset_accepted": "{key}: {rows_accepted} rows accepted, {rows_rejected} rejected,"
    " {n_heldout} held out",
    "dataset_duplicate": "{key}: the same bytes as {duplicate_of}, not trained again",
    "keys_unused": "{key}: unused keys: {keys}",
    "dataset_quarantined": "{key}: set aside, {reason}",
    "ingestion_started": "validating {files} file(s)",
    "ingestion_ended": "validation ended with exit status {exit_status}",
    "run_started": "{job_id}: a worker begins {kind} ({run_id}, pid {pid})",
    "run_ended": "{run_id} ended with exit status {exit_status}: {cause}",
    "job_created": "{job_id}: queued with {count} dataset(s)",
    "training_ready": "{job_id}: training begins ({kernels}, {precision}): {kernels_reason}",
    "candidate_judged": "{job_id}: {version} was {outcome}: {reason}",
    "current_model_changed": "current_model is now {new}, before it was {old}",
    "version_taken_back": "{version} was taken back to {back_to}: {reason}",
    "command_received": "order {command} received: {reason}",
    "command_obeyed": "order {command}: {outcome}",
    "config_changed": "config.toml was read again",
    "config_rejected": "config.toml cannot be used: {error}",
    "inbox_entry_refused": "inbox/{path}: {problem}",
    "work_blocked": "nothing new starts, {reason}: {detail}",
    "work_unblocked": "going on: {reason} is over",
    "run_failed": "{job_id}: {error_type}: {error_message}",
    "job_state_changed": "{job_id}: {old} -> {new}",
}
"""Event -> what it means, with its fields; an event that is not here is shown by its name."""

_ABOUT_THE_LINE = {"event", "level", "timestamp"}


def event_line(event: Mapping[str, Any]) -> str:
    """
    Return *event* as one line that begins with the local time.

    Args:
        event: As it is logged: ``event``, ``level``, ``timestamp`` and fields of its own.
    """
    name = str(event.get("event", ""))
    fields = {key: _short(value) for key, value in event.items() if key not in _ABOUT_THE_LINE}
    if name in SENTENCES:
        text = SENTENCES[name].format_map(defaultdict(lambda: "?", fields))
    else:
        shown = " ".join(f"{key}={value}" for key, value in fields.items())
        text = f"{name.replace('_', ' ')}  {shown}".rstrip()
    level = str(event.get("level", "info"))
    mark = "" if level == "info" else f"{level}: "
    return printable(f"{_time_of_day(event.get('timestamp'))}  {mark}{text}")


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "..."


def _time_of_day(timestamp: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(timestamp)).astimezone():%H:%M:%S}"
    except ValueError:
        return "--:--:--"
