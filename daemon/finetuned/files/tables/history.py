"""
The life of a root in whole tables, for reports that look at all of it at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetuned.files.database import Database
from finetuned.files.rows import DatasetRow, JobRow, RunRow, TrainedRow


@dataclass(frozen=True, slots=True)
class Answers:
    """
    How one model did on one suite in the last evaluation of a job.
    """

    subject: str
    """base, incumbent, head or candidate"""
    suite: str
    title: str
    origin: str
    asked: int
    right: int


class History:
    """
    Reads only.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def datasets(self) -> list[DatasetRow]:
        """
        Return every dropped file, oldest first.
        """
        return self._database.read(DatasetRow, "SELECT * FROM datasets ORDER BY key")

    def jobs(self) -> list[JobRow]:
        """
        Return every job, oldest first.
        """
        return self._database.read(JobRow, "SELECT * FROM jobs ORDER BY id")

    def runs(self) -> list[RunRow]:
        """
        Return every run, oldest first.
        """
        return self._database.read(RunRow, "SELECT * FROM runs ORDER BY id")

    def trained(self) -> list[TrainedRow]:
        """
        Return what every job was trained on.
        """
        return self._database.read(TrainedRow, "SELECT * FROM trained ORDER BY job_id, dataset_id")

    def jobs_of_datasets(self) -> list[tuple[str, str]]:
        """
        Return the key of each file with each job that it was ever given to, by job.
        """
        found = self._database.db.execute(
            "SELECT key, job_id FROM dataset_jobs ORDER BY job_id, key"
        )
        return [(str(key), str(job_id)) for key, job_id in found]

    def answers(self, job_id: str) -> list[Answers]:
        """
        Return the scores of the last evaluation of a job; none if it was never judged.
        """
        found = self._database.db.execute(
            "SELECT subject, suite, coalesce(title, suite), coalesce(origin, ''), n_asked,"
            " coalesce(n_correct, n_exact) FROM evals WHERE job_id = ?1 AND run_id ="
            " (SELECT run_id FROM evals WHERE job_id = ?1 ORDER BY at DESC, run_id DESC LIMIT 1)"
            " ORDER BY suite, subject",
            (job_id,),
        )
        return [
            Answers(str(subject), str(suite), str(title), str(origin), int(asked), int(right))
            for subject, suite, title, origin, asked, right in found
        ]
