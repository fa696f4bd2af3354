"""
Whether the rows of a dropped file may be trained again, because a person asks for it.

Pure. What was learnt, waits, or was refused is not trained again; the sentence says what to do.
"""

from __future__ import annotations

from finetuned.core.books import Fate

_LEARNT_ALREADY = " has learnt its rows already"


def learnt_already(version: str) -> str:
    """
    Return why a job that was queued again is skipped when its turn comes: *version* learnt it.
    """
    return f"{version}{_LEARNT_ALREADY}"


def learnt_by_then(reason: str) -> str | None:
    """
    Return the version that learnt_already() was said of; None if *reason* is another one.
    """
    version, said, _ = reason.partition(_LEARNT_ALREADY)
    return version if said else None


def retry_refusal(
    label: str,
    fate: Fate,
    *,
    learnt_by: str | None = None,
    unseen: int = 0,
    job: str | None = None,
    copy: str | None = None,
) -> str | None:
    """
    Return why a file is not queued again and what to do, or None if it may be.

    Args:
        label: The file's key and name, as a person knows it.
        fate: What became of its rows so far.
        learnt_by: The version that learnt them, if any.
        unseen: Rows of it that no step of that training had.
        job: Its last job, if any.
        copy: Another file with the same bytes: the one that is on the books in its place, or
            one that waits or is learnt.
    """
    if fate is Fate.DUPLICATE:
        return f"{label} has the same bytes as {copy}: name {copy} instead"
    if fate is Fate.REFUSED:
        return (
            f"{label} was refused before any training; its reasons are in inbox/rejected/: "
            "correct the file and drop it again"
        )
    if fate is Fate.WAITING:
        what = "it is being validated" if job is None else f"its job {job} is not over"
        return f"{label} waits already: {what}"
    if learnt_by is not None and unseen:
        return None  # those rows alone are trained
    if learnt_by is not None:
        return f"{label} is learnt already, by {learnt_by}"
    if copy is not None:
        return f"{label} has the same bytes as {copy}, which is trained in its place"
    return None
