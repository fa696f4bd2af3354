"""
What runs use is in the journal while they go on, so that whoever is killed loses seconds.
"""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from finetuned.supervisor import usage as module
from finetuned.supervisor.usage import LOOK_SECONDS, UsageRecorder
from finetuned.telemetry.energy import Spent
from support.journals import open_journal


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def spent(monkeypatch):
    """
    What each look finds, by process; 1 second and 10 joules unless a test says otherwise.
    """
    found = {}

    class PaperMeter:
        def __init__(self, pid):
            self.pid = pid

        def look(self):
            return found.get(self.pid, Spent(1.0, 10.0, None, 0))

    monkeypatch.setattr(module, "RunMeter", PaperMeter)
    return found


@pytest.fixture
def journal(tmp_path):
    journal = open_journal(tmp_path)
    yield journal
    journal.close()


def run(run_id, pid=7):
    return SimpleNamespace(id=run_id, worker=SimpleNamespace(pid=pid))


def turns(recorder, runs, clock, seconds, step=0.5):
    for _ in range(round(seconds / step)):
        recorder.look(runs)
        clock[0] += step


@pytest.mark.usefixtures("spent")
def test_a_run_whose_daemon_is_killed_is_charged_all_but_some_seconds(journal, clock):
    """
    Nothing is called at the end: the journal alone is left, as after kill -9.
    """
    recorder = UsageRecorder(journal)
    turns(recorder, [run("r1")], clock, 61)

    found = journal.usage.all()["r1"]
    assert 60 - 2 * LOOK_SECONDS <= found.seconds <= 61
    assert found.cpu_seconds > 0
    assert 10 * found.cpu_seconds == found.cpu_joules
    assert (None, 0) == (found.gpu_joules, found.gpus)


@pytest.mark.usefixtures("spent")
def test_a_short_run_is_seen_nearly_whole(journal, clock):
    """
    A young run is looked at at every turn, and its end is written at once.
    """
    recorder = UsageRecorder(journal)
    turns(recorder, [run("r1")], clock, 3)
    recorder.look([])

    found = journal.usage.all()["r1"]
    assert 2.5 == found.seconds
    assert found.cpu_seconds >= 5.0


@pytest.mark.usefixtures("spent")
def test_runs_beside_each_other_are_told_apart(journal, clock):
    """
    A validation may go on beside a training; a run that ended is not charged any more.
    """
    recorder = UsageRecorder(journal)
    turns(recorder, [run("r1"), run("r2", 8)], clock, 10)
    turns(recorder, [run("r1")], clock, 20)

    found = journal.usage.all()
    assert found["r2"].seconds <= 10
    assert found["r1"].seconds >= 20


def test_a_counter_that_failed_once_leaves_no_wrong_sum(journal, clock, spent):
    """
    Half of a run's energy is not its energy.
    """
    recorder = UsageRecorder(journal)
    turns(recorder, [run("r1")], clock, 10)
    spent[7] = Spent(1.0, None, None, 0)
    turns(recorder, [run("r1")], clock, 10)
    spent[7] = Spent(1.0, 10.0, None, 0)
    turns(recorder, [run("r1")], clock, 10)

    assert journal.usage.all()["r1"].cpu_joules is None


def test_a_gpu_that_works_later_counts_from_then_on(journal, clock, spent):
    """
    A worker loads libraries before it uses a GPU.
    """
    recorder = UsageRecorder(journal)
    turns(recorder, [run("r1")], clock, 10)
    spent[7] = Spent(1.0, 10.0, 50.0, 1)
    turns(recorder, [run("r1")], clock, 30)

    found = journal.usage.all()["r1"]
    assert 1 == found.gpus
    assert found.gpu_joules is not None
    assert 0 == found.gpu_joules % 50
    assert found.gpu_joules >= 200


@pytest.mark.usefixtures("spent")
def test_what_the_journal_refuses_is_said_once_and_written_later(journal, clock, monkeypatch):
    """
    A full disk stops no training and loses no second of it.
    """
    real, refused = journal.usage.put, []

    def put(rows):
        if len(refused) < 3:
            refused.append(rows)
            raise sqlite3.OperationalError("database or disk is full")
        real(rows)

    monkeypatch.setattr(journal.usage, "put", put)
    recorder = UsageRecorder(journal)
    with capture_logs() as logs:
        turns(recorder, [run("r1")], clock, 60)

        assert ["usage_not_recorded"] == [line["event"] for line in logs]
        assert journal.usage.all()["r1"].seconds >= 50
        refused.clear()  # and again, which is another problem
        turns(recorder, [run("r1")], clock, 60)

    assert 2 * ["usage_not_recorded"] == [line["event"] for line in logs]


def test_a_worker_that_is_replaced_is_measured_from_then_on(journal, clock, spent):
    """
    The one that had waited died before it took up the run.
    """
    recorder = UsageRecorder(journal)
    spent[8] = Spent(2.0, None, None, 0)
    spent[7] = Spent(0.0, None, None, 0)
    turns(recorder, [run("r1")], clock, 1)
    turns(recorder, [run("r1", 8)], clock, 10)

    assert journal.usage.all()["r1"].cpu_seconds >= 2
