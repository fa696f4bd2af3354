"""
``finetuned review`` under SIGKILL: a decision and its file, killed at their system calls.

The law: after the next start each approved answer is in exactly one file, whole, and nothing is
half decided. A sample of the calls is tried; FINETUNED_LONG=1 tries every one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from finetuned.core.review import ReviewState
from finetuned.files.review import ReviewQueue
from finetuned.layout import Layout
from finetuned.sources.approved import deliver
from support.feedback import exchange, make_root, rule
from support.kills import DONE, Step, calls_in, kill_before, needs_strace, traced

SAMPLE = 8
NOW = "2026-11-29T03:00:00.000Z"
ROWS = 3


@pytest.fixture
def folder() -> Iterator[Path]:
    """
    A folder in memory if there is one: a killed process loses nothing that it had written.
    """
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


def chosen(calls: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """
    Return those to be killed at: each that changes a name, and some of the others.
    """
    if os.environ.get("FINETUNED_LONG"):
        return calls
    names = [call for call in calls if call[0] in ("link", "linkat", "rename", "renameat2")]
    others = [call for call in calls if call not in names]
    spread = [others[(2 * n + 1) * len(others) // (2 * SAMPLE)] for n in range(SAMPLE)]
    return [*names, *spread]


def delivered(layout: Layout) -> list[str]:
    """
    Return the request ids of all rows of all files, also of one that the daemon has taken.
    """
    return sorted(
        orjson.loads(line)["metadata"]["request_id"]
        for path in layout.inbox.rglob("*.jsonl")
        for line in path.read_bytes().splitlines()
    )


def take(layout: Layout) -> None:
    """
    Be the daemon, which is quick: whatever has appeared is claimed.
    """
    for number, path in enumerate(sorted(layout.inbox.glob("*.jsonl")), start=1):
        (layout.processing / f"d{number:08d}").mkdir()
        path.rename(layout.processing / f"d{number:08d}" / path.name)


@needs_strace
@pytest.mark.timeout(1800 if os.environ.get("FINETUNED_LONG") else 300)
def test_a_killed_review_delivers_each_answer_once(folder: Path) -> None:
    """
    Whether or not the daemon took the file before the next start.
    """
    layout, pristine = make_root(folder / "root"), folder / "pristine"
    queue = ReviewQueue(layout.feedback)
    queue.record([exchange(n) for n in range(1, ROWS + 1)], threshold=0.9)
    for entry in queue.waiting()[:-1]:
        assert rule(queue, entry, f"right {entry.exchange.id}")
    queue.close()
    shutil.copytree(layout.root, pristine)

    def begin() -> Step:
        desk = ReviewQueue(layout.feedback)

        def step() -> None:
            rule(desk, desk.waiting()[0], "the last one")
            deliver(layout, desk, now=NOW)

        return step

    log = folder / "trace"
    assert DONE == traced(begin, log)
    calls = calls_in(log)
    assert ROWS == len(delivered(layout))
    for number, (call, ordinal) in enumerate(chosen(calls)):
        shutil.rmtree(layout.root)
        shutil.copytree(pristine, layout.root)
        kill_before(begin, log, call, ordinal)
        if number % 2:
            take(layout)
        finish(layout, (call, ordinal))
    print(f"\nkilled at {len(chosen(calls))} of {len(calls)} calls")


def finish(layout: Layout, where: tuple[str, int]) -> None:
    """
    Be the next session, and hold the law.
    """
    desk = ReviewQueue(layout.feedback)
    for entry in desk.waiting():
        assert rule(desk, entry, "the last one"), where
    deliver(layout, desk, now=NOW)
    states = {entry.review for entry in desk.entries("")}
    assert ([], {ReviewState.DELIVERED}) == (desk.unfinished(), states), where
    desk.close()
    assert [f"chatcmpl-{n}" for n in range(1, ROWS + 1)] == delivered(layout), where
    assert [] == [path for path in layout.inbox.iterdir() if path.name.startswith(".")], where
