"""
Tell systemd that the service is ready, alive or stopping. Knows the sd_notify protocol only.

Without NOTIFY_SOCKET every function does nothing, so the daemon calls them
unconditionally. A worker must not inherit the variables: only the supervisor
speaks for the service.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket

from finetuned.core.text import printable

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Environment variables that a child process must not inherit."""

SEND_SECONDS = 1.0
"""Longest wait for systemd to take a message: a busy manager must not hang the loop."""


def send(*assignments: str) -> bool:
    """
    Send assignments such as ``"READY=1"`` in one message.

    Returns:
        Whether systemd took the message; False also if nobody listens. Never raises
        OSError: a lost message costs at worst a restart by the watchdog.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address[0] == "@":  # Linux's abstract namespace
        address = "\0" + address[1:]
    message = "\n".join(printable(a) for a in assignments).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            s.settimeout(SEND_SECONDS)
            s.sendto(message, address)
    except OSError:
        return False
    return True


def ready(status: str) -> bool:
    """
    Say that the service is up; ``systemctl start`` returns now.

    Args:
        status: One line for ``systemctl status``.
    """
    return send("READY=1", f"STATUS={status}")


def status(text: str) -> bool:
    """
    Replace the line that ``systemctl status`` shows.
    """
    return send(f"STATUS={text}")


def watchdog() -> bool:
    """
    Say that the loop made progress. Call it from the loop, never from a timer.
    """
    return send("WATCHDOG=1")


def stopping(status: str) -> bool:
    """
    Say that a graceful stop has begun.
    """
    return send("STOPPING=1", f"STATUS={status}")


def extend_timeout(seconds: float) -> bool:
    """
    Ask for at least *seconds* from now before the running start or stop times out.

    Send it again while a long save goes on. It postpones the watchdog as well.
    """
    return send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")
