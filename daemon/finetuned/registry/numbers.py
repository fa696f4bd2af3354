"""
Version numbers: each is used once, even if nothing is left of the version that had it.

Does not create versions.
"""

from __future__ import annotations

import orjson

from finetuned.core.retention import version_number
from finetuned.errors import RegistryError
from finetuned.files.atomic import write_atomic
from finetuned.files.run import read_json
from finetuned.layout import Layout
from finetuned.registry.link import linked

HIGHEST = "highest_version.json"
"""In models/: the highest number that was in use when the trash was emptied last."""


def next_number(layout: Layout, floor: int = 0) -> int:
    """
    Return a version number that was never used: not by a version, a backup or the trash.

    Args:
        floor: The highest number that the caller knows to have been used, >= 0.
    """
    emptied = (read_json(layout.models / HIGHEST) or {}).get("number")
    numbers = [floor, emptied if isinstance(emptied, int) else 0]
    for link in (layout.current_model, layout.head):
        try:
            numbers.append(version_number(linked(layout, link, mend="") or "") or 0)
        except RegistryError:
            pass  # not the daemon's link; it is reported elsewhere, and a commit need not wait
    for folder in (layout.versions, layout.backups, layout.trash):
        if folder.is_dir():
            # In the trash the name is followed by a time: v0007-20261120T...
            heads = (p.name.partition("-")[0] for p in folder.iterdir())
            numbers += [version_number(head) or 0 for head in heads]
    return max(numbers) + 1


def remember_highest(layout: Layout) -> None:
    """
    Write down the highest number in use, durably, before folders are deleted.

    Raises:
        OSError: The file system refused.
    """
    highest = {"number": next_number(layout) - 1}
    write_atomic(layout.models / HIGHEST, orjson.dumps(highest))
