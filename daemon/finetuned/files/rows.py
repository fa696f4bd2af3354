"""
The rows of the journal's tables as values, one class per table.

Fields are named as the columns are. files/row_reader.py builds them; nothing
else turns a database row into a value.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import ClassVar

import orjson

from finetuned.config import Config, config_from_dict
from finetuned.core.books import RowCounts
from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import JobKind, JobState
from finetuned.core.promotion import HeadCause, PromotionCause, VersionVerdict
from finetuned.core.run import RunKind, RunOutcome
from finetuned.errors import ConfigError
from finetuned.files.message_rows import DailyReportRow, DeliveryRow, MessageRow, NoticeRow
from finetuned.layout import Priority


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """
    One claimed file.
    """

    table: ClassVar[str] = "datasets"

    key: str
    """Of the claim, e.g. ``d00000012``; sorts by arrival."""
    name: str
    """File name as dropped, percent-encoded where it is not printable."""
    inbox_path: builtins.bytes
    """Path below inbox/ as dropped."""
    priority: Priority
    bytes: int
    claimed_at: str
    state: DatasetState
    dataset_id: str | None
    """First 16 hex digits of the SHA-256; None until it is validated."""
    sha256: str | None
    duplicate_of: str | None
    """
    Key of the dataset with the same bytes that is on the books in its place: an earlier
    one, or a later one if the job of this one came to nothing.
    """
    n_train: int | None
    """Training sequences; a row may become several."""
    n_heldout: int | None
    """Rows that are asked in evaluations."""
    reason: str | None
    """Why it was refused, or why its job failed."""
    job_id: str | None
    final_path: str | None
    """Where the original was moved to, relative to the root."""
    n_rows: int | None
    """Lines that are not blank; None until they are counted."""
    n_refused: int | None
    """Rows that cannot be used."""
    n_reserved: int | None
    """Rows whose prompts an earlier dataset holds out."""
    n_train_rows: int | None
    """Rows meant for training."""

    @property
    def counts(self) -> RowCounts | None:
        """How its rows were divided; None until they are counted."""
        if self.n_rows is None:
            return None
        return RowCounts(
            read=self.n_rows,
            refused=self.n_refused or 0,
            held_out=self.n_heldout or 0,
            reserved=self.n_reserved or 0,
            to_train=self.n_train_rows or 0,
        )


@dataclass(frozen=True, slots=True)
class JobRow:
    """
    One job: a training on some datasets, or a merge.
    """

    table: ClassVar[str] = "jobs"

    id: str
    kind: JobKind
    priority: Priority
    state: JobState
    created_at: str
    updated_at: str
    attempts: int
    """Failed runs; an interrupted run costs none."""
    parent: str | None
    """Version it trains on, set at its first run; None is the base model."""
    config: str | None
    """JSON of the configuration that all its runs use, set at its first run."""
    candidate_run: str | None
    checkpoint: str | None
    """Not written any more."""
    version: str | None
    """Version that its candidate became."""
    error_type: str | None
    error_message: str | None
    reason: str | None
    retired: bool
    """Whether the originals of its datasets are in their last place."""
    second_try: bool
    """Whether it is trained once more, with more rehearsal: its first candidate forgot too much."""

    def resolved_config(self) -> Config:
        """
        Return the configuration that all its runs use.

        Raises:
            ConfigError: No run of it began yet, or the record is not valid in this version.
        """
        if self.config is None:
            raise ConfigError(f"job {self.id} has no configuration: no run of it began yet")
        try:
            tables = orjson.loads(self.config)
            if not isinstance(tables, dict):
                raise ConfigError(f"expected an object of tables, got {tables!r}")
            return config_from_dict(tables)
        except (orjson.JSONDecodeError, ConfigError) as error:
            raise ConfigError(f"job {self.id}: recorded configuration: {error}") from None


@dataclass(frozen=True, slots=True)
class RunRow:
    """
    One run of a worker process.
    """

    table: ClassVar[str] = "runs"

    id: str
    kind: RunKind
    job_id: str | None
    pid: int | None
    pid_started: float | None
    """When the process began, in seconds since the epoch: tells it from a later one of that pid."""
    started_at: str
    ended_at: str | None
    exit_status: int | None
    """0 to 255, or minus the signal that killed it."""
    outcome: RunOutcome | None
    resumed_from: str | None
    """Run whose checkpoint it went on from."""
    first_step: int | None
    """Not written any more."""
    last_step: int | None
    """Optimizer steps of the whole job, of a run that left a candidate."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """
    What one run used; written while it goes on, so that a crash loses some seconds at most.
    """

    table: ClassVar[str] = "usage"

    run_id: str
    seconds: float
    """Wall time, as far as a daemon saw the run."""
    cpu_seconds: float
    """Processor time of its processes."""
    cpu_joules: float | None
    """None if the processor's counters cannot be read."""
    gpu_joules: float | None
    """None if no GPU worked, or it does not report its energy."""
    gpus: int
    """Most GPUs that worked at once."""


@dataclass(frozen=True, slots=True)
class TrainedRow:
    """
    One dataset that a finished training was made on.
    """

    table: ClassVar[str] = "trained"

    job_id: str
    dataset_id: str
    run_id: str
    n_examples: int
    n_supervised_tokens: int
    optimizer_steps: int
    """Of the whole job."""
    at: str
    unseen: str | None
    """LineSet.as_text of the lines with rows to train that no step had; None for none."""
    unseen_because: str | None


@dataclass(frozen=True, slots=True)
class VersionRow:
    """
    One version that was ever committed, whether or not it still has a folder.
    """

    table: ClassVar[str] = "versions"

    id: str
    parent: str | None
    """Version it was trained on; None is the base model."""
    job_id: str | None
    run_id: str | None
    verdict: VersionVerdict
    created_at: str


@dataclass(frozen=True, slots=True)
class PromotionRow:
    """
    One decision on the version in use; the last one is in force.
    """

    table: ClassVar[str] = "promotions"

    seq: int
    version: str | None
    """None is the base model."""
    cause: PromotionCause
    at: str


@dataclass(frozen=True, slots=True)
class HeadRow:
    """
    One decision on the version that the next job starts from; the last one is in force.
    """

    table: ClassVar[str] = "heads"

    seq: int
    version: str | None
    """None is the base model."""
    cause: HeadCause
    job_id: str | None
    """The job whose candidate it is; None if no job made the decision."""
    at: str


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """
    The score of one version on one suite, from the evaluation of its candidate.
    """

    table: ClassVar[str] = "matrix"

    version: str
    job_id: str
    state: JobState
    suite: str
    title: str | None
    origin: str | None
    """new, old, benchmark or canary; a suite's name in journals of the first schema."""
    accuracy: float | None
    """Share of the asked rows answered correctly, 0 to 1; None if none was asked."""
    n_asked: int
    loss: float | None
    """Mean negative log-likelihood per token, in nats."""
    at: str


Row = (
    DatasetRow
    | JobRow
    | RunRow
    | UsageRow
    | TrainedRow
    | VersionRow
    | PromotionRow
    | HeadRow
    | ScoreRow
    | NoticeRow
    | MessageRow
    | DeliveryRow
    | DailyReportRow
)
