"""
A folder below models/base/ that appears whole or not at all.

It is built under a name that begins with a dot, so that nothing takes it for a model, and
renamed when it is finished. One process of a root fetches at a time.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from finetuned.errors import BrokenDownload, ModelError, Unavailable
from finetuned.files.atomic import publish_dir
from finetuned.files.lock import FileLock
from finetuned.files.refusal import refusal_reason
from finetuned.layout import Layout

PREFIX = ".fetching-"
"""Of the folder in which a base is built. What a killed fetch left there goes with the next one."""

_LOOK_SECONDS = 0.2

OnBytes = Callable[[int], object]
"""Told how many bytes have come so far."""


@contextmanager
def building(
    layout: Layout, name: str, *, needed_bytes: int, resumable: bool = False
) -> Iterator[Path]:
    """
    Yield the folder in which the base *name* is built; it is gone when the block has ended.

    Args:
        layout: The root.
        name: The base's name below models/base/.
        needed_bytes: What must be free on the disk beforehand, without what is there already.
        resumable: Whether what a broken download left is kept and used by the next fetch.

    Raises:
        ModelError: The base is there already.
        LockHeld: Another process is fetching into this root.
        Unavailable: The disk has less free, or it refused meanwhile.
    """
    layout.bases.mkdir(parents=True, exist_ok=True)
    folder = layout.bases / f"{PREFIX}{name}"
    with FileLock(layout.fetch_lock):
        if (layout.bases / name).exists():
            raise ModelError(
                f"{layout.bases / name} is there already; move it away to fetch it anew"
            )
        if not resumable:
            shutil.rmtree(folder, ignore_errors=True)
        _require_space(layout.bases, needed_bytes - size_of(folder))
        folder.mkdir(exist_ok=True)
        keep = False
        try:
            yield folder
        except (BrokenDownload, KeyboardInterrupt):
            keep = resumable
            raise
        except OSError as error:
            reason = refusal_reason(error)
            raise Unavailable(reason, f"{error}; nothing of {name} is kept") from error
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Unavailable(
            "disk_full",
            f"{needed / 2**20:.0f} MiB are needed below {folder} for the time of the download and "
            f"{free / 2**20:.0f} MiB are free; make room, and run this again",
        )


def publish(layout: Layout, name: str, model: Path) -> Path:
    """
    Make the finished folder *model* appear as the base *name*, durably, and return it.
    """
    final = layout.bases / name
    publish_dir(model, final)
    return final


def size_of(folder: Path) -> int:
    """
    Return how many bytes the files below *folder* have; 0 if there is no such folder.
    """
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name), follow_symlinks=False).st_size
            except OSError:
                continue  # it was renamed in this moment
    return total


@contextmanager
def growth_watched(folder: Path, on_bytes: OnBytes) -> Iterator[None]:
    """
    Tell *on_bytes*, several times a second, how many bytes *folder* has grown to.

    Whoever fills the folder need not know: an installer's own process, or a library.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK_SECONDS):
            on_bytes(size_of(folder))

    watcher = threading.Thread(target=watch, name="download-growth", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
