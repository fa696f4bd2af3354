"""
Orders in control/: one small file each, consumed once and acknowledged in control/ack/.

An order is consumed by renaming its file into control/ack/. The rename survives a
crash: a consumed file without a JSON answer is an order that was received and not
yet acknowledged. Does not know jobs.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from finetuned.core.order import OrderKind, order_kind
from finetuned.files.atomic import fsync_dir, write_atomic
from finetuned.files.writers import surely_written
from finetuned.layout import Layout

REASON_BYTES = 500
"""Most bytes of an order's file that are read."""
KEEP_ACKS = 200
"""Newest acknowledgements that are kept."""
WRITER_SECONDS = 1.0
"""Longest wait for a writer of an order's reason: a shell opens the file, then writes it."""
WRITER_POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Order:
    """
    One consumed order.
    """

    id: str
    """Sorts by arrival, e.g. ``000012-pause``."""
    kind: OrderKind
    reason: str
    """First line of the file, or empty."""
    touched_ns: int = 0
    """When it was given: the file's mtime, which is fixed once the file is consumed."""


def _first_line(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        data = os.read(fd, REASON_BYTES)
    finally:
        os.close(fd)
    line = data.split(b"\n", 1)[0].decode("utf-8", "replace")
    return "".join(c for c in line if c.isprintable()).strip()


def pending(layout: Layout) -> list[tuple[OrderKind, str]]:
    """
    Return the orders that wait in control/, oldest first, with their file names.

    Raises:
        OSError: control/ is missing or not readable.
    """
    found = []
    with os.scandir(layout.control) as entries:
        for entry in entries:
            kind = order_kind(entry.name)
            if kind is None:
                continue
            try:
                age = entry.stat(follow_symlinks=False).st_mtime_ns
            except FileNotFoundError:
                continue
            found.append((age, list(OrderKind).index(kind), kind, entry.name))
    return [(kind, name) for _, _, kind, name in sorted(found)]


def consume(layout: Layout, name: str, kind: OrderKind, sequence: int) -> Order | None:
    """
    Take one order out of control/.

    Returns:
        The order, or None if the file is already gone.
    """
    order_id = f"{sequence:06d}-{kind}"
    taken = layout.acks / f"{order_id}.received"
    try:
        os.rename(layout.control / name, taken)
    except FileNotFoundError:
        return None
    fsync_dir(layout.acks)
    _wait_for_writer(taken)
    return Order(order_id, kind, _first_line(taken), taken.lstat().st_mtime_ns)


def _wait_for_writer(taken: Path) -> None:
    """Wait until a consumed file, which nobody can open by its name any more, is written."""
    deadline = time.monotonic() + WRITER_SECONDS
    while surely_written(os.fsencode(taken)) and time.monotonic() < deadline:
        time.sleep(WRITER_POLL_SECONDS)


def unfinished(layout: Layout) -> list[Order]:
    """
    Return orders that were consumed but never acknowledged, because of a crash.
    """
    orders = []
    for path in sorted(layout.acks.glob("*.received")):
        kind = order_kind(path.stem.partition("-")[2])
        if kind is not None:
            touched_ns = path.lstat().st_mtime_ns
            orders.append(Order(path.stem, kind, _first_line(path), touched_ns))
    return orders


def last_sequence(layout: Layout) -> int:
    """
    Return the highest order number on disk, or 0 if there is none.
    """
    numbers = (p.name.partition("-")[0] for p in layout.acks.iterdir())
    return max((int(n) for n in numbers if n.isdigit()), default=0)


def acknowledge(layout: Layout, order: Order, answer: dict[str, Any]) -> None:
    """
    Write ``control/ack/<id>.json``, durably, and remove the consumed file.

    Called again for the same order (received, then obeyed) it replaces the answer.
    """
    body = {"id": order.id, "command": order.kind, "reason": order.reason, **answer}
    write_atomic(layout.acks / f"{order.id}.json", orjson.dumps(body, option=orjson.OPT_INDENT_2))
    received = layout.acks / f"{order.id}.received"
    try:
        received.unlink(missing_ok=True)
    except IsADirectoryError:  # a folder named like an order: obeyed, and kept
        os.replace(received, received.with_suffix(".folder"))
    for old in sorted(layout.acks.glob("*.json"))[:-KEEP_ACKS]:
        old.unlink(missing_ok=True)
