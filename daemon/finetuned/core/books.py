"""
The books: what became of every row that was dropped, as counts that add up.

Each row is counted once, under one word. The rows of one file that were meant for training
share a fate, which follows from the state of the file, the state of its job, and whether
the head (the version that the next job starts from) descends from a version that was
trained on them. Only rows that no optimizer step of those trainings had, because one stopped
early, are not learnt beside others that are. Knows no files and no journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import FINAL_STATES, JobState


class Fate(StrEnum):
    """
    What became of the rows of one file that were meant for training.
    """

    WAITING = "waiting"  # not read, trained or judged yet
    LEARNT = "learnt"  # the head, or a version that it was trained on top of, learnt them
    NOT_LEARNT = "not_learnt"  # their job came to nothing, or training left its version
    REFUSED = "refused"  # the whole file was set aside by the validation
    DUPLICATE = "duplicate"  # the same bytes are on the books under another file


@dataclass(frozen=True, slots=True)
class RowCounts:
    """
    How the validation divided the rows of one file, or of several files together.
    """

    read: int
    """Lines that are not blank."""
    refused: int
    """Rows that cannot be used."""
    held_out: int
    """Rows that are asked in evaluations and never trained."""
    reserved: int
    """Rows whose prompts an earlier file holds out: neither trained nor asked again."""
    to_train: int
    """Rows meant for training."""

    @property
    def add_up(self) -> bool:
        """Whether every row that was read is counted once."""
        return self.read == self.refused + self.held_out + self.reserved + self.to_train


@dataclass(frozen=True, slots=True)
class Standing:
    """
    What decides the fate of one file.
    """

    state: DatasetState
    copied: bool = False
    """Whether another file with the same bytes is on the books in its place."""
    job: JobState | None = None
    """The state of its last job, None before the first."""
    learnt: bool = False
    """Whether the head, or an ancestor of it, was trained on it."""


def fate_of(file: Standing) -> Fate:
    """
    Return what became of the rows of *file* that were meant for training.
    """
    if file.state is DatasetState.QUARANTINED:
        return Fate.REFUSED
    if file.state is DatasetState.DUPLICATE or file.copied:
        return Fate.DUPLICATE
    if file.state is DatasetState.CLAIMED or file.job not in FINAL_STATES:
        return Fate.WAITING
    return Fate.LEARNT if file.learnt else Fate.NOT_LEARNT


@dataclass(frozen=True, slots=True)
class Rows:
    """
    Rows by what became of them. The sum of all is what was dropped.
    """

    learnt: int = 0
    held_out: int = 0
    """Kept out of training for evaluation, by their own file or by an earlier one."""
    refused: int = 0
    not_learnt: int = 0
    duplicate: int = 0
    waiting: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return (
            self.learnt
            + self.held_out
            + self.refused
            + self.not_learnt
            + self.duplicate
            + self.waiting
        )

    def plus(self, other: Rows) -> Rows:
        """
        Return the sum with *other*, word by word.
        """
        return Rows(
            learnt=self.learnt + other.learnt,
            held_out=self.held_out + other.held_out,
            refused=self.refused + other.refused,
            not_learnt=self.not_learnt + other.not_learnt,
            duplicate=self.duplicate + other.duplicate,
            waiting=self.waiting + other.waiting,
        )


def rows_of(file: Standing, counts: RowCounts, unseen: int = 0) -> Rows:
    """
    Return the rows of a file by what became of them.

    Args:
        file: What decides its fate; a refused file or a duplicate has it for all rows.
        counts: Of the file.
        unseen: If it is learnt, rows meant for training that no step of the trainings that
            learnt it had, >= 0.
    """
    fate = fate_of(file)
    if fate is Fate.REFUSED:
        return Rows(refused=counts.read)
    if fate is Fate.DUPLICATE:
        return Rows(duplicate=counts.read)
    left = min(unseen, counts.to_train) if file.learnt else counts.to_train
    return Rows(
        learnt=counts.to_train - left,
        not_learnt=0 if fate is Fate.WAITING else left,
        waiting=left if fate is Fate.WAITING else 0,
        refused=counts.refused,
        held_out=counts.held_out + counts.reserved,
    )


@dataclass(frozen=True, slots=True)
class Group:
    """
    Files of one standing, together.
    """

    standing: Standing
    n_files: int
    n_counted: int
    """Those of them whose rows were counted: not read yet or unreadable, a file has no count."""
    counts: RowCounts
    """Sums over the counted ones."""
    unseen: int = 0
    """Of those, if they are learnt, rows meant for training that no step had."""


@dataclass(frozen=True, slots=True)
class Books:
    """
    All rows that were ever dropped.
    """

    dropped: int = 0
    """Rows of all files that were read."""
    rows: Rows = field(default_factory=Rows)
    files: Mapping[Fate, int] = field(default_factory=dict)
    """Files by fate; a fate of none is 0."""
    uncounted_files: int = 0
    """Files whose rows are not counted: not read yet, or not readable."""
    lost_versions: int = 0
    """
    Versions of which a journal that was made again knows no more than the name: the rows that
    they learnt are on no line, nor are those of the ones that they were trained on.
    """

    @property
    def balanced(self) -> bool:
        """Whether every dropped row is counted under one word."""
        return self.dropped == self.rows.total

    def as_dict(self) -> dict[str, int | bool | dict[str, int]]:
        """
        Return the books as plain JSON: rows by what became of them, and files by fate.
        """
        return {
            "dropped": self.dropped,
            **asdict(self.rows),
            "files": {str(fate): self.files.get(fate, 0) for fate in Fate},
            "uncounted_files": self.uncounted_files,
            "lost_versions": self.lost_versions,
            "balanced": self.balanced,
        }


def add_up(groups: Iterable[Group], *, lost_versions: int = 0) -> Books:
    """
    Return the books of all *groups*, with the versions of which nothing is known.
    """
    dropped, rows, uncounted = 0, Rows(), 0
    files = dict.fromkeys(Fate, 0)
    for group in groups:
        fate = fate_of(group.standing)
        dropped += group.counts.read
        rows = rows.plus(rows_of(group.standing, group.counts, group.unseen))
        files[fate] += group.n_files
        uncounted += group.n_files - group.n_counted
    return Books(dropped, rows, files, uncounted, lost_versions)
