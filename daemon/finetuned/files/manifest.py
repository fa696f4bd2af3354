"""
The file that makes a folder exist: what is in it, with sizes and hashes.

Written last. A folder without a manifest is the rest of a crash; a folder
whose bytes disagree with it is corrupt, and is refused before it is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from finetuned.errors import CorruptFile, ModelError
from finetuned.files.atomic import sha256_file, write_atomic
from finetuned.layout import MANIFEST

SCHEMA_VERSION = 1


def write_manifest(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """
    Hash every file under *folder* and write its manifest, durably.

    Args:
        folder: Holds finished files only; they are not synced here (publish_dir does).
        facts: What else is to be said; merged into the manifest as top-level keys.

    Returns:
        The manifest: *facts*, ``schema_version`` and ``files``, a table of
        relative path -> ``{"bytes", "sha256"}``.
    """
    files = {
        str(p.relative_to(folder)): {"bytes": p.stat().st_size, "sha256": sha256_file(p)}
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != MANIFEST
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
        ModelError: There is none, or it is not a manifest.
    """
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{folder}: incomplete, no {MANIFEST}") from None
    except orjson.JSONDecodeError as error:
        raise ModelError(f"{folder / MANIFEST}: not JSON: {error}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ModelError(f"{folder / MANIFEST}: not a manifest")
    return manifest


def verify_manifest(folder: Path) -> dict[str, Any]:
    """
    Return the manifest of *folder* after checking size and hash of every file.

    Raises:
        ModelError: There is no manifest.
        CorruptFile: A file is missing, or has other bytes than the manifest says.
    """
    manifest = read_manifest(folder)
    for name, entry in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise CorruptFile(path, "nothing", f"{entry['bytes']} bytes")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise CorruptFile(path, f"{size} bytes", f"{entry['bytes']} bytes")
        found = sha256_file(path)
        if found != entry["sha256"]:
            raise CorruptFile(path, f"sha256 {found}", f"sha256 {entry['sha256']}")
    return manifest
