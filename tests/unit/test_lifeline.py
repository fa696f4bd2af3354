"""
The pipe to a worker as the worker sees it, read from a real pipe.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from finetuned.errors import EXIT_TEMPFAIL
from finetuned.process.lifeline import SUPERVISOR_GONE, Lifeline


@pytest.fixture
def pipe(monkeypatch):
    """
    The supervisor's end of a pipe that is this process's standard input.
    """
    reading, writing = os.pipe()
    with open(reading) as stdin, open(writing, "wb", buffering=0) as supervisor:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield supervisor
        supervisor.close()
        for thread in threading.enumerate():
            if thread.name == "lifeline":
                thread.join()  # it reads the end of the pipe, which must not be closed before


def test_each_line_is_a_run_folder_whatever_its_bytes(pipe):
    """
    A root may have a name that is not UTF-8.
    """
    lifeline = Lifeline()
    lifeline.watch_stdin()
    pipe.write(b"/root \xff/runs/r1\n/runs")
    pipe.write(b"/r2\n")

    assert Path(os.fsdecode(b"/root \xff/runs/r1")) == lifeline.next_run()
    assert Path("/runs/r2") == lifeline.next_run()
    assert not lifeline.stopping


def test_the_end_of_the_input_stops_after_the_runs_that_were_told(pipe):
    """
    A line without its end is no run: the supervisor died while it wrote.
    """
    lifeline = Lifeline()
    lifeline.watch_stdin()
    pipe.write(b"/runs/r1\n/runs/r")
    pipe.close()

    assert Path("/runs/r1") == lifeline.next_run()
    assert lifeline.next_run() is None
    assert (True, SUPERVISOR_GONE) == (lifeline.stopping, lifeline.cause)


def test_the_first_cause_of_a_stop_is_kept():
    """
    The end of the pipe that follows a SIGTERM does not change what the run's error says.
    """
    lifeline = Lifeline()
    lifeline.stop("SIGTERM")
    lifeline.stop(SUPERVISOR_GONE)

    assert "SIGTERM" == lifeline.cause
    assert lifeline.next_run() is None


LOOP = """
import sys
from finetuned.process.lifeline import Lifeline
lifeline = Lifeline(grace_seconds=float(sys.argv[1]))
lifeline.install()
print("ready", flush=True)
while sys.argv[2] == "loops" or not lifeline.stopping:
    pass
"""


@pytest.mark.parametrize(
    ("grace", "work", "status"), [(0.1, "loops", EXIT_TEMPFAIL), (60.0, "returns", 0)]
)
def test_work_that_does_not_return_is_ended_after_its_grace(grace, work, status):
    """
    A template that loops for ever never asks whether to stop; work that returns is not cut.
    """
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", LOOP, str(grace), work],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=50)

    assert status == process.returncode
    assert (b"did not return" in told) == (status != 0)
