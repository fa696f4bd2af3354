"""
The file that makes a folder exist: what is in it, with sizes and hashes.

Written last. A folder without a manifest was left half-built by a crash; a folder
whose bytes disagree with it is corrupt, and is refused before it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from finetuned.errors import CorruptFile, ModelError
from finetuned.files.atomic import sha256_file, write_atomic
from finetuned.layout import MANIFEST

SCHEMA_VERSION = 1


def write_manifest(
    folder: Path, facts: dict[str, Any], *, on_progress: Callable[[], object] | None = None
) -> dict[str, Any]:
    """
    Hash every file under *folder* and write its manifest, durably.

    Args:
        folder: Holds finished files only; they are not synced here (publish_dir does).
        facts: Further top-level keys of the manifest.
        on_progress: Called after each part of a file; a worker shows by it that it goes on.

    Returns:
        The manifest: *facts*, ``schema_version`` and ``files``, a table of
        relative path -> ``{"bytes", "sha256"}``.
    """
    files = {
        str(p.relative_to(folder)): {
            "bytes": p.stat().st_size,
            "sha256": sha256_file(p, on_progress=on_progress),
        }
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p != folder / MANIFEST
    }
    manifest = {**facts, "schema_version": SCHEMA_VERSION, "files": files}
    write_atomic(
        folder / MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    )
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """
    Return the manifest of *folder* without checking the files against it.

    Raises:
        ModelError: There is none, it is not JSON, or it lists no files.
    """
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{folder}: incomplete, no {MANIFEST}") from None
    except orjson.JSONDecodeError as error:
        raise ModelError(f"{folder / MANIFEST}: not JSON: {error}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ModelError(f"{folder / MANIFEST}: not a manifest: it has no table 'files'")
    return manifest


def verify_manifest(folder: Path) -> dict[str, Any]:
    """
    Return the manifest of *folder* after checking size and hash of every file.

    Raises:
        ModelError: There is no manifest, or it is damaged.
        CorruptFile: A file is missing, or has other bytes than the manifest says.
    """
    manifest = read_manifest(folder)
    for name, entry in manifest["files"].items():
        expected = _file_entry(folder, name, entry)
        path = folder / name
        if not path.is_file():
            raise CorruptFile(path, "nothing", f"{expected.bytes} bytes")
        size = path.stat().st_size
        if size != expected.bytes:
            raise CorruptFile(path, f"{size} bytes", f"{expected.bytes} bytes")
        found = sha256_file(path)
        if found != expected.sha256:
            raise CorruptFile(path, f"sha256 {found}", f"sha256 {expected.sha256}")
    return manifest


@dataclass(frozen=True, slots=True)
class _FileEntry:
    """
    One file as its manifest describes it.
    """

    bytes: int
    sha256: str


def _file_entry(folder: Path, name: str, entry: object) -> _FileEntry:
    """
    Return what *entry* says of the file *name* of *folder*.

    Raises:
        ModelError: It is damaged, or names a file outside the folder.
    """
    place = f"{folder / MANIFEST}: files[{name!r}]"
    if name.startswith("/") or ".." in name.split("/"):
        raise ModelError(f"{place}: expected the path of a file below {folder}")
    size, digest = (entry.get("bytes"), entry.get("sha256")) if isinstance(entry, dict) else (0, 0)
    if type(size) is not int or not isinstance(digest, str):
        raise ModelError(f"{place}: expected 'bytes' and 'sha256', found {entry!r:.80}")
    return _FileEntry(size, digest)
