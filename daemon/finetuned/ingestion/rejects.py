"""
rejects.jsonl: the rejected lines of one file, one JSON object each.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import BinaryIO, Final, Protocol

import orjson

from finetuned.ingestion.report import RejectedLine

MAX_LISTED: Final = 100_000
"""Rejected lines listed one by one; more are only counted: a bad 10 GB file must fit the disk."""


class Rejects(Protocol):
    """
    What is told of every rejected line.
    """

    def add(self, rejected: RejectedLine) -> None:
        """
        Take one rejected line.
        """


class RejectsFile:
    """
    Writes rejected lines into an open file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._n = 0

    def add(self, rejected: RejectedLine) -> None:
        """
        Write one rejected line, or count it if there are too many.
        """
        self._n += 1
        if self._n <= MAX_LISTED:
            self._file.write(orjson.dumps(asdict(rejected)) + b"\n")

    def finish(self) -> None:
        """
        Write how many lines are not listed, if there are any.
        """
        if self._n > MAX_LISTED:
            self._file.write(orjson.dumps({"not_listed": self._n - MAX_LISTED}) + b"\n")
