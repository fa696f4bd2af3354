"""
The journal: what was dropped, trained, judged and promoted, as transactions.

It is the record that counts; folders are views that recovery makes again from
it. Every public method of it and of its tables is one transaction: after a
crash all of it happened or none. No log call and no file access happens inside
a transaction. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finetuned.core.books import Fate
from finetuned.core.head import NewHead
from finetuned.core.job import JobEvent, JobState
from finetuned.core.promotion import HeadCause, PromotionCause, VersionVerdict
from finetuned.core.retry import learnt_already, retry_refusal
from finetuned.errors import DatasetError
from finetuned.files.database import Database
from finetuned.files.rows import DatasetRow
from finetuned.files.tables.books import BookRecords
from finetuned.files.tables.datasets import Datasets, EarlierDataset
from finetuned.files.tables.device_use import DeviceUse
from finetuned.files.tables.heads import Heads
from finetuned.files.tables.jobs import JobMove, Jobs
from finetuned.files.tables.looks import Looks
from finetuned.files.tables.messages import Messages
from finetuned.files.tables.notices import Notices
from finetuned.files.tables.orders import OrderRecords
from finetuned.files.tables.runs import Runs
from finetuned.files.tables.scores import Scores, Trained
from finetuned.files.tables.settings import Settings
from finetuned.files.tables.usage import Usage
from finetuned.files.tables.versions import Promotions, Versions

VERDICTS = {
    JobState.PROMOTED: VersionVerdict.PROMOTED,
    JobState.HELD: VersionVerdict.HELD,
    JobState.REJECTED: VersionVerdict.REJECTED,
}
"""What the gate said of a candidate, by the state that its job ended in."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """
    What the gate judged, beside the candidate.
    """

    run_id: str
    """The evaluation whose report was judged."""
    release: str | None
    """What it was judged against; None is the base model."""
    candidates: int
    """Candidates that were looked at for a gain, its interpolations included; 0 for a merge."""


class Journal:
    """
    The journal of one root, by table, and the steps that change several tables at once.
    """

    def __init__(self, path: Path) -> None:
        """
        Open or create.

        Raises:
            ModelError, ConfigError, sqlite3.OperationalError: As Database.
        """
        self._database = Database(path)
        self.settings = Settings(self._database)
        self.datasets = Datasets(self._database)
        self.jobs = Jobs(self._database)
        self.runs = Runs(self._database)
        self.usage = Usage(self._database)
        self.scores = Scores(self._database)
        self.versions = Versions(self._database)
        self.promotions = Promotions(self._database)
        self.heads = Heads(self._database)
        self.looks = Looks(self._database)
        self.orders = OrderRecords(self._database)
        self.books = BookRecords(self._database)
        self.notices = Notices(self._database)
        self.messages = Messages(self._database)
        self.device_use = DeviceUse(self._database)

    def close(self) -> None:
        """
        Close the file; what was committed stays.
        """
        self._database.close()

    def is_unfilled(self) -> bool:
        """
        Return whether it holds nothing yet of what the manifests of versions say.

        It was made just now, or by a start that was killed. A journal that knows a file or a
        version was filled, by this version of the program or an earlier one.
        """
        known = "SELECT id FROM versions UNION ALL SELECT key FROM datasets LIMIT 1"
        return not self.settings.is_filled() and not self._database.texts(known)

    @contextmanager
    def together(self) -> Iterator[None]:
        """
        Make one transaction of everything recorded in the block.
        """
        with self._database.write():
            yield

    def learnt(self, version: str | None) -> list[EarlierDataset]:
        """
        Return the datasets that *version* and its ancestors were trained on, oldest first.

        None, the base model, has learnt none.
        """
        return self.datasets.learnt_by(self.versions.lineage(version))

    def head_lineage(self) -> list[str]:
        """
        Return the version that the next job starts from and its ancestors, oldest first.
        """
        return self.versions.lineage(self.heads.version())

    def retry(self, keys: Sequence[str]) -> dict[str, str]:
        """
        Queue the rows of files again that were not learnt, each file as a job of its own.

        Of a file that was learnt in part, only the rows that no step had are trained.
        One transaction, so that a file is never queued twice, whoever asks at the same time.
        A job of its own shows which file is bad: it takes no other one with it.

        Args:
            keys: Of the files; one that is named twice counts once.

        Returns:
            The new job of each file.

        Raises:
            DatasetError: A file is unknown, learnt, refused, or waits already; nothing was queued.
        """
        with self._database.write():
            lineage = self.head_lineage()
            jobs: dict[str, str] = {}
            problems: list[str] = []
            for key in dict.fromkeys(keys):
                entry = self.books.entry(key, lineage)
                if entry is None:
                    problems.append(f"{key} is no file that was dropped here")
                    continue
                row = entry.dataset
                problem = retry_refusal(
                    f"{key} ({row.name})",
                    entry.fate,
                    learnt_by=entry.learnt_by,
                    unseen=entry.n_unseen,
                    job=row.job_id,
                    copy=row.duplicate_of or self._copy_in_its_place(row, lineage),
                )
                if problem is None:
                    jobs[key] = self.jobs.add(row.priority, [key])
                else:
                    problems.append(problem)
            if problems:
                raise DatasetError("; ".join(problems))  # which undoes the transaction
        return jobs

    def _copy_in_its_place(self, dataset: DatasetRow, lineage: Sequence[str]) -> str | None:
        """Return another file with the same bytes that waits or is learnt, if there is one."""
        for key in self.books.copies(dataset):
            entry = self.books.entry(key, lineage)
            if entry is not None and entry.fate in (Fate.WAITING, Fate.LEARNT):
                return key
        return None

    def set_learnt_aside(self, job_id: str) -> JobMove | None:
        """
        Skip what the head has learnt whole of a job that is about to start, in one transaction.

        A person may have put a version in use again that had learnt it, after it was queued.
        If the job has other datasets as well, the learnt ones leave it for one that is skipped.

        Args:
            job_id: A queued job that has not begun.

        Returns:
            The move of the job that was skipped; None if the head has learnt nothing of it.
        """
        with self._database.write():
            lineage = self.head_lineage()
            learnt, unseen = self.books.learnt(lineage), self.books.unseen(lineage)
            rows = self.datasets.of_job(job_id)
            known = [row for row in rows if row.key in learnt and row.key not in unseen]
            if not known:
                return None
            version = learnt[known[-1].key]
            if len(known) < len(rows):
                keys = [row.key for row in known]
                self.jobs.take_from(job_id, keys)
                job_id = self.jobs.add(known[0].priority, keys)
            return self.jobs.move(job_id, JobEvent.SKIP, reason=learnt_already(version))

    def next_look(self, run_id: str) -> int:
        """
        Return the number of the judgement of evaluation *run_id* among those against the release.

        It is counted from 1, over all times at which the release was in use.
        """
        return 1 + self.looks.before(self.promotions.incumbent(), run_id=run_id)

    def note_look(self, run_id: str, candidates: int) -> None:
        """
        Record how many candidates of evaluation *run_id* were judged against the release.
        """
        self.looks.add(run_id, self.promotions.number(), candidates)

    def finish_training(
        self, job_id: str, run_id: str, trained: Sequence[Trained], *, last_step: int
    ) -> JobMove:
        """
        Record, in one step, that a run left a candidate and what it was trained on.

        Args:
            job_id: The job, in TRAINING.
            run_id: The run whose folder holds the candidate.
            trained: Its datasets.
            last_step: Optimizer steps of the whole job, > 0.

        Raises:
            InvalidTransition: The job is in another state; nothing was changed.
        """
        with self._database.write():
            self.scores.forget_trained(job_id)
            self.scores.add_trained(job_id, run_id, trained)
            self.runs.note_last_step(run_id, last_step)
            return self.jobs.move(job_id, JobEvent.FINISH, candidate_run=run_id)

    def put_in_use(
        self, version: str | None, cause: PromotionCause, *, head: NewHead | None = None
    ) -> None:
        """
        Decide, in one step, on the version in use and on the head. The links follow.

        Args:
            version: The release; None is the base model.
            cause: Why.
            head: The head from now on; None leaves it where it is.
        """
        with self._database.write():
            self.promotions.add(version, cause)
            last = self.heads.last()
            if head is not None and (last is None or last.version != head.version):
                self.heads.add(head.version, head.cause)

    def try_again(self, job_id: str, reason: str, judged: Judgement) -> JobMove:
        """
        Record, in one step, that a judged candidate is trained once more, with more rehearsal.

        Args:
            job_id: The job, in EVALUATING.
            reason: Why, in the gate's words.
            judged: The judgement, which counts as a look.

        Raises:
            InvalidTransition: The job is in another state; nothing was changed.
        """
        with self._database.write():
            self.note_look(judged.run_id, judged.candidates)
            return self.jobs.retrain(job_id, reason, second_try=True)

    def conclude(
        self,
        job_id: str,
        event: JobEvent,
        *,
        version: str,
        parent: str | None,
        reason: str,
        judged: Judgement | None = None,
    ) -> JobMove:
        """
        Record the gate's verdict in one step: job, version, head, version in use, and the look.

        A version that is held becomes the head; one that is promoted, head and version in use.
        If a person has changed head or release since the evaluation began, the verdict is on
        something that is past: the job rests, to be evaluated or trained again.

        Args:
            job_id: The job, in EVALUATING.
            event: ACCEPT, HOLD or REJECT.
            version: The committed version folder of its candidate.
            parent: The version it was trained on; None is the base model.
            reason: Why, in the gate's words.
            judged: What was judged; None if there is no record of it.

        Returns:
            The move; by INTERRUPT if head or release were changed.

        Raises:
            InvalidTransition: The job is in another state; nothing was changed.
        """
        with self._database.write():
            if judged is not None:
                past = (parent, judged.release)
                if past != (self.heads.version(), self.promotions.incumbent()):
                    reason = "head or release were changed while the verdict was recorded"
                    return self.jobs.move(job_id, JobEvent.INTERRUPT, reason=reason)
                if judged.candidates:
                    self.note_look(judged.run_id, judged.candidates)
            move = self.jobs.move(job_id, event, version=version, reason=reason)
            verdict = VERDICTS[move.new]
            self.versions.add(
                version,
                verdict,
                parent=parent,
                job_id=job_id,
                run_id=self.jobs.get(job_id).candidate_run,
            )
            if verdict is VersionVerdict.PROMOTED:
                self.promotions.add(version, PromotionCause.GATE)
                self.heads.add(version, HeadCause.PROMOTED, job_id=job_id)
            elif verdict is VersionVerdict.HELD:
                self.heads.add(version, HeadCause.HELD, job_id=job_id)
            return move
