"""
What a person should know or do about a root: problems that hold now, and the next step.

Pure: status document in, sentences out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from finetuned.core.lost_canaries import LostCanary
from finetuned.core.promotion import VersionVerdict
from finetuned.core.record import from_json
from finetuned.core.unused_keys import unused_keys
from finetuned.errors import RecordError
from finetuned.files.status_file import STRANGE, DaemonState, Presence
from finetuned.layout import Layout
from finetuned.reports.lost_canaries import choices

MAX_UNUSED_KEYS = 2
"""Files whose unused keys are named, the newest first."""


class UnusedKeys(TypedDict):
    """
    Keys of one file that no reader knows, as the status file gives them.
    """

    name: str
    """The file's name in the inbox."""
    keys: dict[str, int]
    """Key -> rows that have it."""
    rows: int
    """Rows of the file."""


def keys_unused(files: Sequence[UnusedKeys]) -> list[str]:
    """
    Return which keys of the newest files are not trained because nobody knows them.
    """
    return [
        f"{file['name']}: {unused_keys(file['keys'], file['rows'])}"
        for file in files[:MAX_UNUSED_KEYS]
    ]


def next_steps(
    root: Path, status: dict[str, Any] | None, seen: Presence, program: str
) -> list[str]:
    """
    Return what a person can do next, as commands that can be copied.

    Args:
        root: Absolute.
        status: The status document, None if there is none.
        seen: Whether its daemon is alive.
        program: How the person starts finetuned, quoted for a shell.
    """
    try:
        return list(_next_steps(root, status, seen, program))
    except STRANGE:
        return list(_next_steps(root, None, seen, program))


def _next_steps(
    root: Path, status: dict[str, Any] | None, seen: Presence, program: str
) -> Iterator[str]:
    layout, where = Layout(root), f"--root {shlex.quote(str(root))}"
    if seen.state is DaemonState.SILENT:
        yield f"look into {layout.logs}/supervisor.log; it may wait for a slow disk"
    elif not seen.state.alive:
        yield f"start it: {program} run {where}"
    if status is None:
        return
    if status["phase"] == "paused":
        yield f"go on: touch {shlex.quote(str(layout.control / 'resume'))}"
    if (status["waiting_reason"] or "").startswith("disk_full"):
        yield f"make room: {program} versions prune {where}"
    if status["config_error"]:
        yield f"correct {layout.config}; it is read again before the next job"
    counts, verdict = status["queue"] or {}, status["last_verdict"] or {}
    if (status["books"] or {}).get("not_learnt"):
        yield f"what was not learnt, and why: {program} datasets --unlearnt {where}"
    if counts.get("quarantined") or (status["books"] or {}).get("refused"):
        yield f"which rows and files were refused, and why: {program} datasets --refused {where}"
    if verdict.get("promoted") is not None:
        yield f"why it was judged so: {layout.reports / verdict['version']}.html"
    if (lost := lost_of(verdict)) and verdict["version"] != status["version"]:
        rejected = verdict.get("outcome") == VersionVerdict.REJECTED
        found = choices(lost, verdict["version"], rejected=rejected, program=program, where=where)
        yield from (f"{choice.aim}: {choice.how}" for choice in found)
    if not seen.state.alive or status["phase"] != "idle":
        return
    if status["version"] is None and status.get("head") is None:
        yield from first_rows(root, program)
    else:
        yield f"train more: drop a .jsonl file into {layout.inbox}/"


def lost_of(verdict: Mapping[str, object]) -> list[LostCanary]:
    """
    Return the canaries for which a candidate was not promoted, as the status file gives them.

    Raises:
        ValueError: Another program wrote them.
    """
    found = verdict.get("lost_canaries")
    if verdict.get("promoted") is not False or not isinstance(found, list):
        return []
    try:
        return [from_json(LostCanary, lost, source="status") for lost in found]
    except RecordError as error:
        raise ValueError(str(error)) from None


def first_rows(root: Path, program: str) -> Iterator[str]:
    """
    Yield how a person gets rows into the inbox of *root*, an absolute path.

    Args:
        root: Absolute.
        program: How the person starts finetuned, quoted for a shell.
    """
    inbox = Layout(root).inbox
    yield f"train: drop a .jsonl file into {inbox}/"
    yield f"or with example rows: {program} make intents --inbox {shlex.quote(str(inbox))}"
