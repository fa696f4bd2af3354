"""
What the daemon tells: once, together, and without ever waiting for a server.
"""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import time
from datetime import datetime, timedelta
from types import SimpleNamespace

import orjson
import pytest
from structlog.testing import capture_logs

from finetuned.core.job import JobEvent
from finetuned.core.promotion import PromotionCause
from finetuned.files.tables.jobs import JobFailure
from finetuned.supervisor import reporting
from finetuned.supervisor.reporting import Reporter
from support.desk import configure
from support.journals import TO_EVALUATING, add_job, promote_job


@pytest.fixture
def children(monkeypatch):
    """
    The children that were started; none of them is a process.
    """
    started = []

    def popen(command, **options):
        child = SimpleNamespace(command=command, status=None, poll=lambda: child.status)
        started.append(child)
        return child

    monkeypatch.setattr(
        reporting, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL)
    )
    return started


def reject(context, number):
    """
    Record a job whose candidate was rejected.
    """
    job = add_job(context.journal, f"d{number:08d}", f"{number:016x}")
    for event in TO_EVALUATING:
        context.journal.jobs.move(job, event)
    context.journal.conclude(
        job, JobEvent.REJECT, version=f"v{number:04d}", parent=None, reason="old_accuracy: fell"
    )


def subjects(context):
    """
    Return the subjects of the messages that were written.
    """
    found = context.journal.messages
    numbers = range(1, 1 + max((row.message for row in found.waiting()), default=0))
    return [found.get(number).subject for number in numbers]


def test_three_hundred_rejections_are_one_message(context, children):
    """
    They are gathered, and each is told once: a second look has nothing to tell.
    """
    configure(context, "report", to=("mail",), at_once=("rejected",))
    reporter = Reporter(context)
    with context.journal.together():
        for number in range(1, 301):
            reject(context, number)
    now = datetime.fromisoformat(context.journal.notices.untold()[0].at)
    now = now.astimezone().replace(tzinfo=None) + timedelta(seconds=29)
    reporter.look(now=now)
    assert [] == subjects(context)  # more may come

    reporter.look(now=now + timedelta(seconds=60))
    reporter.look(now=now + timedelta(seconds=120))
    (subject,) = subjects(context)
    assert subject.endswith(": 300 rejected")
    body = orjson.loads(context.journal.messages.get(1).body)
    assert "v0001, d00000001.jsonl: old_accuracy: fell" in body["text"]
    assert "290 more rejected" in body["text"]
    assert 1 == len(children)
    assert "finetuned.reports.daily.post" in children[0].command


def test_what_nobody_asked_for_is_never_told(context, children):
    """
    Turned on later, at_once does not tell what happened before.
    """
    reporter, now = Reporter(context), datetime.now()
    reject(context, 1)
    reporter.look(now=now)
    configure(context, "report", to=("mail",), at_once=("rejected", "taken_back", "failed"))
    reporter.look(now=now + timedelta(days=1))

    assert [] == subjects(context)
    assert [] == children


def test_a_version_taken_back_and_a_failed_job_are_told(context, children):
    """
    The notice is recorded with the decision, so that a kill between the two loses none.
    """
    configure(context, "report", to=("mail",), at_once=("taken_back", "failed"))
    promote_job(context.journal, "d00000001", "1" * 16, "v0001")
    context.journal.put_in_use(None, PromotionCause.WATCH)
    job = add_job(context.journal, "d00000002", "2" * 16)
    context.journal.jobs.move(job, JobEvent.START)
    why = JobFailure("OutOfMemory", "no memory", 3)
    context.journal.jobs.move(job, JobEvent.FAIL, failure=why)
    Reporter(context).look(now=datetime.now() + timedelta(seconds=60))

    (subject,) = subjects(context)
    assert subject.endswith(": 1 taken back, 1 failed")
    text = orjson.loads(context.journal.messages.get(1).body)["text"]
    assert "v0001 failed after its promotion" in text
    assert "no memory" in text


def test_a_full_disk_and_a_bad_configuration_are_told_after_a_minute(
    context, children, monkeypatch
):
    """
    A state that a person must end is told once it lasted, and once only.
    """
    clock = [1000.0]
    monkeypatch.setattr(reporting, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    configure(context, "report", to=("mail",), at_once=("disk_low", "waiting"))
    context.board.update(waiting_reason="disk_full: 1 MiB free", config_error="r must be >= 1")
    reporter, now = Reporter(context), datetime.now()
    for second in range(0, 200, 10):
        clock[0] = 1000.0 + second
        reporter.look(now=now + timedelta(seconds=second))

    (subject,) = subjects(context)
    assert subject.endswith(": 1 disk low, 1 waiting for a person")


def test_the_daily_report_is_asked_for_once_it_is_due(context, children):
    """
    Off by default; on, a child makes it. Sent by a timer, the daemon starts nothing.
    """
    three = datetime(2026, 11, 17, 3, 0)
    Reporter(context).look(now=three)
    assert [] == children
    configure(context, "report", daily_at="03:00", sent_by="timer")
    Reporter(context).look(now=three)
    assert [] == children
    configure(context, "report", daily_at="03:00", sent_by="daemon")
    Reporter(context).look(now=three - timedelta(minutes=1))
    assert [] == children
    Reporter(context).look(now=three)
    assert 1 == len(children)


def test_a_child_that_fails_is_shown_and_tried_again_later(context, children, monkeypatch):
    """
    Not every second: a report that cannot be made would fill the log.
    """
    clock = [1000.0]
    monkeypatch.setattr(reporting, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    configure(context, "report", daily_at="03:00")
    reporter, three = Reporter(context), datetime(2026, 11, 17, 3, 0)
    reporter.look(now=three)
    children[0].status = 70
    with capture_logs() as logs:
        for _ in range(5):
            reporter.look(now=three)
    assert 1 == len(children)
    assert ["report_process_failed"] == [entry["event"] for entry in logs]
    assert "70" in context.board.fields["report"]["problem"]
    clock[0] += reporting.PAUSE_SECONDS
    reporter.look(now=three)
    assert 2 == len(children)


def test_a_message_that_did_not_arrive_holds_no_other_one_up(context, children):
    """
    Each has its own time to be tried again; the next child starts when one is due.
    """
    configure(context, "report", to=("mail",))
    reporter = Reporter(context)
    for number in (1, 2):
        context.journal.messages.add("told", "{}", None, ["mail"])
        reporter.look(now=datetime.now())
        assert number == len(children)
        children[-1].status = 1


def test_nothing_that_the_journal_refuses_reaches_the_loop(context, children, monkeypatch):
    """
    Logged once; training goes on.
    """
    configure(context, "report", to=("mail",), at_once=("rejected",))
    reporter = Reporter(context)

    def refuse():
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(context.journal.notices, "untold", refuse)
    with capture_logs() as logs:
        for _ in range(3):
            reporter.look(now=datetime.now())
    assert ["reporting_refused"] == [entry["event"] for entry in logs]


def test_a_server_that_hangs_does_not_hold_the_loop_up(context, monkeypatch):
    """
    The real child, a server that accepts and is silent: looks stay quick, and the try is counted.
    """
    pytest.importorskip("apprise")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(200)
        port = silent.getsockname()[1]
        monkeypatch.setenv("FINETUNED_REPORT_TEAM", f"json://127.0.0.1:{port}/x")
        configure(context, "report", to=("team",))
        (context.layout.root / "config.toml").write_text('[report]\nto = ["team"]\n')
        number = context.journal.messages.add(
            "told", '{"text": "a", "markdown": "a", "short": "a", "html": null}', None, ["team"]
        )
        reporter = Reporter(context)
        began = time.monotonic()
        reporter.look(now=datetime.now())
        assert time.monotonic() - began < 5
        with silent.accept()[0] as taken:
            taken.recv(1)
            (row,) = context.journal.messages.waiting()
            assert (number, 1) == (row.message, row.attempts)
            began = time.monotonic()
            for _ in range(20):
                reporter.look(now=datetime.now())
            assert time.monotonic() - began < 5
            assert reporter._child is not None
            reporter._child.kill()
            reporter._child.wait()
