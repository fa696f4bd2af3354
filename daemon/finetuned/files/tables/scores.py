"""
What jobs were trained on and how their candidates scored, in the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from finetuned.core.line_set import LineSet
from finetuned.errors import ModelError
from finetuned.files.database import Database
from finetuned.files.rows import ScoreRow, TrainedRow
from finetuned.files.run import utc_now


@dataclass(frozen=True, slots=True)
class Score:
    """
    How one subject of an evaluation did on one suite.
    """

    subject: str
    """base, incumbent or candidate"""
    version: str | None
    """None of a candidate, which has no version yet."""
    suite: str
    origin: str
    """new, old, benchmark or canary"""
    title: str
    n_rows: int
    n_asked: int
    n_exact: int
    n_correct: int
    loss: float | None
    """Mean negative log-likelihood per token, in nats."""
    complete: bool
    """Whether every row was asked."""
    stop_rate: float | None
    """Share of answers that ended by themselves, 0 to 1."""
    n_timed_out: int


def scores_of_report(
    suites: Sequence[Mapping[str, Any]], subjects: Mapping[str, Any], *, source: str
) -> list[Score]:
    """
    Return the scores that an eval report or a version's manifest holds.

    Args:
        suites: Each with ``name``, ``origin`` and ``title``.
        subjects: Subject -> ``version`` and ``suites``, scores by name.
        source: The file, named in errors.

    Raises:
        ModelError: A key is missing, or a count is not a number.
    """
    try:
        return list(_scores(suites, subjects))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise ModelError(f"{source}: its scores are damaged: {problem}") from None


def _scores(suites: Sequence[Mapping[str, Any]], subjects: Mapping[str, Any]) -> Iterator[Score]:
    known = {suite["name"]: suite for suite in suites}
    for subject, found in subjects.items():
        for name, score in (found.get("suites") or {}).items():  # in the first schema: none
            if name not in known:
                continue
            yield Score(
                subject=subject,
                version=found["version"],
                suite=name,
                origin=known[name]["origin"],
                title=known[name]["title"],
                n_rows=int(score["n_items"]),
                n_asked=int(score["n_asked"]),
                n_exact=int(score["n_exact"]),
                n_correct=int(score["n_correct"]),
                loss=score["loss"],
                complete=bool(score["complete"]) and not known[name].get("n_unasked"),
                stop_rate=score["stop_rate"],
                n_timed_out=int(score["n_timed_out"]),
            )


@dataclass(frozen=True, slots=True)
class Trained:
    """
    One dataset that a training was made on.
    """

    dataset_id: str
    n_examples: int
    n_supervised_tokens: int
    optimizer_steps: int
    """Of the whole job."""
    unseen: LineSet = field(default_factory=LineSet)
    """Lines with rows to train that no step of the job had."""
    unseen_because: str | None = None
    """Why, if there are any."""


class Scores:
    """
    The tables ``trained`` and ``evals``, and the view ``matrix``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job_id: str, run_id: str, scores: Sequence[Score]) -> None:
        """
        Record the scores of one evaluation, in one transaction.

        Args:
            job_id: Whose candidate was evaluated.
            run_id: The evaluation.
            scores: Of all its subjects.
        """
        now = utc_now()
        with self._database.write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO evals (job_id, run_id, at, subject, version, suite,"
                " origin, title, n_rows, n_asked, n_exact, n_correct, loss, complete, stop_rate,"
                " n_timed_out) VALUES (:job_id, :run_id, :at, :subject, :version, :suite,"
                " :origin, :title, :n_rows, :n_asked, :n_exact, :n_correct, :loss, :complete,"
                " :stop_rate, :n_timed_out)",
                [{**asdict(s), "job_id": job_id, "run_id": run_id, "at": now} for s in scores],
            )

    def add_trained(
        self, job_id: str, run_id: str, trained: Sequence[Trained], *, at: str | None = None
    ) -> None:
        """
        Record what a job was trained on, in one transaction.

        Args:
            job_id: The job.
            run_id: The run that left its candidate.
            trained: Its datasets.
            at: RFC 3339 UTC; now if None.
        """
        when = at or utc_now()
        with self._database.write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO trained VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(job_id, t.dataset_id, run_id, t.n_examples, t.n_supervised_tokens),
                        *(t.optimizer_steps, when),
                        *(t.unseen.as_text() if t.unseen else None, t.unseen_because),
                    )
                    for t in trained
                ],
            )

    def forget_trained(self, job_id: str) -> None:
        """
        Delete what an earlier try of a job was trained on.
        """
        self._database.change("DELETE FROM trained WHERE job_id = ?", (job_id,))

    def trained_on(self, job_id: str) -> list[TrainedRow]:
        """
        Return what a job was trained on, per dataset.
        """
        return self._database.read(
            TrainedRow, "SELECT * FROM trained WHERE job_id = ? ORDER BY dataset_id", (job_id,)
        )

    def of_version(self, version: str) -> list[ScoreRow]:
        """
        Return the scores of a version, oldest first; none if it was never evaluated.

        Of a suite that it was asked in part when it was judged, such as a held one that a person
        put in use, its score is that of the first evaluation in which it was asked all of it as
        release or head. Until then the suite is left out: accuracies of different questions do
        not compare.
        """
        return self._database.read(
            ScoreRow,
            "WITH own AS (SELECT m.*, EXISTS (SELECT 1 FROM evals e WHERE e.job_id = m.job_id"
            " AND e.suite = m.suite AND e.at = m.at AND e.subject = 'candidate'"
            " AND e.complete = 0) AS in_part FROM matrix m WHERE m.version = ?)"
            " SELECT version, job_id, state, suite, title, origin, accuracy, n_asked, loss, at"
            " FROM own WHERE NOT in_part UNION ALL"
            " SELECT own.version, own.job_id, own.state, own.suite, own.title, own.origin,"
            " CAST(e.n_correct AS REAL) / e.n_asked, e.n_asked, e.loss, min(e.at)"
            " FROM own JOIN evals e ON e.version = own.version AND e.suite = own.suite"
            " WHERE own.in_part AND e.subject IN ('incumbent', 'head') AND e.complete = 1"
            " AND e.n_asked > 0 GROUP BY own.suite ORDER BY at, suite",
            (version,),
        )

    def benchmarks_of(self, version: str) -> list[str]:
        """
        Return the benchmark and canary suites that *version* was asked before it was promoted.
        """
        return self._database.texts(
            "SELECT DISTINCT suite FROM matrix"
            " WHERE version = ? AND origin IN ('benchmark', 'canary') ORDER BY suite",
            (version,),
        )

    def titles_of(self, version: str) -> list[str]:
        """
        Return the names of the files that *version* was trained on, at most 20 of them.
        """
        return self._database.texts(
            "SELECT d.name FROM datasets d JOIN dataset_jobs g ON g.key = d.key"
            " JOIN jobs j ON j.id = g.job_id WHERE j.version = ? AND d.duplicate_of IS NULL"
            " ORDER BY d.key LIMIT 20",
            (version,),
        )
