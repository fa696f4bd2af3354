"""
What the daemon does and for how long, in words.

Pure. Knows the phases of the status file; does not know terminals or pages.
"""

from __future__ import annotations

from datetime import datetime

from finetuned.files.status_file import StatusDocument

PHASES = {
    "starting": "starting",
    "recovering": "recovering",
    "idle": "waiting for files",
    "waiting": "waiting",
    "validating": "validating what was dropped",
    "starting_worker": "starting a worker",
    "loading": "loading the model",
    "rehearsing": "trying how large a batch fits into memory",
    "training": "training",
    "evaluating": "training: asking held-out rows",
    "checkpointing": "training: saving a checkpoint",
    "saving_candidate": "saving the candidate",
    "trained": "trained; the evaluation follows",
    "loading_for_evaluation": "loading models for the evaluation",
    "evaluating_candidate": "evaluating the candidate",
    "evaluated": "judging the candidate",
    "asking_canaries": "asking the new version its canaries",
    "merging": "merging the adapter into its base",
    "verifying_merge": "verifying the merged model",
    "paused": "paused",
    "stopping": "stopping; work is saved",
    "stopped": "stopped",
}
"""``phase`` of the status file -> what a person reads."""

BETWEEN_WORKERS = ("starting_worker", "loading_for_evaluation")
"""Phases in which the numbers of the training, which is over or not begun, are left out."""

UNCOUNTED = ("starting_worker", "loading", "rehearsing", "saving_candidate", "merging")
"""Phases that show how long they go on, since nothing of them is counted."""


def on_the_way(status: StatusDocument, word: str) -> str:
    """
    Return what is being done of a phase that counts nothing, and for how long it goes on.

    Args:
        status: The status document.
        word: The first word of its phase.

    Returns:
        The end of a sentence, such as ``: 512 tokens of at most 4,096, for 1 min``; it may be
        empty.

    Raises:
        ValueError, TypeError: A time in the document is none.
    """
    text = f": {detail}" if (detail := status.get("phase_detail")) else ""
    if word not in UNCOUNTED or not status.get("phase_since"):
        return text
    began, now = (datetime.fromisoformat(status[k]) for k in ("phase_since", "heartbeat_at"))
    seconds = (now - began).total_seconds()
    return f"{text}, for {duration(seconds)}" if seconds >= 1 else text


def duration(seconds: float) -> str:
    """
    Return a length of time in one or two units: ``45 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d``.
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s".removesuffix(" 0 s")
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min".removesuffix(" 0 min")
    return f"{whole // 86400} d"
