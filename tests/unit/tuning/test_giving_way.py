"""
When trials wait for the daemon: it works, or a file was dropped and somebody will take it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from finetuned.layout import Layout
from finetuned.tuning.giving_way import SETTLED_SECONDS, GivingWay, why_to_wait


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    for folder in layout.folders():
        folder.mkdir(parents=True)
    return layout


def say(layout: Layout, phase: str, *, pid: int = 0) -> None:
    status = {
        "phase": phase,
        "pid": pid or os.getpid(),
        "heartbeat_at": datetime.now(UTC).isoformat(),
    }
    layout.status_file.write_text(json.dumps(status))


def why(layout: Layout) -> str | None:
    return why_to_wait(layout, datetime.now(UTC))


@pytest.mark.parametrize(
    ("phase", "waits"),
    [
        ("training", True),
        ("validating", True),
        ("evaluating_candidate", True),
        ("asking_canaries", True),
        ("idle", False),
        ("paused", False),
        ("stopped", False),
    ],
)
def test_trials_wait_while_the_daemon_computes(layout: Layout, phase: str, waits: bool) -> None:
    """
    And not while it does nothing.
    """
    say(layout, phase)

    assert waits == (why(layout) is not None)


@pytest.mark.parametrize("place", ["a.jsonl", "high/a.jsonl", "low/a.jsonl"])
def test_trials_wait_for_a_file_from_the_moment_it_is_dropped(layout: Layout, place: str) -> None:
    """
    Before the daemon has noticed it; what the daemon never takes is not waited for.
    """
    say(layout, "idle")
    (layout.inbox / "notes.txt").touch()
    (layout.inbox / ".hidden.jsonl").touch()
    assert why(layout) is None
    (layout.inbox / place).write_text("{}\n")

    assert f"{place} was dropped" == why(layout)


def test_a_file_is_not_waited_for_if_nobody_takes_it(layout: Layout) -> None:
    """
    Without a daemon, or with one that is paused, a search would wait for ever.
    """
    (layout.inbox / "a.jsonl").write_text("{}\n")
    assert why(layout) is None
    say(layout, "paused")
    assert why(layout) is None
    say(layout, "training", pid=2**22 - 1)
    assert why(layout) is None
    layout.status_file.write_text("{")
    assert why(layout) is None


def test_trials_go_on_once_the_daemon_has_been_idle_for_a_while(layout: Layout) -> None:
    """
    Not in the moment between validation and training.
    """
    say(layout, "training")
    giving_way = GivingWay(layout)
    threading.Timer(0.3, say, (layout, "idle")).start()
    said: list[str] = []
    began = time.monotonic()
    giving_way.wait(said.append)

    assert 0.3 + SETTLED_SECONDS - 0.1 <= time.monotonic() - began
    assert "the daemon is busy: training" == said[0]
    assert giving_way.waited_seconds > SETTLED_SECONDS


def test_nothing_is_waited_for_if_the_daemon_needs_nothing(layout: Layout) -> None:
    """
    A search alone on its machine loses no time.
    """
    began = time.monotonic()
    GivingWay(layout).wait(lambda why: None)

    assert time.monotonic() - began < SETTLED_SECONDS / 2
