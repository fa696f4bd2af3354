"""
The status file is written at every change, at intervals between, and a full disk costs nothing.
"""

from types import SimpleNamespace

import orjson
import pytest
from structlog.testing import capture_logs

from finetuned.core.books import RowCounts
from finetuned.core.promotion import PromotionCause
from finetuned.supervisor import publish as module
from finetuned.supervisor.inbox.intake import Intake
from finetuned.supervisor.promotion_watch import PromotionWatch
from finetuned.supervisor.publish import (
    HOST_SECONDS,
    STATUS_SECONDS_BUSY,
    STATUS_SECONDS_IDLE,
    Publisher,
)
from finetuned.supervisor.runs.jobs import JobRunner
from support.journals import add_job, promote_job


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def readings(monkeypatch):
    """
    The worker of each reading of the machine.
    """
    found = []
    monkeypatch.setattr(
        module, "host_reading", lambda _, *, worker_pid: found.append(worker_pid) or {}
    )
    monkeypatch.setattr(module, "gpu_readings", list)
    return found


@pytest.fixture
def told(monkeypatch):
    """
    What systemd was told.
    """
    found = []
    monkeypatch.setattr(module.notify, "status", found.append)
    return found


@pytest.fixture
def writes(context, monkeypatch):
    """
    Whether each write was made durable.
    """
    found, real = [], context.board.write

    def write(*, durable):
        found.append(durable)
        real(durable=durable)

    monkeypatch.setattr(context.board, "write", write)
    return found


@pytest.fixture
def jobs(context, workers):
    return JobRunner(context)


@pytest.fixture
def publisher(context, jobs, clock, readings, told, writes):
    return Publisher(context, jobs, Intake(context), PromotionWatch(context))


def published(context):
    return orjson.loads(context.layout.status_file.read_bytes())


def test_a_change_is_written_at_once_and_durably(context, publisher, writes, told):
    """
    Without one, nothing is written before its time; systemd is told of changes only.
    """
    publisher.publish(None, stopping=False)
    publisher.publish(None, stopping=False)
    assert [True] == writes
    publisher.publish("disk_full: ...", stopping=False)

    assert [True, True] == writes
    assert ("waiting", "disk_full: ...") == tuple(
        published(context)[name] for name in ("phase", "waiting_reason")
    )
    assert ["idle: None", "waiting: disk_full: ..."] == told


def test_what_the_head_has_learnt_beyond_the_release_is_as_new_as_the_release(context, publisher):
    """
    A person who takes a version back sees at once how much the head is ahead.
    """
    for n in (1, 2):
        promote_job(context.journal, f"d0000000{n}", f"{n}" * 16, f"v000{n}")
    publisher.publish(None, stopping=False)
    assert 0 == published(context)["beyond_release"]["versions"]
    context.journal.put_in_use("v0001", PromotionCause.ROLLBACK)
    publisher.publish(None, stopping=False)

    found = published(context)
    assert ("v0001", "v0002") == (found["version"], found["head"])
    assert 1 == found["beyond_release"]["versions"]


def test_an_idle_daemon_shows_a_sign_of_life_at_intervals(publisher, writes, clock):
    """
    Not durable: after a power cut the one before is as good.
    """
    publisher.publish(None, stopping=False)
    clock[0] += STATUS_SECONDS_IDLE - 0.01
    publisher.publish(None, stopping=False)
    assert [True] == writes
    clock[0] += 0.02
    publisher.publish(None, stopping=False)

    assert [True, False] == writes


def test_a_busy_daemon_is_shown_more_often(context, publisher, jobs, writes, clock):
    """
    About once a second, because somebody watches the steps.
    """
    jobs.start_training(add_job(context.journal, "d00000001", "a" * 16))
    for _ in range(3):
        publisher.publish(None, stopping=False)
        clock[0] += STATUS_SECONDS_BUSY + 0.01

    assert [True, False, False] == writes


def test_the_machine_is_read_less_often_than_the_status_is_written(
    context, publisher, jobs, readings, clock, workers
):
    """
    A reading costs more than a write; it is that of the busy worker.
    """
    publisher.publish(None, stopping=False)
    jobs.start_training(add_job(context.journal, "d00000001", "a" * 16))
    publisher.publish(None, stopping=False)
    assert [None] == readings
    clock[0] += HOST_SECONDS
    publisher.publish(None, stopping=False)

    assert [None, workers[0].pid] == readings


@pytest.mark.parametrize("field", ["last_command", "config_error"])
def test_what_a_person_waits_for_is_written_at_once(context, publisher, writes, field):
    """
    The answer to an order, and the complaint about an edit.
    """
    publisher.publish(None, stopping=False)
    context.board.update(**{field: "news"})
    publisher.publish(None, stopping=False)

    assert [True, True] == writes
    assert "news" == published(context)[field]


def test_a_refused_write_is_logged_once_and_tried_at_every_turn(
    context, publisher, monkeypatch, clock
):
    """
    The last snapshot stands; the change is not taken for written.
    """
    publisher.publish(None, stopping=False)
    real = context.board.write

    def refuse(*, durable):
        raise OSError("disk full")

    monkeypatch.setattr(context.board, "write", refuse)
    with capture_logs() as logs:
        for _ in range(3):
            publisher.publish("disk_full: ...", stopping=False)
    assert ["status_not_written"] == [entry["event"] for entry in logs]
    assert "idle" == published(context)["phase"]
    monkeypatch.setattr(context.board, "write", real)
    publisher.publish("disk_full: ...", stopping=False)
    assert "waiting" == published(context)["phase"]
    monkeypatch.setattr(context.board, "write", refuse)
    with capture_logs() as logs:
        assert not publisher.write(durable=True)
    assert ["status_not_written"] == [entry["event"] for entry in logs]


def test_every_status_that_is_written_has_the_books_of_that_moment(context, publisher, clock):
    """
    Also between two turns that change nothing else.
    """
    add_job(context.journal, "d00000001", "a" * 16)
    counts = RowCounts(read=10, refused=1, held_out=2, reserved=1, to_train=6)
    context.journal.datasets.note_counts("d00000001", counts)
    publisher.write(durable=False)
    books = orjson.loads(context.layout.status_file.read_bytes())["books"]

    assert (True, 10, 6, 3, 1) == (
        books["balanced"],
        books["dropped"],
        books["waiting"],
        books["held_out"],
        books["refused"],
    )
