"""
A time limit on Python code that somebody else wrote, such as a chat template.

By an alarm signal, which interrupts a Python loop; a call into C ends first. Does not know
what is run.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TimeUp(BaseException):
    """
    The time is over. Not an Exception, so that the code that is limited does not catch it.
    """


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """
    Raise TimeUp inside the block if it takes longer than *seconds*, > 0.

    Only the main thread gets signals: in any other there is no limit. Limits do not nest.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_alarm(number: int, _: FrameType | None) -> None:
        raise TimeUp

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
