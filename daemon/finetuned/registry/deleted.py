"""
models/deleted/: the manifests of versions that were deleted for good.

A journal that is lost is made again from manifests: so what a deleted version was trained on
stays on the books. Each has the place that it had in the version's folder; nothing else of
the version is here.
"""

from __future__ import annotations

from pathlib import Path

from finetuned.errors import ModelError
from finetuned.files.atomic import fsync_dir, write_atomic
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.folder import read_sealed


def keep_manifest(layout: Layout, folder: Path, name: str) -> None:
    """
    Keep what the manifest of version *name* in *folder* says, durably; then it may be deleted.

    Nothing is kept if the manifest cannot be trusted, or if the version lies elsewhere as well.

    Raises:
        OSError: The file system refused.
    """
    if any((place / name).is_dir() for place in (layout.versions, layout.backups)):
        return
    try:
        read_sealed(folder, name)
    except ModelError:
        return
    record = layout.deleted / name
    record.mkdir(parents=True, exist_ok=True)
    write_atomic(record / MANIFEST, (folder / MANIFEST).read_bytes(), mode=0o444)
    fsync_dir(layout.deleted)
    fsync_dir(layout.models)
