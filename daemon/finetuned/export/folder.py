"""
The folder of one export: built under another name, whole or not there at all.

A killed export leaves a folder whose name begins with a dot; the next one removes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from finetuned.errors import ExportRefused, Unavailable
from finetuned.files.atomic import publish_dir
from finetuned.files.family_list import several_adapters
from finetuned.files.lock import FileLock
from finetuned.files.manifest import write_manifest
from finetuned.files.refusal import refusal_reason

PREFIX: Final = ".exporting-"
"""Of the folder in which an export is built, beside its last place."""


def refuse_families(name: str, version: Path | None) -> None:
    """
    Refuse a version with an adapter for each family of files: its top level is one of them alone.

    Raises:
        ExportRefused: It has; the message says what can be exported.
    """
    if several := several_adapters(name, version):
        raise ExportRefused(
            f"{several}, which cannot become one model; each folder of its families/ is a PEFT "
            "adapter as it is"
        )


@contextmanager
def building(final: Path, lock: Path, needed_bytes: int) -> Iterator[Path]:
    """
    Yield the folder in which the export *final* is built; it is gone when the block has ended.

    Args:
        final: Where the export will be; must not exist.
        lock: Held meanwhile.
        needed_bytes: What must be free on the disk beforehand.

    Raises:
        ExportRefused: *final* is there already.
        LockHeld: Another process of this root is exporting.
        Unavailable: The disk has less free, or it refused meanwhile.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        if final.exists() or final.is_symlink():
            raise ExportRefused(f"{final} is there already; remove it, or name another with --out")
        final.parent.mkdir(parents=True, exist_ok=True)
        for left in final.parent.glob(f"{PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        free = shutil.disk_usage(final.parent).free
        if free < needed_bytes:
            raise Unavailable(
                "disk_full",
                f"the export takes {needed_bytes / 2**20:.0f} MiB below {final.parent} while it is "
                f"made, and {free / 2**20:.0f} MiB are free; make room, or name another disk with "
                "--out",
            )
        folder = final.parent / f"{PREFIX}{final.name}"
        folder.mkdir()
        try:
            yield folder
        except OSError as error:
            reason = refusal_reason(error)
            raise Unavailable(reason, f"{error}; nothing of the export is kept") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, final: Path, facts: dict[str, object]) -> dict[str, object]:
    """
    Write the manifest into a finished folder, make it appear as *final*, and return the manifest.
    """
    manifest = write_manifest(folder, facts)
    publish_dir(folder, final)
    return manifest
