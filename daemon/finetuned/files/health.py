"""
control/health.json: what a server that uses current_model says of its requests.
"""

from __future__ import annotations

import os
import stat

import orjson

from finetuned.core.promotion_watch import Health, parse_health
from finetuned.core.record import to_json
from finetuned.files.atomic import write_atomic
from finetuned.layout import Layout

HEALTH_BYTES = 1 << 16
"""Longest health signal that is read."""


def read_health(layout: Layout) -> Health | None:
    """
    Return the health signal, None if there is none that can be used.

    Anybody may write it: a link, a FIFO or a device of that name is not opened.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(layout.control / "health.json", flags)
    except OSError:
        return None
    try:
        data = os.read(fd, HEALTH_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        return parse_health(orjson.loads(data))
    except (OSError, orjson.JSONDecodeError):
        return None
    finally:
        os.close(fd)


def write_health(layout: Layout, health: Health) -> None:
    """
    Replace the health signal. Need not survive a power cut.

    Raises:
        OSError: The file system refused.
    """
    layout.control.mkdir(exist_ok=True)
    data = orjson.dumps(to_json(health))
    write_atomic(layout.control / "health.json", data, durable=False)
