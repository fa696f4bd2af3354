"""
Laws of the wake-up of the daemon's loop.
"""

import os
import signal
import subprocess
import sys
import threading
import time

from finetuned.process.wake import Wake
from support.daemon import PACKAGE_PARENT

FLOODED = """
import signal, time
from finetuned.process.wake import Wake

wake = Wake()
signal.signal(signal.SIGALRM, lambda *_: wake.set())
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
end = time.monotonic() + 2
while time.monotonic() < end:
    wake.wait(0.001)
    wake.clear()
print("went on")
"""


def test_a_signal_in_the_middle_of_a_wait_never_stops_the_loop():
    """
    A child that ends in the moment in which the loop begins to wait may not hang the daemon.
    """
    done = subprocess.run(
        [sys.executable, "-c", FLOODED],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "went on\n" == done.stdout, done.stderr


def test_what_is_set_before_the_wait_ends_it_at_once_until_it_is_cleared():
    """
    However often it was set; what is set twice is cleared once.
    """
    wake = Wake()
    assert not wake.is_set()
    assert not wake.wait(0.001)
    wake.set()
    wake.set()
    assert wake.is_set()
    assert wake.wait(1000.0)
    assert wake.wait(1e9)
    wake.clear()
    wake.clear()
    assert not wake.is_set()


def test_a_thread_ends_the_wait_of_another():
    """
    The threads that watch the inbox wake the loop.
    """
    wake = Wake()
    threading.Timer(0.05, wake.set).start()
    began = time.monotonic()
    assert wake.wait(30.0)
    assert time.monotonic() - began < 20


def test_a_signal_ends_the_wait_of_the_thread_that_it_interrupts():
    """
    Its handler runs there.
    """
    wake = Wake()
    before = signal.signal(signal.SIGUSR1, lambda *_: wake.set())
    try:
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
        assert wake.wait(30.0)
    finally:
        signal.signal(signal.SIGUSR1, before)
