"""
Problems of a root that hold now and do not go away by themselves, one sentence each.

Pure: status document in, sentences out.
"""

from __future__ import annotations

from collections.abc import Mapping

from finetuned.files.status_file import STRANGE, StatusDocument

MAX_PROBLEMS = 5
"""Files of the inbox that are named."""

UNREADABLE = (
    "the status file has values that this version of the program does not write; "
    "is the daemon of another version, or the file not its own?"
)
"""Said once in place of what cannot be shown."""


def attention(status: Mapping[str, object]) -> list[str]:
    """
    Return what a person should see to now, one sentence each.
    """
    try:
        document = StatusDocument(status)
        return [*_in_the_way(document), *_undelivered(document)]
    except STRANGE:
        return [UNREADABLE]


def in_the_way(status: Mapping[str, object]) -> list[str]:
    """
    Return what stands in the way of training now and does not go away by itself, likewise.
    """
    try:
        return _in_the_way(StatusDocument(status))
    except STRANGE:
        return [UNREADABLE]


def _undelivered(status: StatusDocument) -> list[str]:
    report = status["report"] or {}
    if report.get("failing") or report.get("given_up"):
        return [
            f"messages to {report['addressee']} do not arrive ({report['failing']} wait, "
            f"{report['given_up']} were given up): {report['problem']}"
        ]
    return [f"no report is made: {report['problem']}"] if report.get("problem") else []


def _in_the_way(status: StatusDocument) -> list[str]:
    found = []
    if status["waiting_reason"] and status["phase"] != "recovering":
        found.append(str(status["waiting_reason"]))
    if status["config_error"]:
        found.append(f"{status['config_error']} (the last good configuration is used)")
    if (status["books"] or {}).get("balanced") is False:
        found.append("the rows that were dropped do not add up: see finetuned datasets")
    problems = status["inbox_problems"] or []
    found += [f"inbox/{p['name']}: {p['problem']}" for p in problems[:MAX_PROBLEMS]]
    if len(problems) > MAX_PROBLEMS:
        found.append(f"inbox/: {len(problems) - MAX_PROBLEMS} more files are ignored")
    return found
