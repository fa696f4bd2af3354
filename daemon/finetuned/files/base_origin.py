"""
Where a fetched base model came from, and under which licence: source.json in its folder.

Written by whoever fetched it; a base that a person put there has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from finetuned.core.record import to_json
from finetuned.files.run import read_json, utc_now

ORIGIN = "source.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseOrigin:
    """
    Where a base model came from.
    """

    source: str
    """A hub id, or the package it was read from."""
    revision: str
    """The commit on the hub, or the SHA-256 of the package."""
    licence: str | None
    """As the publisher states it; None if it is not stated."""
    changes: str | None = None
    """What was done to the weights, for people; None if they are the publisher's bytes."""


def write_origin(folder: Path, origin: BaseOrigin) -> None:
    """
    Write source.json into a folder that is being built.
    """
    record = {**to_json(origin), "fetched_at": utc_now()}
    (folder / ORIGIN).write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")


def licence_of(folder: Path) -> str | None:
    """
    Return the licence that source.json names, None if there is none.
    """
    licence = (read_json(folder / ORIGIN) or {}).get("licence")
    return licence if isinstance(licence, str) else None
