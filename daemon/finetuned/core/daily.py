"""
The facts of a daily report, as values. Pure: who collects them and who words them is elsewhere.

A number that was not measured is None and never 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from finetuned.core.books import Fate
from finetuned.core.curves.finding import Reading
from finetuned.core.job import JobKind, JobState
from finetuned.core.promotion import PromotionCause
from finetuned.core.worth import Worth

Curve = tuple[tuple[int, float], ...]
"""Points of a curve: optimizer step of the job, value."""


@dataclass(frozen=True, slots=True)
class WorthFact:
    """
    What one file was worth; what is text was worded by whoever computed it.
    """

    worth: Worth
    evidence: str
    """Why it is that, with counts."""
    cost: str
    before: str
    """Held-out rows that were right before."""
    change: str
    """On these rows, in points."""
    point: str
    """Cost of a point gained."""
    near: str
    """Share of rows that are nearly rows that came before."""


@dataclass(frozen=True, slots=True)
class FileFact:
    """
    One file that was dropped.
    """

    key: str
    name: str
    rows: int | None
    """Lines that are not blank; None until they are counted."""
    refused: int
    """Rows of these that cannot be used."""
    fate: Fate
    version: str | None
    """The version that learnt it."""
    reason: str | None
    """Why it was refused, or why its rows are not learnt."""
    worth: WorthFact | None = None
    """None if it was not judged yet, or if that cannot be read."""


@dataclass(frozen=True, slots=True)
class JobFact:
    """
    One job that ended.
    """

    id: str
    kind: JobKind
    state: JobState
    files: tuple[str, ...]
    version: str | None
    reason: str | None
    """Of the gate, or the error of a job that failed."""
    steps: int | None
    """Optimizer steps; None if it left no candidate."""
    seconds: float
    """Of its training runs, whenever they were."""
    loss: Curve = ()
    """Training loss, in nats per token."""
    held_out: Curve = ()
    """Loss on held-out rows, likewise."""
    reading: Reading | None = None
    """What its learning curves show; None if they cannot be read."""
    n_asked: int = 0
    """Held-out rows of its own files that its candidate was asked."""
    accuracy: float | None = None
    """Share of these that it answered right, 0 to 1."""

    @property
    def final_loss(self) -> float | None:
        """Mean training loss of the last tenth of its points, 20 at most."""
        if not self.loss:
            return None
        last = self.loss[-max(1, min(20, len(self.loss) // 10)) :]
        return sum(value for _, value in last) / len(last)


@dataclass(frozen=True, slots=True)
class SuiteFact:
    """
    How the version in use does on one suite.
    """

    title: str
    origin: str
    """new, old, benchmark or canary"""
    n_asked: int
    n_correct: int
    before: float | None
    """Accuracy, 0 to 1, of the version that was in use when the day began."""


@dataclass(frozen=True, slots=True)
class DecisionFact:
    """
    One decision on the version in use.
    """

    at: str
    """RFC 3339 UTC."""
    version: str | None
    """None is the base model."""
    cause: PromotionCause


@dataclass(frozen=True, slots=True)
class IncidentFact:
    """
    One promotion that was reverted.
    """

    version: str
    back_to: str | None
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class ForgettingFact:
    """
    What the head forgot, from the eval report of its version.
    """

    version: str
    backward_transfer: float | None
    """In points."""
    worst: str | None = None
    """Title of the suite that fell most below its best."""
    best: float = 0.0
    now: float = 0.0
    """Accuracies on it, 0 to 1."""
    n_asked: int | None = None
    """Rows of it that were asked."""


@dataclass(frozen=True, slots=True)
class ServiceFact:
    """
    What the service answered. Answers are counted only while it records them.
    """

    answers: int
    mean_ms: float | None
    thumbs_up: int
    thumbs_down: int
    review_waiting: int
    """Answers that wait for a person now."""
    requests: int | None = None
    """Requests to the version in use since it is served, from control/health.json."""
    errors: int | None = None


@dataclass(frozen=True, slots=True)
class DiskFact:
    """
    The file system of models/.
    """

    free_bytes: int
    total_bytes: int
    reserve_bytes: int
    """Free space below which nothing new is started."""


@dataclass(frozen=True, slots=True)
class UndeliveredFact:
    """
    Messages that did not reach somebody.
    """

    addressee: str
    waiting: int
    given_up: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class CostFact:
    """
    One line of costs, worded by whoever computes them.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class DriftFact:
    """
    One thing that moved: what users ask, what they are answered, or a new file.
    """

    text: str
    """What moved, from what to what; no prompt and no answer."""
    since: date
    """Local day."""
    is_new: bool
    """Whether it was noticed on a day of the report. A new file is never an alarm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DailyFacts:
    """
    Everything that a daily report says.
    """

    first: date
    last: date
    """Local days; both and all between are covered."""
    made_at: datetime
    """Local wall clock."""
    root: str
    """Name of the root's folder."""
    files: tuple[FileFact, ...] = ()
    jobs: tuple[JobFact, ...] = ()
    queued: int = 0
    """Jobs that wait or run now."""
    suites: tuple[SuiteFact, ...] = ()
    release_before: str | None = None
    """Version in use when the first day began; None is the base model."""
    release: str | None = None
    """Version in use at the end of the last day, or now if it is not over."""
    head: str | None = None
    decisions: tuple[DecisionFact, ...] = ()
    incidents: tuple[IncidentFact, ...] = ()
    rejected_in_a_row: int = 0
    """Candidates rejected since the last one that was not."""
    unlearnt_files: int = 0
    """Files of any day whose rows are not learnt and do not wait."""
    forgetting: ForgettingFact | None = None
    service: ServiceFact | None = None
    """None if there is none."""
    disk: DiskFact | None = None
    gpu_pct: float | None = None
    """Mean utilisation while a worker ran, 0 to 100; None without readings."""
    attention: tuple[str, ...] = ()
    """What stands in the way now, one sentence each."""
    undelivered: tuple[UndeliveredFact, ...] = ()
    drift: tuple[DriftFact, ...] = ()
    """What moved and is not back, in the last day and the six before it."""
    costs: tuple[CostFact, ...] = ()
    unread: tuple[str, ...] = ()
    """What could not be read, one sentence each."""

    @property
    def is_over(self) -> bool:
        """Whether the last day was over when the report was made."""
        return self.made_at.date() > self.last
