"""
Every dropped row is counted once, whatever happened to its file, its job, and the version.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from finetuned.core.books import (
    Fate,
    Group,
    RowCounts,
    Rows,
    Standing,
    add_up,
    fate_of,
    rows_of,
)
from finetuned.core.dataset_state import DatasetState
from finetuned.core.head import NewHead
from finetuned.core.job import FINAL_STATES, JobEvent, JobState
from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.core.retry import retry_refusal
from finetuned.errors import DatasetError
from finetuned.files.journal import Journal
from finetuned.files.tables.datasets import Claim
from finetuned.files.tables.jobs import JobFailure
from finetuned.files.tables.scores import Trained
from finetuned.layout import Priority

COUNTS = st.tuples(*[st.integers(0, 30)] * 4).map(lambda n: RowCounts(sum(n), *n))
STANDINGS = st.builds(
    Standing,
    st.sampled_from(DatasetState),
    copied=st.booleans(),
    job=st.sampled_from([None, *JobState]),
    learnt=st.booleans(),
)


@given(STANDINGS, COUNTS)
def test_the_rows_of_one_file_are_counted_once(standing: Standing, counts: RowCounts) -> None:
    """
    Whatever its fate.
    """
    assert counts.read == rows_of(fate_of(standing), counts).total


@given(st.lists(st.tuples(STANDINGS, st.lists(COUNTS, max_size=3), st.integers(0, 2)), max_size=6))
def test_the_books_of_any_files_balance(files: list[tuple[Standing, list[RowCounts], int]]) -> None:
    """
    Files whose rows are not known are counted as files only.
    """
    groups = []
    for standing, known, unknown in files:
        sums = RowCounts(
            sum(c.read for c in known),
            sum(c.refused for c in known),
            sum(c.held_out for c in known),
            sum(c.reserved for c in known),
            sum(c.to_train for c in known),
        )
        groups.append(Group(standing, len(known) + unknown, len(known), sums))
    books = add_up(groups)

    assert books.balanced
    assert sum(c.read for _, known, _ in files for c in known) == books.dropped
    assert sum(len(known) + unknown for _, known, unknown in files) == sum(books.files.values())
    assert sum(unknown for _, _, unknown in files) == books.uncounted_files


def test_rows_that_were_lost_are_seen() -> None:
    """
    A file whose own counts do not add up: the books do not hide it.
    """
    counts = RowCounts(read=10, refused=1, held_out=1, reserved=0, to_train=7)
    books = add_up([Group(Standing(DatasetState.ACCEPTED), 1, 1, counts)])

    assert not counts.add_up
    assert not books.balanced
    assert books.as_dict()["balanced"] is False


@pytest.mark.parametrize("job", sorted(FINAL_STATES))
def test_what_was_learnt_is_what_the_head_descends_from(job: JobState) -> None:
    """
    The verdict alone says nothing: a version may be taken back, or put in use by hand.
    """
    assert Fate.LEARNT is fate_of(Standing(DatasetState.RETIRED, job=job, learnt=True))
    assert Fate.NOT_LEARNT is fate_of(Standing(DatasetState.RETIRED, job=job, learnt=False))


def test_only_what_was_not_learnt_may_be_tried_again() -> None:
    """
    Each refusal says why, and what to do.
    """
    assert retry_refusal("d1 (a)", Fate.NOT_LEARNT) is None
    refused = {
        Fate.LEARNT: retry_refusal("d1 (a)", Fate.LEARNT, learnt_by="v0002"),
        Fate.WAITING: retry_refusal("d1 (a)", Fate.WAITING, job="j9"),
        Fate.REFUSED: retry_refusal("d1 (a)", Fate.REFUSED),
        Fate.DUPLICATE: retry_refusal("d1 (a)", Fate.DUPLICATE, copy="d2"),
        Fate.NOT_LEARNT: retry_refusal("d1 (a)", Fate.NOT_LEARNT, copy="d2"),
    }

    assert set(Fate) == set(refused)
    for words in zip(
        ("v0002", "j9", "inbox/rejected/", "name d2", "d2, which is trained"),
        refused.values(),
        strict=True,
    ):
        assert words[0] in str(words[1])


VERDICTS = (JobEvent.ACCEPT, JobEvent.HOLD, JobEvent.REJECT)


@dataclass
class Dropped:
    """
    What the test knows of one file.
    """

    dataset_id: str
    counts: RowCounts
    state: str = "claimed"
    """claimed, valid, refused or copy"""


@dataclass
class Truth:
    """
    What happened, told without the journal.
    """

    files: dict[str, Dropped] = field(default_factory=dict)
    job_of: dict[str, str] = field(default_factory=dict)
    """Key -> its last job."""
    parents: dict[str, str | None] = field(default_factory=dict)
    made_of: dict[str, set[str]] = field(default_factory=dict)
    """Version -> the datasets that it was trained on."""
    head: str | None = None

    def learnt(self) -> Counter[str]:
        """How often the head and its ancestors were trained on each dataset."""
        found: Counter[str] = Counter()
        version = self.head
        while version is not None:
            found.update(self.made_of[version])
            version = self.parents[version]
        return found


class History:
    """
    One journal through a random history: drops, verdicts, step backs, retries and crashes.
    """

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.path, self.chance = path, chance
        self.truth = Truth()
        self.over: set[str] = set()
        self.running: str | None = None
        self.told: list[str] = []
        self.open()

    def open(self) -> None:
        self.journal = Journal(self.path)
        self.journal._database.db.execute("PRAGMA synchronous=OFF")  # no power cut is played

    def go_on(self) -> None:
        """Let one thing happen, and see that the books balance after it."""
        steps = (self.drop, self.validate, self.work, self.step, self.retry, self.crash)
        (step,) = self.chance.choices(steps, weights=(3, 2, 8, 1, 3, 1))
        self.told.append(step.__name__)
        step()
        self.check()

    # -- the inbox ----------------------------------------------------------------

    def drop(self) -> None:
        (key,) = self.journal.datasets.next_keys(1)
        content = f"{self.chance.randrange(4):016x}"
        same = [f.counts for f in self.truth.files.values() if f.dataset_id == content]
        parts = [self.chance.randrange(30) for _ in range(4)]
        self.truth.files[key] = Dropped(content, same[0] if same else RowCounts(sum(parts), *parts))
        self.journal.datasets.add([Claim(key, "a", b"a", Priority.NORMAL, 1)])

    def claimed(self) -> list[str]:
        return [key for key, file in self.truth.files.items() if file.state == "claimed"]

    def validate(self) -> None:
        for key in self.claimed():
            if self.chance.random() < 0.1:  # it changed while it was read
                self.journal.datasets.forget_claim(key)
                del self.truth.files[key]
            else:
                self.read(key)

    def read(self, key: str) -> None:
        file, datasets = self.truth.files[key], self.journal.datasets
        earlier = datasets.earlier_copy(file.dataset_id, than=key)
        if earlier is not None:
            datasets.mark_duplicate(
                key, dataset_id=file.dataset_id, sha256=None, of=earlier, counts=file.counts
            )
            file.state = "copy"
        elif self.chance.random() < 0.2:
            datasets.quarantine(key, "bad", file.counts)
            file.state = "refused"
        else:
            for old in self.truth.files.values():
                if (old.dataset_id, old.state) == (file.dataset_id, "valid"):
                    old.state = "copy"  # its job came to nothing, or this would be the copy
            file.state = "valid"
            datasets.accept(
                key,
                dataset_id=file.dataset_id,
                sha256=None,
                n_train=1,
                n_heldout=file.counts.held_out,
                counts=file.counts,
            )

    # -- jobs ---------------------------------------------------------------------

    def work(self) -> None:
        """Make a job of what waits; start one, or bring the one that runs to an end."""
        waiting = [accepted.key for accepted in self.journal.datasets.without_job()]
        if keys := waiting[: self.chance.randint(1, 3)]:
            job = self.journal.jobs.add(Priority.NORMAL, keys)
            self.truth.job_of.update(dict.fromkeys(keys, job))
        if self.running is None:
            self.start()
            return
        job = self.running
        event = self.chance.choice([*VERDICTS, *VERDICTS, JobEvent.FAIL, JobEvent.SKIP])
        if event in VERDICTS:
            self.judge(job, event)
        else:
            failure = JobFailure("E", "boom", 3) if event is JobEvent.FAIL else None
            self.journal.jobs.move(job, event, failure=failure)
            self.end(job)
        self.running = None

    def start(self) -> None:
        queued = self.journal.jobs.in_states(JobState.QUEUED)
        if not queued:
            return
        job = self.chance.choice(queued)
        if (move := self.journal.set_learnt_aside(job.id)) is not None:
            for row in self.journal.datasets.of_job(move.job_id):
                self.truth.job_of[row.key] = move.job_id
            self.end(move.job_id)
            if move.job_id == job.id:
                return
        self.running, self.parent = job.id, self.truth.head
        self.journal.jobs.move(job.id, JobEvent.START)

    def judge(self, job: str, verdict: JobEvent) -> None:
        journal = self.journal
        rows = [str(row.dataset_id) for row in journal.datasets.of_job(job)]
        assert len(rows) == len(set(rows)), "one job trains the same bytes twice"
        journal.finish_training(job, "r1", [Trained(i, 1, 1, 1) for i in rows], last_step=1)
        if self.truth.head != self.parent:
            journal.jobs.retrain(job, "the head is another")
            return
        journal.jobs.move(job, JobEvent.START)
        version = f"v{len(self.truth.parents) + 1:04d}"
        journal.conclude(job, verdict, version=version, parent=self.parent, reason="why")
        self.truth.parents[version], self.truth.made_of[version] = self.parent, set(rows)
        if verdict is not JobEvent.REJECT:
            self.truth.head = version
        self.end(job)

    def end(self, job: str) -> None:
        """Record that a job is over, and now or later that its originals are in their place."""
        self.over.add(job)
        if self.chance.random() < 0.5:
            return
        for ended in self.journal.jobs.unretired():
            for row in self.journal.datasets.of_job(ended.id):
                self.journal.datasets.retire(row.key)
            self.journal.jobs.retire(ended.id)

    # -- people, and the machine ---------------------------------------------------

    def step(self) -> None:
        """Go back to, or on to, any version that was ever made, or to the base."""
        version = self.chance.choice([None, *self.truth.parents])
        if self.chance.random() < 0.5:  # the version in use alone: nothing is unlearnt
            self.journal.put_in_use(version, PromotionCause.ROLLBACK)
            return
        self.truth.head = version
        head = NewHead(version, HeadCause.ROLLBACK)
        self.journal.put_in_use(version, PromotionCause.ROLLBACK, head=head)

    def retry(self) -> None:
        unlearnt = [key for key in self.truth.files if self.fate(key) is Fate.NOT_LEARNT]
        others = [key for key in self.truth.files if key not in unlearnt]
        if others:
            key = self.chance.choice(others)
            with pytest.raises(DatasetError, match=key):
                self.journal.retry([*unlearnt, key])
        if unlearnt and self.chance.random() < 0.3:  # killed before the commit
            with suppress(ZeroDivisionError), self.journal.together():
                self.journal.retry(unlearnt)
                raise ZeroDivisionError
        elif unlearnt:
            chosen = self.chance.choices(unlearnt, k=2)
            self.truth.job_of.update(self.journal.retry(chosen))

    def crash(self) -> None:
        self.journal.close()
        self.open()
        for job in self.journal.jobs.in_states(JobState.TRAINING, JobState.EVALUATING):
            self.journal.jobs.move(job.id, JobEvent.INTERRUPT)
        self.running = None

    # -- the law ------------------------------------------------------------------

    def fate(self, key: str) -> Fate:
        file = self.truth.files[key]
        if file.state in ("copy", "refused"):
            return {"copy": Fate.DUPLICATE, "refused": Fate.REFUSED}[file.state]
        if file.state == "claimed" or self.truth.job_of.get(key) not in self.over:
            return Fate.WAITING
        return Fate.LEARNT if self.truth.learnt()[file.dataset_id] else Fate.NOT_LEARNT

    def check(self) -> None:
        rows, dropped = Rows(), 0
        for key, file in self.truth.files.items():
            if file.state != "claimed":
                dropped += file.counts.read
                rows = rows.plus(rows_of(self.fate(key), file.counts))
        books = self.journal.books.balance(self.journal.head_lineage)

        assert books.balanced, self.told
        assert (dropped, rows) == (books.dropped, books.rows), self.told
        assert len(self.claimed()) == books.uncounted_files
        fates = Counter(map(self.fate, self.truth.files))
        assert fates == Counter({fate: n for fate, n in books.files.items() if n}), self.told
        assert [] == [i for i, n in self.truth.learnt().items() if n > 1], self.told


@settings(max_examples=60, deadline=None, phases=[Phase.generate])
@given(st.integers(0, 2**32))
def test_the_books_balance_through_any_history(seed: int) -> None:
    """
    After each thing that happens; and no head is trained on the same rows twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder) / "journal.sqlite3", random.Random(seed))
        for _ in range(60):
            history.go_on()
        entries = history.journal.books.entries(history.journal.head_lineage())
        fates = {entry.dataset.key: entry.fate for entry in entries}
        assert {key: history.fate(key) for key in history.truth.files} == fates
        history.journal.close()
