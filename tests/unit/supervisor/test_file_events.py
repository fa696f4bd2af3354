"""
An event wakes the loop and may tell a rename; without any the scan finds everything.
"""

import os
import shutil
import subprocess
import sys

import pytest
from structlog.testing import capture_logs
from watchdog.events import (
    FileClosedNoWriteEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileOpenedEvent,
)

from finetuned.process.wake import Wake
from finetuned.supervisor.inbox import file_events
from finetuned.supervisor.inbox.file_events import InboxEvents
from support.daemon import PACKAGE_PARENT


class PaperObserver:
    """
    Takes orders as the observer does, and watches nothing.
    """

    made: list["PaperObserver"] = []
    refuses = False

    def __init__(self, *, generate_full_events):
        self.full = generate_full_events
        self.folders = []
        self.running = False
        self.made.append(self)

    def schedule(self, handler, folder, *, recursive):
        if self.refuses:
            raise OSError("inotify watch limit reached")
        self.folders.append((folder, recursive))

    def start(self):
        self.running = True

    def stop(self):
        self.running = False

    def join(self, timeout):
        assert not self.running
        assert timeout > 0


@pytest.fixture
def observers(monkeypatch):
    monkeypatch.setattr(file_events, "InotifyObserver", PaperObserver)
    monkeypatch.setattr(PaperObserver, "made", [])
    monkeypatch.setattr(PaperObserver, "refuses", False)
    return PaperObserver.made


@pytest.fixture
def wake():
    return Wake()


@pytest.fixture
def events(context, wake, observers):
    return InboxEvents(context.layout.inbox, context.layout.control, wake)


def inbox(context, name):
    return str(context.layout.inbox / name)


@pytest.mark.parametrize(
    ("event", "wakes"),
    [
        (FileCreatedEvent("x"), True),
        (FileModifiedEvent("x"), True),
        (FileOpenedEvent("x"), False),
        (FileClosedNoWriteEvent("x"), False),
    ],
)
def test_a_change_wakes_the_loop_and_a_look_does_not(events, wake, event, wakes):
    """
    The daemon's own scan opens files: it must not wake itself for ever.
    """
    events.on_any_event(event)

    assert wakes == wake.is_set()
    assert set() == events.take_renamed()


def test_a_file_that_was_moved_in_is_told_once_by_its_path_below_the_inbox(context, events):
    """
    From wherever it came; taken means that it is no longer told.
    """
    events.on_any_event(FileMovedEvent("", inbox(context, "a.jsonl")))
    events.on_any_event(FileMovedEvent(inbox(context, ".b"), inbox(context, "high/b.jsonl")))

    assert {b"a.jsonl", b"high/b.jsonl"} == events.take_renamed()
    assert set() == events.take_renamed()


def test_what_was_moved_elsewhere_is_no_new_file(context, events, wake):
    """
    Out of the inbox, into control/, or into a folder whose name only begins like the inbox's.
    """
    layout = context.layout
    for target in ("", str(layout.control / "pause"), f"{layout.inbox}-old/a.jsonl"):
        events.on_any_event(FileMovedEvent(inbox(context, "a.jsonl"), target))

    assert set() == events.take_renamed()
    assert wake.is_set()


def test_a_name_that_is_no_text_is_told_as_its_bytes(context, events):
    """
    A scan knows files by bytes, and the two must be equal.
    """
    path = os.fsdecode(os.fsencode(context.layout.inbox) + b"/\xff\xfe.jsonl")
    events.on_any_event(FileMovedEvent("", path))

    assert {b"\xff\xfe.jsonl"} == events.take_renamed()


def test_the_folders_of_the_inbox_and_control_are_watched_each_by_itself(
    context, events, observers
):
    """
    Not recursively: processing/ changes at every claim. A missing folder is left out.
    """
    (context.layout.inbox / "low").rmdir()
    events.start()
    (observer,) = observers
    folders = ("", "high", "normal")

    assert observer.running
    assert observer.full
    assert [
        *((str(context.layout.inbox / name), False) for name in folders),
        (str(context.layout.control), False),
    ] == observer.folders
    events.stop()
    events.stop()
    assert not observer.running


def test_a_folder_that_was_replaced_is_watched_anew(context, events, wake, observers):
    """
    The kernel's watch belongs to the old one; what was dropped meanwhile is looked for at once.
    """
    events.start()
    events.follow()
    assert 1 == len(observers)
    assert not wake.is_set()
    context.layout.control.rename(context.layout.root / "old")
    context.layout.control.mkdir()
    events.follow()
    assert [False, True] == [observer.running for observer in observers]
    assert wake.is_set()
    events.follow()
    assert 2 == len(observers)


def test_if_nothing_can_be_watched_the_scan_has_to_do(events, observers, monkeypatch):
    """
    A container may have no watches left: that is a warning and no end.
    """
    monkeypatch.setattr(PaperObserver, "refuses", True)
    with capture_logs() as logs:
        events.start()
        events.follow()
    events.stop()

    assert ["watcher_unavailable"] == [entry["event"] for entry in logs]
    assert not observers[0].running


@pytest.mark.parametrize("kind", ["instances", "watches"])
def test_a_limit_of_the_kernel_ends_neither_the_daemon_nor_leaves_a_thread(tmp_path, kind):
    """
    The real observer, in a user namespace that grants no inotify instance, or no watch.
    """
    unshare = ["unshare", "--user", "--map-root-user"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*unshare, "true"], check=False).returncode
    ):
        pytest.skip("needs unshare and user namespaces")
    limit = f"echo 0 > /proc/sys/user/max_inotify_{kind}; exec "
    start = "\n".join(
        (
            "import sys, threading",
            "from finetuned.process.wake import Wake",
            "from pathlib import Path",
            "from finetuned.supervisor.inbox.file_events import InboxEvents",
            "folder = Path(sys.argv[1])",
            "events = InboxEvents(folder, folder, Wake())",
            "events.start()",
            "events.stop()",
            "print(threading.active_count())",
        )
    )
    found = subprocess.run(
        [*unshare, "sh", "-c", f'{limit} "$@"', "-", sys.executable, "-c", start, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert "watcher_unavailable" in found.stdout + found.stderr
    assert (0, "1") == (found.returncode, found.stdout.splitlines()[-1]), found.stderr
