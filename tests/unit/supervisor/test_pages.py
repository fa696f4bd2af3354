"""
Which page is made when; a page that fails costs nothing.
"""

import os
import sys
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from finetuned.supervisor import pages as module
from finetuned.supervisor.pages import DELAY_SECONDS, MAKE_SECONDS


class PaperProcess:
    """
    Remembers what was to be started, and ends as the test says.
    """

    def __init__(self, command, **options):
        self.command, self.options, self.status = command, options, None

    def poll(self):
        return self.status

    def kill(self):
        self.status = -9

    def wait(self):
        return self.status


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def started(monkeypatch):
    found = []

    def start(command, **options):
        found.append(PaperProcess(command, **options))
        return found[-1]

    monkeypatch.setattr(module.subprocess, "Popen", start)
    return found


def versions(started):
    return [process.command[-1] for process in started]


def test_a_page_waits_until_nobody_else_wants_the_processor(context, started, clock):
    """
    After a verdict the next file's start comes first.
    """
    context.pages.ask("v0001")
    clock[0] += DELAY_SECONDS - 0.1
    context.pages.look()
    assert [] == started
    clock[0] += 0.1
    context.pages.look()

    assert ["v0001"] == versions(started)


def test_one_page_is_made_at_a_time_in_the_order_of_the_verdicts(context, started, clock):
    """
    Each of them loads matplotlib.
    """
    for version in ("v0001", "v0002"):
        context.pages.ask(version)
    clock[0] += DELAY_SECONDS
    context.pages.look()
    context.pages.look()
    assert ["v0001"] == versions(started)
    started[0].status = 0
    context.pages.look()

    assert ["v0001", "v0002"] == versions(started)


def test_a_page_that_fails_is_logged_once_and_the_next_is_made(context, started, clock):
    """
    By its version: it can be made again by hand at any time.
    """
    for version in ("v0001", "v0002"):
        context.pages.ask(version)
    clock[0] += DELAY_SECONDS
    context.pages.look()
    started[0].status = 1
    with capture_logs() as logs:
        context.pages.look()
        started[1].status = 2
        context.pages.look()
        context.pages.look()

    assert [("page_not_made", "v0001", 1), ("page_not_made", "v0002", 2)] == [
        (entry["event"], entry["version"], entry["exit_status"]) for entry in logs
    ]
    assert ["v0001", "v0002"] == versions(started)


def test_a_leaving_daemon_begins_every_page_at_once(context, started, clock):
    """
    Their processes outlive it; a second call finds nothing to do.
    """
    for version in ("v0001", "v0002"):
        context.pages.ask(version)
    context.pages.finish()
    context.pages.finish()

    assert ["v0001", "v0002"] == versions(started)


def test_a_page_that_cannot_be_started_is_left_out(context, started, clock, monkeypatch):
    """
    The error is the loop's to tell; the next page is tried.
    """
    for version in ("v0001", "v0002"):
        context.pages.ask(version)
    clock[0] += DELAY_SECONDS

    def refuse(*_, **__):
        raise OSError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(module.subprocess, "Popen", refuse)
        with pytest.raises(OSError, match="out of memory"):
            context.pages.look()
    context.pages.look()

    assert ["v0002"] == versions(started)


def test_a_page_is_made_by_this_python_at_low_priority_for_this_root(context, started, clock):
    """
    With the cache of matplotlib in a folder that can be written.
    """
    context.pages.ask("v0001")
    context.pages.finish()
    (process,) = started
    folder = context.layout.reports

    assert [
        *("nice", "-n", "15", sys.executable, "-m", "finetuned.reports.page"),
        *("--root", os.path.realpath(context.layout.root), "v0001"),
    ] == process.command
    assert folder == process.options["cwd"]
    assert folder.is_dir()
    assert str(folder / ".matplotlib") == process.options["env"]["MPLCONFIGDIR"]


def test_a_page_that_is_never_done_is_given_up(context, started, clock):
    """
    The pages of later versions would wait for ever.
    """
    context.pages.ask("v0001")
    context.pages.ask("v0002")
    clock[0] += DELAY_SECONDS
    context.pages.look()
    clock[0] += MAKE_SECONDS
    context.pages.look()
    assert ["v0001"] == versions(started)
    clock[0] += 0.1
    with capture_logs() as logs:
        context.pages.look()

    assert ["v0001", "v0002"] == versions(started)
    assert [("page_not_made", "v0001", -9)] == [
        (e["event"], e["version"], e["exit_status"]) for e in logs
    ]
