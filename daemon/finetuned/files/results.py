"""
What evaluations found, in the journal: scores by job and suite, and how they went over time.

Rows in, rows out; what they mean is core/forgetting.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finetuned.files.journal import Journal
from finetuned.files.run import utc_now

_COLUMNS = (
    "job_id, run_id, subject, suite, n_rows, n_asked, n_exact, loss, complete, at,"
    " version, origin, title, n_correct, stop_rate, n_timed_out"
)


def add_evals(journal: Journal, job_id: str, run_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """
    Record the scores of one evaluation run, in one step.

    Args:
        journal: Where to.
        job_id: Whose candidate was evaluated.
        run_id: The evaluation.
        rows: Per subject and suite: all columns but those three arguments and ``at``.
    """
    now = utc_now()
    marks = ", ".join(f":{name.strip()}" for name in _COLUMNS.split(","))
    with journal.write():
        journal.db.executemany(
            f"INSERT OR REPLACE INTO evals ({_COLUMNS}) VALUES ({marks})",  # noqa: S608
            [{**row, "job_id": job_id, "run_id": run_id, "at": now} for row in rows],
        )


def eval_rows(
    suites: Sequence[Mapping[str, Any]], subjects: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """
    Return what add_evals() takes, from what a report or a version's manifest says.

    Args:
        suites: Each with ``name``, ``origin`` and ``title``.
        subjects: Subject -> ``version`` and ``suites``, scores by name.
    """
    known = {suite["name"]: suite for suite in suites}
    return [
        {
            "subject": subject,
            "suite": name,
            "n_rows": score["n_items"],
            "n_asked": score["n_asked"],
            "n_exact": score["n_exact"],
            "n_correct": score["n_correct"],
            "loss": score["loss"],
            "complete": int(score["complete"]),
            "version": found["version"],
            "origin": known[name]["origin"],
            "title": known[name]["title"],
            "stop_rate": score["stop_rate"],
            "n_timed_out": score["n_timed_out"],
        }
        for subject, found in subjects.items()
        for name, score in (found.get("suites") or {}).items()  # older reports have none
        if name in known
    ]


def benchmarks_of(journal: Journal, version: str) -> list[str]:
    """
    Return the benchmark and canary suites that *version* was asked before it was promoted.
    """
    rows = journal.rows(
        "SELECT DISTINCT e.suite FROM evals e JOIN jobs j ON j.id = e.job_id"
        " WHERE j.version = ? AND e.subject = 'candidate' AND e.origin IN ('benchmark', 'canary')"
        " ORDER BY e.suite",
        (version,),
    )
    return [str(row["suite"]) for row in rows]


def scores_of(journal: Journal, versions: Sequence[str]) -> list[dict[str, Any]]:
    """
    Return each version's last scores: ``version, suite, title, origin, accuracy, loss``.

    Args:
        journal: Where from.
        versions: Any number; those that were never evaluated have no rows.
    """
    rows = []
    for version in versions:
        rows += journal.rows(
            "SELECT version, suite, title, origin, accuracy, loss FROM matrix"
            " WHERE version = ? ORDER BY at, suite",
            (version,),
        )
    return rows


def trained_titles(journal: Journal, version: str) -> list[str]:
    """
    Return the names of the files that *version* was trained on, at most 20 of them.
    """
    rows = journal.rows(
        "SELECT d.name FROM datasets d JOIN jobs j ON j.id = d.job_id WHERE j.version = ?"
        " ORDER BY d.key LIMIT 20",
        (version,),
    )
    return [str(row["name"]) for row in rows]


def lineage_of(journal: Journal, version: str | None) -> list[str]:
    """
    Return *version* and its ancestors, oldest first.
    """
    parents = {row["id"]: row["parent"] for row in journal.versions()}
    chain: list[str] = []
    while version is not None and version in parents and version not in chain:
        chain.append(version)
        version = parents[version]
    return chain[::-1]


def trained_rows(journal: Journal, job_id: str) -> list[dict[str, Any]]:
    """
    Return what a job was trained on, per dataset.
    """
    return journal.rows("SELECT * FROM trained WHERE job_id = ? ORDER BY dataset_id", (job_id,))
