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
from finetuned.core.line_set import LineSet
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


@given(STANDINGS, COUNTS, st.integers(0, 40))
def test_the_rows_of_one_file_are_counted_once(
    standing: Standing, counts: RowCounts, unseen: int
) -> None:
    """
    Whatever its fate, and however many of its rows no step had.
    """
    assert counts.read == rows_of(standing, counts, unseen).total


def test_rows_that_no_step_had_are_not_learnt_beside_those_that_were() -> None:
    """
    A training that stopped early: what it had is learnt, also while the rest waits for its turn.
    """
    counts = RowCounts(read=12, refused=1, held_out=1, reserved=0, to_train=10)
    learnt = Standing(DatasetState.RETIRED, job=JobState.PROMOTED, learnt=True)
    again = Standing(DatasetState.RETIRED, job=JobState.QUEUED, learnt=True)

    assert Rows(learnt=7, not_learnt=3, refused=1, held_out=1) == rows_of(learnt, counts, 3)
    assert Rows(learnt=7, waiting=3, refused=1, held_out=1) == rows_of(again, counts, 3)


@given(
    st.lists(
        st.tuples(STANDINGS, st.lists(COUNTS, max_size=3), st.integers(0, 2), st.integers(0, 40)),
        max_size=6,
    )
)
def test_the_books_of_any_files_balance(
    files: list[tuple[Standing, list[RowCounts], int, int]],
) -> None:
    """
    Files whose rows are not known are counted as files only.
    """
    groups = []
    for standing, known, unknown, unseen in files:
        sums = RowCounts(
            sum(c.read for c in known),
            sum(c.refused for c in known),
            sum(c.held_out for c in known),
            sum(c.reserved for c in known),
            sum(c.to_train for c in known),
        )
        groups.append(Group(standing, len(known) + unknown, len(known), sums, unseen))
    books = add_up(groups)

    assert books.balanced
    assert sum(c.read for _, known, _, _ in files for c in known) == books.dropped
    assert sum(len(known) + unknown for _, known, unknown, _ in files) == sum(books.files.values())
    assert sum(unknown for _, _, unknown, _ in files) == books.uncounted_files


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
    assert retry_refusal("d1 (a)", Fate.LEARNT, learnt_by="v0002", unseen=3) is None
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
    made_of: dict[str, dict[str, set[int]]] = field(default_factory=dict)
    """Version -> the datasets that it was trained on -> their lines that a step had."""
    head: str | None = None

    def lineage(self) -> list[str]:
        """The head and its ancestors, the newest first."""
        found, version = [], self.head
        while version is not None:
            found.append(version)
            version = self.parents[version]
        return found

    def learnt(self) -> set[str]:
        """The datasets that the head and its ancestors were trained on."""
        return {dataset for version in self.lineage() for dataset in self.made_of[version]}

    def times(self, dataset: str) -> Counter[int]:
        """How often the head and its ancestors were trained on each line of a dataset."""
        found: Counter[int] = Counter()
        for version in self.lineage():
            found.update(self.made_of[version].get(dataset, ()))
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
        rows = {row.key: str(row.dataset_id) for row in journal.datasets.of_job(job)}
        assert len(rows) == len(set(rows.values())), "one job trains the same bytes twice"
        made = {dataset: self.train(key) for key, dataset in rows.items()}
        trained = [
            Trained(dataset, 1, 1, 1, self.unseen(key, made[dataset]), "stopped")
            for key, dataset in rows.items()
        ]
        journal.finish_training(job, "r1", trained, last_step=1)
        if self.truth.head != self.parent:
            journal.jobs.retrain(job, "the head is another")
            return
        journal.jobs.move(job, JobEvent.START)
        version = f"v{len(self.truth.parents) + 1:04d}"
        journal.conclude(job, verdict, version=version, parent=self.parent, reason="why")
        self.truth.parents[version], self.truth.made_of[version] = self.parent, made
        if verdict is not JobEvent.REJECT:
            self.truth.head = version
        self.end(job)

    def all_lines(self, key: str) -> LineSet:
        return LineSet.of(range(1, self.truth.files[key].counts.to_train + 1))

    def unseen(self, key: str, seen: set[int]) -> LineSet:
        return LineSet.of(set(self.all_lines(key).lines()) - seen)

    def train(self, key: str) -> set[int]:
        """Return the lines of a file that the steps of its job had: maybe it stopped early."""
        unseen = self.journal.books.unseen(self.journal.versions.lineage(self.parent)).get(key)
        lines = (self.all_lines(key) if unseen is None else unseen.lines).lines()
        if self.chance.random() < 0.5:
            return set(lines)
        return set(self.chance.sample(lines, self.chance.randint(0, len(lines))))

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
        unlearnt = [key for key in self.truth.files if self.may_be_tried_again(key)]
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

    def may_be_tried_again(self, key: str) -> bool:
        fate = self.fate(key)
        return fate is Fate.NOT_LEARNT or (fate is Fate.LEARNT and self.left(key) > 0)

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
        return Fate.LEARNT if file.dataset_id in self.truth.learnt() else Fate.NOT_LEARNT

    def left(self, key: str) -> int:
        """How many rows of a file that are meant for training the head has not learnt."""
        file = self.truth.files[key]
        return file.counts.to_train - len(self.truth.times(file.dataset_id))

    def rows(self, key: str) -> Rows:
        counts, fate = self.truth.files[key].counts, self.fate(key)
        if fate is Fate.REFUSED:
            return Rows(refused=counts.read)
        if fate is Fate.DUPLICATE:
            return Rows(duplicate=counts.read)
        left = self.left(key)
        return Rows(
            learnt=counts.to_train - left,
            waiting=left if fate is Fate.WAITING else 0,
            not_learnt=0 if fate is Fate.WAITING else left,
            held_out=counts.held_out + counts.reserved,
            refused=counts.refused,
        )

    def check(self) -> None:
        rows, dropped = Rows(), 0
        for key, file in self.truth.files.items():
            if file.state != "claimed":
                dropped += file.counts.read
                rows = rows.plus(self.rows(key))
        books = self.journal.books.balance(self.journal.head_lineage)

        assert books.balanced, self.told
        assert (dropped, rows) == (books.dropped, books.rows), self.told
        assert len(self.claimed()) == books.uncounted_files
        fates = Counter(map(self.fate, self.truth.files))
        assert fates == Counter({fate: n for fate, n in books.files.items() if n}), self.told
        twice = [i for i in self.truth.learnt() if any(n > 1 for n in self.truth.times(i).values())]
        assert [] == twice, self.told


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
