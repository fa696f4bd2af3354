"""
Writing on one thread while another goes on: at most one write, and nothing is lost of it.

That a snapshot is of its moment is tested with the trainer's tensors
(tests/integration/test_background_save.py).
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetuned.training.background import BackgroundSaver

DAEMON = Path(__file__).resolve().parents[2] / "daemon"


class Gate:
    """
    A writer that reports that it has begun, and waits to be let on.
    """

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()

    def write(self, snapshot: Any) -> Any:
        self.begun.set()
        assert self.open.wait(20)
        return snapshot


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def saver() -> BackgroundSaver[Any, Any]:
    return BackgroundSaver()


def until_idle(saving: BackgroundSaver[Any, Any]) -> None:
    while saving.busy:
        time.sleep(0.001)


def test_one_write_is_in_flight_at_most(gate: Gate) -> None:
    """
    A second one is refused, not queued; the caller comes again at the next step.
    """
    saving = saver()
    assert not saving.busy

    assert saving.submit("first", gate.write)
    assert saving.busy
    assert not saving.submit("second", gate.write)
    assert [] == saving.poll()
    assert [] == saving.wait(timeout_seconds=0.01)
    gate.open.set()
    assert ["first"] == saving.wait()
    assert not saving.busy
    assert saving.submit("third", gate.write)
    assert ["third"] == saving.wait()
    assert [] == saving.wait()


def test_results_that_nobody_fetched_are_kept_in_order() -> None:
    """
    A loop that polls late hears of every checkpoint.
    """
    saving = saver()
    for n in range(3):
        assert saving.submit(n, lambda snapshot: snapshot * 10)
        until_idle(saving)

    assert [0, 10, 20] == saving.poll()


def test_a_hanging_writer_does_not_keep_the_process_from_leaving() -> None:
    """
    Who leaves without wait cuts the writer off, as a crash would.
    """
    code = (
        "import time; from finetuned.training.background import BackgroundSaver\n"
        "assert BackgroundSaver().submit(None, lambda _: time.sleep(600))"
    )
    subprocess.run(
        [sys.executable, "-c", code], timeout=60, check=True, env={"PYTHONPATH": str(DAEMON)}
    )


def test_a_failure_is_raised_once_and_hides_no_earlier_result() -> None:
    """
    What was written before it is returned by the next poll, and the saver goes on working.
    """

    def refuse(snapshot: str) -> str:
        raise OSError(28, snapshot)

    saving = saver()
    assert saving.submit("good", str.upper)
    until_idle(saving)
    assert saving.submit("full", refuse)
    until_idle(saving)

    assert not saving.submit("refused", str.upper)
    with pytest.raises(OSError, match="full"):
        saving.poll()
    assert ["GOOD"] == saving.poll()
    assert saving.submit("again", str.upper)
    assert ["AGAIN"] == saving.wait()
