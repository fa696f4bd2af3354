"""
The subjects of an eval report (base, release, candidate): their names and scores.

Pure. Knows schema_version 2 of eval_report.json (docs/reference/eval_report.schema.json); does not
know HTML. A part that is missing or null is left out and is never an error, because a page
is needed most after a run that went wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuned.core.promotion import VersionVerdict
from finetuned.core.text import visible

Report = Mapping[str, Any]

SUBJECTS = ("base", "incumbent", "candidate")


def names(report: Report) -> dict[str, str]:
    """
    Return subject -> its name on the page, for the subjects that were asked.

    The release (``incumbent``) is left out if it is the base model.
    """
    subjects = report.get("subjects") or {}
    called = {
        "base": f"base {visible(report.get('base') or '')}".strip(),
        "incumbent": f"release {visible(report.get('incumbent') or '')}".strip(),
        "candidate": f"candidate {visible(report.get('version') or '')}".strip(),
    }
    return {
        key: called[key]
        for key in SUBJECTS
        if subjects.get(key) and not subjects[key].get("same_as")
    }


def outcome_of(verdict: Mapping[str, object]) -> str:
    """
    Return promoted, held or rejected; a report from before versions were held has two of them.

    Nothing else: the word becomes the name of a style on the page.
    """
    said, old = verdict.get("outcome"), "promoted" if verdict.get("promoted") else "rejected"
    return said if isinstance(said, str) and said in tuple(VersionVerdict) else old


def scores_of(report: Report, subject: str) -> Mapping[str, Any]:
    """Return a subject's scores by suite; those of the base if it is the same model."""
    subjects = report.get("subjects") or {}
    found = subjects.get(subject) or {}
    scores = found.get("suites") or {}
    same = found.get("same_as")
    return scores or ((subjects.get(same) or {}).get("suites") or {} if same else {})
