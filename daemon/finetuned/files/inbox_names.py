"""
Names in inbox/: which are datasets or drafts, why others are ignored, and how each is written.

Knows names; does not know files.
"""

from __future__ import annotations

import os
import shlex
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from finetuned.layout import Priority

OWN_NAMES: Final = frozenset(
    {"README.md", "processing", "done", "rejected", *Priority},
)
"""Names in inbox/ that belong to the inbox itself."""

_PACKED: Final = (".zip", ".7z", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_CONVERTIBLE: Final = (
    *(".json", ".ndjson", ".jsonlines", ".txt", ".csv", ".tsv", ".parquet"),
    *(".gz", ".bz2", ".xz"),
)
"""Of which finetuned convert makes JSON lines, unless there are none in it."""
_LABEL_CHARACTERS: Final = 80
_NAME_BYTES: Final = 255
"""Longest file name of Linux file systems, in bytes."""


def is_dataset_name(name: bytes) -> bool:
    """
    Return whether a file of this name is claimed as a dataset: ``*.jsonl``, in any case.
    """
    return name.lower().endswith(b".jsonl") and not is_draft(name)


def is_draft(name: bytes) -> bool:
    """
    Return whether a writer is still at work under this name: hidden, ``*.part`` or ``*.tmp``.
    """
    return name.startswith(b".") or name.endswith((b".part", b".tmp"))


def why_ignored(name: bytes, *, is_folder: bool, folder: bytes) -> str | None:
    """
    Return why a name in the inbox is never read and what to do, or None if that is obvious.

    Args:
        name: The last part of the path.
        is_folder: Whether it is a folder.
        folder: The folder of a priority that it lies in, empty if it lies directly in inbox/.
    """
    text = name.decode("utf-8", "backslashreplace")
    lower = text.lower()
    if is_dataset_name(name) or is_draft(name) or (not folder and text in OWN_NAMES):
        return None
    if is_folder:
        return (
            "ignored: folders other than high, normal and low are not looked into; "
            "move its .jsonl files into inbox/"
        )
    path = shlex.quote("/".join(filter(None, ("inbox", escape_name(folder), text))))
    if lower.endswith(".zst"):
        return (
            "ignored: only names that end in .jsonl are read; unpack it: "
            f"zstd -dc {path} > NEW.jsonl"
        )
    if lower.endswith(_PACKED):
        return "ignored: archives are not read; unpack it and drop the .jsonl file"
    if lower.endswith(_CONVERTIBLE):
        return (
            "ignored: only names that end in .jsonl are read; make JSON lines of it: "
            f"finetuned convert {path}, and then move it out of inbox/"
        )
    return "ignored: only names that end in .jsonl are read"


def escape_name(name: bytes) -> str:
    """
    Return *name* as printable text: for logs, status and the daemon's own file names.

    Control characters, bytes that are not UTF-8 and surrogates become ``\\xNN``.
    """
    text = name.decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def safe_stem(name: bytes) -> str:
    """
    Return a short stem of safe characters that still reads like *name*.
    """
    stem = os.path.basename(name).decode("ascii", "replace")
    stem = stem[: -len(".jsonl")] if stem.lower().endswith(".jsonl") else stem
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in stem)
    return kept.strip("._-")[:_LABEL_CHARACTERS] or "dataset"


def encode_name(name: bytes) -> str:
    """
    Return *name* as an ASCII file name of at most 255 bytes, readable if it was plain.

    decode_name gives it back, unless it had to be cut because it is too long once encoded.
    """
    text = quote_from_bytes(name, safe=" !#$&'()+,;=@[]{}~")
    return text if len(text) <= _NAME_BYTES else f"{text[: _NAME_BYTES - 12]}.cut.jsonl"


def decode_name(text: str) -> bytes:
    """
    Return the name that encode_name encoded.
    """
    return unquote_to_bytes(text)
