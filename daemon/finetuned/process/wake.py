"""
A wake-up that signal handlers, threads and the waiting thread itself may set at any moment.

``threading.Event`` takes a lock in ``set()`` that its ``wait()`` holds for a moment. A signal
handler runs in the thread that waits: if it comes in that moment, it waits for itself for ever.
The kernel's counter has no lock.
"""

from __future__ import annotations

import os
import select
import weakref
from contextlib import suppress

_MOST = 2**31 - 1
"""Milliseconds that the kernel can wait at most."""


class Wake:
    """
    Like ``threading.Event``, on an eventfd of Linux.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def set(self) -> None:
        """
        End the wait of whoever waits now or next.
        """
        with suppress(BlockingIOError):  # the counter is full: it is set
            os.eventfd_write(self._fd, 1)

    def clear(self) -> None:
        """
        Let the next wait last until the next ``set()``.
        """
        with suppress(BlockingIOError):  # it was not set
            os.eventfd_read(self._fd)

    def is_set(self) -> bool:
        """
        Return whether a wait would end at once.
        """
        return self.wait(0)

    def wait(self, seconds: float) -> bool:
        """
        Wait until it is set, *seconds* at most; return whether it is.
        """
        # Python runs the handlers of signals in between and goes on waiting for the rest. At
        # least a millisecond, unless it is only a look: 0 would make a loop spin.
        return bool(
            self._poll.poll(min(max(1, round(1000 * seconds)), _MOST) if seconds > 0 else 0)
        )
