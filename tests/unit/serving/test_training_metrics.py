"""
What metrics say of the training side, from real status files and journals.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from finetuned.core.job import JobEvent
from finetuned.core.promotion import PromotionCause
from finetuned.files.journal import Journal
from finetuned.files.status_file import SILENT_SECONDS
from finetuned.layout import Layout
from finetuned.serving.gateway import metric_list as m
from finetuned.serving.gateway import training_metrics
from finetuned.serving.gateway.metric_list import Metric, Sample
from finetuned.serving.gateway.training_metrics import TrainingSource, status_samples
from support.journals import TO_EVALUATING, add_job, promote_job, release
from support.training_status import write_status

NOW_ONLY = (
    m.PHASE,
    m.PAUSED,
    m.STEP,
    m.LOSS,
    m.TOKENS_PER_SECOND,
    m.ETA,
    m.INBOX,
    m.CPU,
    m.GPU_USE,
)
"""Some of the numbers that are true only while the daemon runs."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path)
    for folder in found.folders():
        folder.mkdir(parents=True, exist_ok=True)
    return found


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def by_metric(samples: tuple[Sample, ...]) -> dict[Metric, float | dict[tuple[str, ...], float]]:
    """
    Return the value of each metric, by labels if it has some.
    """
    found: dict[Metric, Any] = {}
    for sample in samples:
        if sample.labels:
            found.setdefault(sample.metric, {})[sample.labels] = sample.value
        else:
            found[sample.metric] = sample.value
    return found


def test_a_daemon_that_trains_is_shown_with_its_numbers(layout: Layout) -> None:
    """
    Percent become ratios; what a card does not report is absent.
    """
    write_status(layout)
    found = by_metric(tuple(status_samples(layout)))

    assert 1 == found[m.DAEMON_UP]
    assert {("training",): 1} == found[m.PHASE]
    assert (120, 400, 0.75) == (found[m.STEP], found[m.LAST_STEP], found[m.LOSS])
    assert (0.8, 3, 0.5) == (found[m.ACCURACY], found[m.INBOX], found[m.CPU])
    assert {("0",): 0.9, ("1",): 0} == found[m.GPU_USE]
    assert {("0",): 200} == found[m.GPU_POWER]
    assert 0 <= found[m.STATUS_AGE] < 5  # type: ignore[operator]


def test_without_a_job_there_is_no_loss(layout: Layout) -> None:
    """
    The status keeps the loss of the last job; it is not what happens now.
    """
    write_status(layout, job=None, phase="idle")
    found = by_metric(tuple(status_samples(layout)))

    assert (1, 120) == (found[m.DAEMON_UP], found[m.STEP])
    assert not {m.LOSS, m.LAST_STEP, m.ETA, m.ACCURACY} & found.keys()


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        # Process 1 began before that heartbeat, as the daemon that is silent did.
        (lambda: {"heartbeat_at": ago(SILENT_SECONDS + 5), "pid": 1}, "silent"),
        (lambda: {"pid": 2**22 + 1}, "died"),
        (lambda: {"phase": "stopped"}, "stopped"),
        (lambda: {"heartbeat_at": "soon"}, "died"),
    ],
)
def test_a_number_that_is_not_true_now_is_not_shown(
    layout: Layout, changes: Callable[[], dict[str, object]], state: str
) -> None:
    """
    A graph of a dead daemon ends; it does not go on as a straight line.
    """
    write_status(layout, **changes())
    found = by_metric(tuple(status_samples(layout)))

    assert [] == [metric.name for metric in NOW_ONLY if metric in found]
    assert 0 == found[m.DAEMON_UP]
    assert 1 == found[m.DAEMON_STATE][state,]  # type: ignore[index]
    assert 1 == sum(found[m.DAEMON_STATE].values())  # type: ignore[union-attr]


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"{}"])
def test_no_status_or_a_broken_one_is_said(layout: Layout, content: bytes | None) -> None:
    """
    The page is there all the same.
    """
    if content is not None:
        layout.status_file.write_bytes(content)
    found = by_metric(tuple(status_samples(layout)))

    assert float(content == b"{}") == found[m.STATUS_READABLE]
    assert 0 == found[m.DAEMON_UP]
    assert m.STATUS_AGE not in found


def test_a_huge_status_is_not_read(layout: Layout) -> None:
    """
    A scrape costs the same whatever lies there.
    """
    with layout.status_file.open("wb") as file:
        file.truncate(training_metrics.STATUS_BYTES + 1)

    assert 0 == by_metric(tuple(status_samples(layout)))[m.STATUS_READABLE]


@pytest.mark.parametrize(
    "changes", [{"gpus": [{}]}, {"queue": 3}, {"host": "x"}, {"gpus": "abc"}, {"loss": "nan"}]
)
def test_fields_of_strange_types_end_no_scrape(layout: Layout, changes: dict[str, object]) -> None:
    """
    Another program, or an older version, may have written the file.
    """
    write_status(layout, **changes)
    found = by_metric(tuple(status_samples(layout)))

    assert 1 == found[m.DAEMON_UP]
    assert isinstance(found.get(m.LOSS, 0.0), float)


def test_a_phase_that_is_not_known_becomes_no_label(layout: Layout) -> None:
    """
    A label comes from a bounded set.
    """
    write_status(layout, phase="dreaming")

    assert {("other",): 1} == by_metric(tuple(status_samples(layout)))[m.PHASE]


def test_a_full_disk_and_a_diverged_run_are_said(layout: Layout) -> None:
    """
    In the daemon's own words, so that no alert has to guess a limit.
    """
    write_status(layout, waiting_reason="disk_full: 3 MiB free", error_type="Diverged")
    found = by_metric(tuple(status_samples(layout)))

    assert (1, 1) == (found[m.DISK_WAIT], found[m.DIVERGED])


def reject_job(journal: Journal, key: str, dataset_id: str, version: str) -> None:
    """
    Record a job whose candidate was rejected.
    """
    job_id = add_job(journal, key, dataset_id)
    for event in TO_EVALUATING:
        journal.jobs.move(job_id, event)
    parent = journal.promotions.incumbent()
    journal.conclude(job_id, JobEvent.REJECT, version=version, parent=parent, reason="worse")


def journal_numbers(layout: Layout) -> dict[Metric, Any]:
    return by_metric(TrainingSource(layout).samples())


def test_the_journal_is_counted_while_its_owner_has_it_open(layout: Layout) -> None:
    """
    Verdicts, rollbacks and the queue are true whether or not the daemon runs.
    """
    journal = Journal(layout.journal)
    promote_job(journal, "d1", "a" * 16, "v0001")
    promote_job(journal, "d2", "b" * 16, "v0002")
    reject_job(journal, "d3", "c" * 16, "v0003")
    reject_job(journal, "d4", "d" * 16, "v0004")
    release(journal, "v0001", PromotionCause.WATCH)
    add_job(journal, "d5", "e" * 16)
    found = journal_numbers(layout)
    journal.close()

    assert 1 == found[m.JOURNAL_READABLE]
    assert {("promoted",): 2, ("held",): 0, ("rejected",): 2} == found[m.VERDICTS]
    assert 2 == found[m.REJECTED_RUN]
    assert (2, 1, 0) == tuple(found[m.PROMOTIONS][w,] for w in ("gate", "watch", "rollback"))
    assert (1, 2, 0) == tuple(found[m.JOBS][w,] for w in ("queued", "rejected", "training"))
    assert 5 == found[m.DATASETS]["accepted",]


def test_the_journal_is_counted_again_when_it_has_changed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    And only then.
    """
    monkeypatch.setattr(training_metrics, "READ_SECONDS", 0.0)
    journal = Journal(layout.journal)
    add_job(journal, "d1", "a" * 16)
    source = TrainingSource(layout)
    first = by_metric(source.samples())
    monkeypatch.setattr(training_metrics, "COUNT_SECONDS", -1.0)  # a count would fail
    assert first[m.JOBS] == by_metric(source.samples())[m.JOBS]
    monkeypatch.undo()
    monkeypatch.setattr(training_metrics, "READ_SECONDS", 0.0)
    add_job(journal, "d2", "b" * 16)
    second = by_metric(source.samples())
    journal.close()

    assert (1, 2) == (first[m.JOBS]["queued",], second[m.JOBS]["queued",])  # type: ignore[index]


def test_many_scrapes_cost_one_reading(layout: Layout) -> None:
    """
    Somebody who asks a hundred times a second reads no file a hundred times.
    """
    source = TrainingSource(layout)

    assert source.samples() is source.samples()


def nothing(layout: Layout) -> None:
    return None


def garbage(layout: Layout) -> None:
    layout.journal.write_bytes(b"not a journal" * 1000)


def later(layout: Layout) -> None:
    Journal(layout.journal).close()
    with sqlite3.connect(layout.journal) as db:
        db.execute("UPDATE settings SET value = '999' WHERE key = 'schema_version'")


def folder(layout: Layout) -> None:
    layout.journal.mkdir()


@pytest.mark.parametrize("make", [nothing, garbage, later, folder])
def test_a_journal_that_cannot_be_read_is_said_and_has_no_numbers(
    layout: Layout, make: Callable[[Layout], None]
) -> None:
    """
    0 verdicts would be a lie.
    """
    make(layout)
    found = journal_numbers(layout)

    assert 0 == found[m.JOURNAL_READABLE]
    assert m.VERDICTS not in found


def test_a_count_that_takes_too_long_is_given_up(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A scrape has a bounded cost on a journal of any size.
    """
    with Journal(layout.journal).together():
        pass
    with sqlite3.connect(layout.journal) as db:
        rows = ((f"v{n:06d}", "promoted", "2026") for n in range(5000))
        db.executemany("INSERT INTO versions (id, verdict, created_at) VALUES (?, ?, ?)", rows)
    monkeypatch.setattr(training_metrics, "COUNT_SECONDS", -1.0)

    assert 0 == journal_numbers(layout)[m.JOURNAL_READABLE]


def test_reading_changes_no_file(layout: Layout) -> None:
    """
    The journal is opened read-only, and its owner can write at the same time.
    """
    journal = Journal(layout.journal)
    add_job(journal, "d1", "a" * 16)
    before = layout.journal.read_bytes()
    TrainingSource(layout).samples()
    assert before == layout.journal.read_bytes()
    add_job(journal, "d2", "b" * 16)
    journal.close()
