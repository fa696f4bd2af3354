"""
The sealed suite: commands that nobody reads, opened only if its bytes are those that were sealed.

It lies compressed in benchmarks/sealed/, so that no search, listing or editor shows an item by
accident. docs/why/blind-suites.md says how it was written and what it is for. Whoever opens it
prints counts only.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "sealed"


class SealBroken(Exception):
    """
    The suite is missing, or is not the one that was sealed.
    """


@dataclass(frozen=True, slots=True)
class Sealed:
    """
    The suite, opened.
    """

    path: Path
    """The compressed file."""
    sha256: str
    """Of the compressed file."""
    items: Mapping[str, int]
    """Group -> number of items; an id is the group, a dash and a number."""
    data: bytes = field(repr=False)
    """JSON Lines, as finetuned.data.suite reads them. Never printed."""


def open_sealed(folder: Path = FOLDER) -> Sealed:
    """
    Return the suite that *folder* holds.

    Args:
        folder: Holds manifest.json (``file``, ``sha256``, ``items``) and the file that it names.

    Raises:
        SealBroken: The file differs from the manifest, or one of them cannot be read.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
        path = folder / manifest["file"]
        packed = path.read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SealBroken(f"{path}: cannot be read ({type(error).__name__})") from None
    found = hashlib.sha256(packed).hexdigest()
    if found != manifest["sha256"]:
        raise SealBroken(
            f"{path}: its sha256 is {found}, the manifest says {manifest['sha256']}. A changed set "
            "is another set: take the file from the repository's history, or seal a new one"
        )
    return Sealed(path, found, manifest["items"], lzma.decompress(packed))
