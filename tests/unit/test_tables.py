"""
Each table of the journal: what is recorded comes back, and what is asked is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from finetuned.config import Config, TrainingConfig
from finetuned.core.books import Fate
from finetuned.core.dataset_state import DatasetState
from finetuned.core.job import FINAL_STATES, JobEvent, JobKind, JobState
from finetuned.core.order import OrderKind
from finetuned.core.promotion import PromotionCause, VersionVerdict
from finetuned.core.run import RunKind, RunOutcome
from finetuned.core.situation import Accepted
from finetuned.errors import ConfigError, CorruptRow, DatasetError
from finetuned.files.database import Database
from finetuned.files.journal import Journal
from finetuned.files.tables.datasets import Claim, EarlierDataset
from finetuned.files.tables.jobs import JobFailure
from finetuned.files.tables.scores import Score, Trained, scores_of_report
from finetuned.files.tables.settings import WatchMark
from finetuned.layout import Priority
from support.journals import TO_EVALUATING, add_accepted, add_job, promote_job


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal(Path(":memory:"))
    yield journal
    journal.close()


# -- settings ---------------------------------------------------------------------


def test_a_pause_has_a_reason_that_may_be_empty(journal: Journal) -> None:
    """
    "" is a pause without a reason; None is no pause.
    """
    assert journal.settings.paused() is None
    journal.settings.pause("")
    assert "" == journal.settings.paused()
    journal.settings.pause("backup")
    assert "backup" == journal.settings.paused()
    journal.settings.resume()
    assert journal.settings.paused() is None


def test_the_nightly_look_is_remembered_by_its_date(journal: Journal) -> None:
    """
    A date comes back as the same date.
    """
    assert journal.settings.last_consolidation() is None
    journal.settings.note_consolidation(date(2026, 11, 20))

    assert date(2026, 11, 20) == journal.settings.last_consolidation()


def test_a_watch_mark_never_goes_back(journal: Journal) -> None:
    """
    An earlier promotion that is watched again leaves the later one's mark.
    """
    journal.settings.pass_watch_mark(WatchMark.DONE, 3)
    journal.settings.pass_watch_mark(WatchMark.DONE, 2)

    assert 3 == journal.settings.watch_mark(WatchMark.DONE)
    assert 0 == journal.settings.watch_mark(WatchMark.ASKED)


# -- numbers ----------------------------------------------------------------------


def test_numbers_are_never_given_twice(journal: Journal) -> None:
    """
    Not even if a folder of a higher number turns up.
    """
    assert ["d00000001", "d00000002", "d00000003"] == journal.datasets.next_keys(3)
    assert [] == journal.datasets.next_keys(0)
    assert ["d00000004"] == journal.datasets.next_keys(1)
    journal.datasets.reserve_keys(10)
    journal.datasets.reserve_keys(7)
    assert ["d00000011"] == journal.datasets.next_keys(1)

    journal.runs.reserve_ids(41)
    assert "r000042" == journal.runs.next_id()
    journal.jobs.reserve_ids(6)
    assert "j000007" == journal.jobs.add(Priority.NORMAL, ())
    assert 1 == journal.orders.next_number(above=0)
    assert 10 == journal.orders.next_number(above=9)


# -- datasets ---------------------------------------------------------------------


def state_of(journal: Journal, key: str) -> DatasetState:
    row = journal.datasets.get(key)
    assert row is not None
    return row.state


def test_a_claim_is_recorded_once(journal: Journal) -> None:
    """
    Claimed again under the same key, as recovery may, it stays what it has become.
    """
    claim = Claim("d1", "a.jsonl", b"high/a.jsonl", Priority.HIGH, 7)
    journal.datasets.add([claim])
    journal.datasets.quarantine("d1", "not JSON")
    journal.datasets.add([claim, replace(claim, key="d2")])

    assert {"d1", "d2"} == journal.datasets.keys()
    assert {DatasetState.QUARANTINED: 1, DatasetState.CLAIMED: 1} == journal.datasets.counts()
    row = journal.datasets.get("d2")
    assert row is not None
    assert (claim.name, claim.inbox_path, claim.priority, claim.n_bytes) == (
        row.name,
        row.inbox_path,
        row.priority,
        row.bytes,
    )
    assert journal.datasets.get("d3") is None


def test_only_a_claim_can_be_forgotten(journal: Journal) -> None:
    """
    What was validated stays on record.
    """
    journal.datasets.add([Claim(k, k, b"x", Priority.LOW, 1) for k in ("d1", "d2")])
    journal.datasets.quarantine("d2", "empty")
    for key in ("d1", "d2"):
        journal.datasets.forget_claim(key)

    assert {"d2"} == journal.datasets.keys()


def test_every_step_of_a_dataset_is_recorded(journal: Journal) -> None:
    """
    Size, hash, counts, reason, last place: all of it on one row.
    """
    journal.datasets.add([Claim("d1", "a.jsonl", b"a", Priority.LOW, 1)])
    journal.datasets.note_size("d1", 9)
    journal.datasets.accept("d1", dataset_id="aa", sha256="aabb", n_train=8, n_heldout=2)
    journal.datasets.note_failure("d1", "job j1 failed")
    journal.datasets.note_place("d1", "inbox/rejected/a.jsonl")
    journal.datasets.retire("d1")

    row = journal.datasets.get("d1")
    assert row is not None
    assert (9, "aa", "aabb", 8, 2) == (
        row.bytes,
        row.dataset_id,
        row.sha256,
        row.n_train,
        row.n_heldout,
    )
    assert ("job j1 failed", "inbox/rejected/a.jsonl") == (row.reason, row.final_path)
    assert DatasetState.RETIRED is row.state


def test_datasets_of_one_state_come_by_arrival_and_limited(journal: Journal) -> None:
    """
    A run validates so many files, the oldest first.
    """
    journal.datasets.add([Claim(f"d{n}", "x", b"x", Priority.LOW, 1) for n in (3, 1, 2)])

    claimed = DatasetState.CLAIMED
    assert ["d1", "d2", "d3"] == [d.key for d in journal.datasets.in_state(claimed)]
    assert ["d1", "d2"] == [d.key for d in journal.datasets.in_state(claimed, limit=2)]
    assert [] == journal.datasets.in_state(DatasetState.DUPLICATE)


def test_accepted_datasets_wait_until_they_have_a_job(journal: Journal) -> None:
    """
    The list, its count, and the datasets of the job agree.
    """
    for key in ("d1", "d2", "d3"):
        add_accepted(journal, key, key * 2, n_train=5)
    job_id = journal.jobs.add(Priority.NORMAL, ["d1", "d3"])

    assert [Accepted("d2", Priority.NORMAL, 5)] == journal.datasets.without_job()
    assert 1 == journal.datasets.count_without_job()
    assert ["d1", "d3"] == [d.key for d in journal.datasets.of_job(job_id)]


def test_a_priority_that_is_not_known_is_refused(tmp_path: Path) -> None:
    """
    Also by the query that reads no whole rows.
    """
    journal = Journal(tmp_path / "j")
    add_accepted(journal, "d1", "aa")
    journal.close()
    database = Database(tmp_path / "j")
    database.change("UPDATE datasets SET priority = 'urgent'", ())
    database.close()
    journal = Journal(tmp_path / "j")
    with pytest.raises(CorruptRow, match="table datasets, row d1: 'urgent' is not one of high,"):
        journal.datasets.without_job()
    journal.close()


def test_the_same_bytes_are_found_again_unless_their_job_came_to_nothing(
    journal: Journal,
) -> None:
    """
    Dropping the bytes of a failed or skipped job again is how to ask for another try.
    """
    job_id = add_job(journal, "d1", "aa")
    earlier = journal.datasets.earlier_copy("aa", than="d2")
    assert earlier is not None
    assert "d1" == earlier.key
    assert journal.datasets.earlier_copy("aa", than="d1") is None
    assert journal.datasets.earlier_copy("bb", than="d2") is None

    journal.datasets.add([Claim("d2", "again.jsonl", b"y", Priority.LOW, 1)])
    journal.datasets.mark_duplicate("d2", dataset_id="aa", sha256="aa" * 4, of=earlier)
    row = journal.datasets.get("d2")
    assert row is not None
    assert (DatasetState.DUPLICATE, "d1") == (row.state, row.duplicate_of)
    assert "same bytes as d1.jsonl (d1)" == row.reason

    journal.jobs.move(job_id, JobEvent.SKIP)
    assert journal.datasets.earlier_copy("aa", than="d3") is None


def test_a_copy_that_was_dropped_at_the_same_time_is_found_as_well(journal: Journal) -> None:
    """
    The first of the two is accepted and has no job yet: one job would train both.
    """
    add_accepted(journal, "d1", "aa")
    earlier = journal.datasets.earlier_copy("aa", than="d2")

    assert earlier is not None
    assert "d1" == earlier.key


def test_what_is_dropped_again_after_its_job_came_to_nothing_is_on_the_books_once(
    journal: Journal,
) -> None:
    """
    The first file becomes a copy of the second, which goes on with its history.
    """
    journal.jobs.move(add_job(journal, "d1", "aa"), JobEvent.SKIP)
    add_accepted(journal, "d2", "aa")
    fates = {entry.dataset.key: entry.fate for entry in journal.books.entries([])}

    assert {"d1": Fate.DUPLICATE, "d2": Fate.WAITING} == fates
    with pytest.raises(DatasetError, match="name d2 instead"):
        journal.retry(["d1"])


def test_a_version_has_learnt_what_its_lineage_was_trained_on(journal: Journal) -> None:
    """
    Whatever the gate said of its ancestors, and nothing of what stands beside them.
    """
    for key, dataset_id, version in (("d1", "aa", "v0001"), ("d2", "bb", "v0002")):
        done = promote_job(journal, key, dataset_id, version)
        journal.scores.add_trained(done, "r1", [Trained(dataset_id, 8, 80, 2)], at=f"2026-{key}")
    for key, dataset_id, version, event in (
        ("d3", "cc", "v0003", JobEvent.REJECT),
        ("d4", "dd", "v0004", JobEvent.HOLD),
    ):
        job_id = add_job(journal, key, dataset_id)
        for step in TO_EVALUATING:
            journal.jobs.move(job_id, step)
        journal.scores.add_trained(job_id, "r2", [Trained(dataset_id, 8, 80, 2)], at=f"2026-{key}")
        journal.conclude(job_id, event, version=version, parent="v0002", reason="")

    def learnt(version: str | None) -> list[str]:
        return [dataset.dataset_id for dataset in journal.learnt(version)]

    assert [[], ["aa"], ["aa", "bb"]] == [learnt(v) for v in (None, "v0001", "v0002")]
    assert [["aa", "bb", "cc"], ["aa", "bb", "dd"]] == [learnt(v) for v in ("v0003", "v0004")]
    assert EarlierDataset("aa", "d1.jsonl") == journal.learnt("v0001")[0]


# -- jobs -------------------------------------------------------------------------


def test_a_job_keeps_the_configuration_of_its_first_run(journal: Journal) -> None:
    """
    What comes back is what was given, knob by knob.
    """
    config = replace(Config(), training=TrainingConfig(learning_rate=1.5e-4))
    job_id = journal.jobs.add(Priority.HIGH, ())
    with pytest.raises(ConfigError, match=f"job {job_id} has no configuration"):
        journal.jobs.get(job_id).resolved_config()
    journal.jobs.begin(job_id, config=config, parent="v0003")

    job = journal.jobs.get(job_id)
    assert config == job.resolved_config()
    assert ("v0003", Priority.HIGH, JobKind.TRAINING) == (job.parent, job.priority, job.kind)
    journal.jobs.forget_config(job_id)
    assert journal.jobs.get(job_id).config is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "unexpected end of data"),
        ('{"training": {"r": "x"}}', "training.r"),
        ("7", "tables, got 7"),
    ],
)
def test_a_recorded_configuration_that_is_not_valid_names_the_job(
    journal: Journal, text: str, problem: str
) -> None:
    """
    It is the configuration that is wrong, not the program.
    """
    job = journal.jobs.get(journal.jobs.add(Priority.LOW, ()))
    with pytest.raises(ConfigError, match=f"job {job.id}: recorded configuration: .*{problem}"):
        replace(job, config=text).resolved_config()


def test_a_job_that_does_not_exist_is_a_key_error(journal: Journal) -> None:
    """
    Ids come from the journal: another one is a bug.
    """
    with pytest.raises(KeyError):
        journal.jobs.get("j000099")


def test_jobs_are_found_by_state_and_counted(journal: Journal) -> None:
    """
    Without a state, all of them, by age.
    """
    first, second = (journal.jobs.add(Priority.LOW, ()) for _ in range(2))
    journal.jobs.move(first, JobEvent.START)

    queued, training = JobState.QUEUED, JobState.TRAINING
    assert [first, second] == [j.id for j in journal.jobs.in_states()]
    assert [second] == [j.id for j in journal.jobs.in_states(queued)]
    assert [first, second] == [j.id for j in journal.jobs.in_states(queued, training)]
    assert {queued: 1, training: 1} == journal.jobs.counts()


def test_a_move_records_what_is_said_and_leaves_the_rest(journal: Journal) -> None:
    """
    A second failure replaces the first; a start changes neither.
    """
    job_id = journal.jobs.add(Priority.LOW, ())
    for attempts in (1, 2):
        journal.jobs.move(job_id, JobEvent.START)
        failure = JobFailure("WorkerDied", f"status {attempts}", attempts)
        journal.jobs.move(job_id, JobEvent.RETRY, failure=failure)
    journal.jobs.move(job_id, JobEvent.START)
    journal.jobs.move(job_id, JobEvent.FINISH, candidate_run="r3")
    journal.jobs.move(job_id, JobEvent.SKIP, reason="skipped by command")

    job = journal.jobs.get(job_id)
    assert (2, "WorkerDied", "status 2") == (job.attempts, job.error_type, job.error_message)
    assert ("r3", "skipped by command") == (job.candidate_run, job.reason)


def test_a_retrained_job_begins_again_and_its_runs_do_not_count(journal: Journal) -> None:
    """
    In one step: state, configuration, parent and the outcome of every run.
    """
    job_id = journal.jobs.add(Priority.LOW, ())
    journal.jobs.begin(job_id, config=Config(), parent="v0001")
    for run_id in ("r1", "r2"):
        journal.runs.add(run_id, RunKind.TRAINING, job_id=job_id)
    journal.runs.add("r3", RunKind.TRAINING, job_id="another")
    journal.jobs.move(job_id, JobEvent.START)
    journal.jobs.move(job_id, JobEvent.FINISH)
    move = journal.jobs.retrain(job_id, "the incumbent changed")

    assert (JobState.TRAINED, JobState.QUEUED) == (move.old, move.new)
    job = journal.jobs.get(job_id)
    assert (None, None, "the incumbent changed") == (job.config, job.parent, job.reason)
    superseded = [RunOutcome.SUPERSEDED] * 2
    assert superseded == [r.outcome for r in journal.runs.of_job(job_id)]
    assert [None] == [r.outcome for r in journal.runs.of_job("another")]


ENDS = {
    JobState.PROMOTED: (*TO_EVALUATING, JobEvent.ACCEPT),
    JobState.HELD: (*TO_EVALUATING, JobEvent.HOLD),
    JobState.REJECTED: (*TO_EVALUATING, JobEvent.REJECT),
    JobState.SKIPPED: (JobEvent.SKIP,),
    JobState.FAILED: (JobEvent.FAIL,),
}


def test_every_finished_job_is_unretired_until_it_is_retired(journal: Journal) -> None:
    """
    A final state that is added to core.job is not forgotten in the query.
    """
    assert ENDS.keys() == FINAL_STATES
    waiting = journal.jobs.add(Priority.LOW, ())
    ended = {}
    for state, events in ENDS.items():
        ended[state] = journal.jobs.add(Priority.LOW, ())
        for event in events:
            journal.jobs.move(ended[state], event)

    assert list(ENDS) == [job.state for job in journal.jobs.unretired()]
    for job_id in (waiting, *ended.values()):
        journal.jobs.retire(job_id)
    assert [] == journal.jobs.unretired()


def test_promotions_are_counted_from_the_last_merge(journal: Journal) -> None:
    """
    Merges that were rejected, and trainings that were, do not count.
    """
    for n in (1, 2):
        promote_job(journal, f"d{n}", f"a{n}", f"v000{n}")
    assert 2 == journal.jobs.promotions_since_merge()
    for end, count in ((JobEvent.REJECT, 2), (JobEvent.ACCEPT, 0)):
        merge = journal.jobs.add(Priority.LOW, (), kind=JobKind.CONSOLIDATION)
        for event in (*TO_EVALUATING, end):
            journal.jobs.move(merge, event)
        assert count == journal.jobs.promotions_since_merge()
    promote_job(journal, "d3", "a3", "v0005")
    assert 1 == journal.jobs.promotions_since_merge()


# -- runs -------------------------------------------------------------------------


def test_a_run_is_unfinished_until_its_end_is_recorded(journal: Journal) -> None:
    """
    Its process is what a start looks for after a crash.
    """
    journal.runs.add("r1", RunKind.INGESTION)
    journal.runs.add("r2", RunKind.TRAINING, job_id="j1", resumed_from="r0")
    journal.runs.note_process("r2", pid=77, pid_started=1.5)
    assert [("r1", None, None), ("r2", 77, 1.5)] == [
        (r.id, r.pid, r.pid_started) for r in journal.runs.unfinished()
    ]
    journal.runs.end("r1", RunOutcome.LOST)
    journal.runs.note_last_step("r2", 12)
    journal.runs.end("r2", RunOutcome.FINISH, exit_status=0)

    assert [] == journal.runs.unfinished()
    (run,) = journal.runs.of_job("j1")
    assert (RunOutcome.FINISH, 0, 12, "r0") == (
        run.outcome,
        run.exit_status,
        run.last_step,
        run.resumed_from,
    )


# -- versions ---------------------------------------------------------------------


def test_versions_come_by_number_and_are_recorded_once(journal: Journal) -> None:
    """
    v0999 before v10000, and the first record of a name stands.
    """
    promoted, rejected = VersionVerdict.PROMOTED, VersionVerdict.REJECTED
    for name in ("v10000", "v0999", "v0001"):
        journal.versions.add(name, promoted, parent=None)
    journal.versions.add("v0001", rejected, parent="v0999", job_id="j1")

    assert ["v0001", "v0999", "v10000"] == [v.id for v in journal.versions.all()]
    assert promoted is journal.versions.all()[0].verdict


def test_a_lineage_is_oldest_first_and_ends(journal: Journal) -> None:
    """
    Also one that a damaged record made a circle of, or that names what is unknown.
    """
    promoted = VersionVerdict.PROMOTED
    for name, parent in (("v1", None), ("v2", "v1"), ("v3", "v2"), ("v5", "v4")):
        journal.versions.add(name, promoted, parent=parent)
    journal.versions.add("v7", promoted, parent="v8")
    journal.versions.add("v8", promoted, parent="v7")

    assert ["v1", "v2", "v3"] == journal.versions.lineage("v3")
    assert ["v5"] == journal.versions.lineage("v5")
    assert ["v8", "v7"] == journal.versions.lineage("v7")
    assert [] == journal.versions.lineage(None)
    assert {"v1": None, "v2": "v1"}.items() <= journal.versions.parents().items()


def test_the_last_decision_is_in_force_and_the_one_before_is_known(journal: Journal) -> None:
    """
    None as a version is the base model; no decision at all is something else.
    """
    promotions = journal.promotions
    assert promotions.last() is None
    assert promotions.incumbent() is None
    promotions.add("v1", PromotionCause.GATE)
    promotions.add("v2", PromotionCause.GATE)
    promotions.add("v1", PromotionCause.WATCH)
    promotions.add(None, PromotionCause.ROLLBACK)

    assert promotions.incumbent() is None
    last = promotions.last()
    assert last is not None
    assert (None, PromotionCause.ROLLBACK) == (last.version, last.cause)
    before = promotions.before(last.seq)
    assert before is not None
    assert ("v1", PromotionCause.WATCH) == (before.version, before.cause)
    by_gate = promotions.last_by_gate("v1")
    assert by_gate is not None
    assert (1, PromotionCause.GATE) == (by_gate.seq, by_gate.cause)
    assert promotions.last_by_gate("v3") is None
    assert promotions.before(by_gate.seq) is None


# -- scores -----------------------------------------------------------------------

SCORE = Score(
    subject="candidate",
    version=None,
    suite="heldout-1",
    origin="new",
    title="heldout-1.jsonl",
    n_rows=4,
    n_asked=4,
    n_exact=1,
    n_correct=3,
    loss=0.25,
    complete=True,
    stop_rate=1.0,
    n_timed_out=0,
)


def test_the_scores_of_a_version_are_those_of_its_candidate(journal: Journal) -> None:
    """
    Of every suite; benchmarks apart from held-out rows, other subjects left out.
    """
    job_id = promote_job(journal, "d1", "aa", "v0001")
    suites = (("heldout-1", "new"), ("mine", "benchmark"), ("canaries", "canary"))
    scores = [replace(SCORE, suite=suite, origin=origin) for suite, origin in suites]
    unasked = replace(SCORE, suite="unasked", origin="old", n_asked=0, n_correct=0, loss=None)
    other = replace(SCORE, subject="incumbent", suite="theirs")
    journal.scores.add(job_id, "r2", [*scores, unasked, other])

    assert {"heldout-1": 0.75, "mine": 0.75, "canaries": 0.75, "unasked": None} == {
        score.suite: score.accuracy for score in journal.scores.of_version("v0001")
    }
    assert ["canaries", "mine"] == journal.scores.benchmarks_of("v0001")
    assert ["d1.jsonl"] == journal.scores.titles_of("v0001")
    assert [] == journal.scores.of_version("v0002")


def test_scores_of_a_repeated_evaluation_replace_each_other(journal: Journal) -> None:
    """
    An evaluation whose record was refused half-way is recorded again.
    """
    job_id = promote_job(journal, "d1", "aa", "v0001")
    for n_correct in (1, 2):
        journal.scores.add(job_id, "r2", [replace(SCORE, n_correct=n_correct)])

    assert [0.5] == [score.accuracy for score in journal.scores.of_version("v0001")]


def test_what_a_held_version_was_not_asked_counts_once_it_is_asked_later(journal: Journal) -> None:
    """
    A person puts it in use after a first look: its row of the matrix is filled as it is asked.

    By the first evaluation that asked all of it; as the kind of suite that it was for it, and
    nothing that was new to others.
    """
    first = promote_job(journal, "d1", "aa", "v0001")
    whole = replace(SCORE, n_asked=4)
    part = replace(SCORE, suite="mine", origin="benchmark", n_asked=0, n_correct=0, complete=False)
    journal.scores.add(first, "r2", [whole, part])
    before = {s.suite: s.accuracy for s in journal.scores.of_version("v0001")}

    later = promote_job(journal, "d2", "bb", "v0002")
    asked = replace(part, subject="incumbent", version="v0001", n_asked=4, n_correct=3)
    journal.scores.add(later, "r3", [asked, replace(part, version=None)])
    assert {"heldout-1": 0.75} == before
    assert before == {s.suite: s.accuracy for s in journal.scores.of_version("v0001")}

    whole_later = replace(asked, complete=True)
    others = [
        replace(whole_later, suite="heldout-2", origin="new"),  # of a file that it has not learnt
        replace(whole_later, suite="heldout-1", origin="old", n_correct=0),  # it has its own score
    ]
    journal.scores.add(later, "r4", [whole_later, *others])
    again = promote_job(journal, "d3", "cc", "v0003")
    journal.scores.add(again, "r5", [replace(whole_later, n_correct=0)])
    found = journal.scores.of_version("v0001")

    assert {"heldout-1": ("new", 0.75), "mine": ("benchmark", 0.75)} == {
        s.suite: (s.origin, s.accuracy) for s in found
    }


def test_scores_are_read_from_a_report() -> None:
    """
    Of suites that the report describes; a subject without scores has none.
    """
    suites = [{"name": "heldout-1", "origin": "new", "title": "heldout-1.jsonl"}]
    score = {
        "n_items": 4,
        "n_asked": 4,
        "n_exact": 1,
        "n_correct": 3,
        "loss": 0.25,
        "complete": True,
        "stop_rate": 1.0,
        "n_timed_out": 0,
    }
    subjects = {
        "candidate": {"version": None, "suites": {"heldout-1": score, "undescribed": score}},
        "incumbent": {"version": "v0001"},
    }

    assert [SCORE] == scores_of_report(suites, subjects, source="report")


# -- orders -----------------------------------------------------------------------


def test_an_order_is_received_once(journal: Journal) -> None:
    """
    One that is taken up again after a crash is known.
    """
    assert journal.orders.receive("o1", OrderKind.PAUSE, "why")
    assert not journal.orders.receive("o1", OrderKind.PAUSE, "why")
    journal.orders.finish("o1", "obeyed")
