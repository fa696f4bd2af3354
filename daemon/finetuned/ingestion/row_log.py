"""
What a check keeps of the accepted rows: a few numbers of each, in a file without a name.

Memory does not grow with the number of rows. Knows hashes and lengths; does not know what a
row says, except of the first few, which are shown.
"""

from __future__ import annotations

import tempfile
from collections.abc import Container, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from types import TracebackType
from typing import Final

import numpy as np
import numpy.typing as npt

from finetuned.data.holdout import Hashes, distinct
from finetuned.data.training_sequence import TrainingSequence

_RECORD: Final = np.dtype(
    [("prompt", "<u8"), ("family", "<u8"), ("row", "<u8"), ("line", "<u4"), ("n_sequences", "<u4")]
)
_AT_ONCE: Final = 1 << 16
_SEARCHED_ROWS: Final = 1 << 19
"""Rows among which examples of repeated rows are looked for."""
_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True)
class Repeats:
    """
    Rows of a file that say again what an earlier row of it says.
    """

    rows: int
    """Rows whose prompt and answer stand in an earlier row too."""

    examples: tuple[tuple[int, int], ...]
    """The first of them: the line, and the earlier line that is the same."""

    other_answers: int
    """Rows whose prompt stands in an earlier row too, with another answer."""


@dataclass(frozen=True, slots=True)
class AcceptedRow:
    """
    One row as the model will see it.
    """

    line: int
    sequences: tuple[TrainingSequence, ...]


class RowLog:
    """
    Takes the accepted rows of one file, as a dataset's writer does.
    """

    def __init__(self, *, n_shown: int, lines: Container[int] = ()) -> None:
        """
        Args:
            n_shown: How many of the first rows are kept as they are.
            lines: Numbers of lines whose rows are kept as well.
        """
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._n_shown = n_shown
        self._lines = lines
        self.n_rows = 0
        self.n_originals = 0
        """Rows that are no children."""
        self.shown: list[AcceptedRow] = []
        self.longest: tuple[int, int] | None = None
        """Tokens and line of the longest sequence; None before the first row."""

    def __enter__(self) -> RowLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(
        self,
        *,
        line: int,
        offset: int,
        n_bytes: int,
        prompt_hash: int,
        sequences: list[TrainingSequence],
        family: int | None = None,
    ) -> None:
        """
        Keep what is needed of one accepted row; *offset* and *n_bytes* are not.
        """
        digest = blake2b(digest_size=8)
        for sequence in sequences:
            digest.update(np.array(sequence.input_ids, dtype="<u4").tobytes())
            digest.update(bytes(sequence.supervised) + b"\xff")
            if self.longest is None or len(sequence.input_ids) > self.longest[0]:
                self.longest = len(sequence.input_ids), line
        row = int.from_bytes(digest.digest(), "little")
        family = prompt_hash if family is None else family
        record = np.array([(prompt_hash, family, row, line, len(sequences))], dtype=_RECORD)
        self._file.write(record.tobytes())
        self.n_rows += 1
        self.n_originals += family == prompt_hash
        if self.n_rows <= self._n_shown or line in self._lines:
            self.shown.append(AcceptedRow(line, tuple(sequences)))

    def prompts(self) -> Iterator[Hashes]:
        """
        Yield the prompt hash of every row, in chunks.
        """
        return (records["prompt"].copy() for records in self._records())

    def originals(self) -> Iterator[Hashes]:
        """
        Yield the prompt hash of every row that is no child, in chunks.
        """
        for records in self._records():
            yield records["prompt"][records["family"] == records["prompt"]]

    def families_and_sequences(self) -> Iterator[tuple[Hashes, Hashes, npt.NDArray[np.uint32]]]:
        """
        Yield the prompt hash, the family and the number of sequences of every row, in chunks.
        """
        for records in self._records():
            yield records["prompt"].copy(), records["family"].copy(), records["n_sequences"].copy()

    def repeats(self) -> Repeats:
        """
        Return how many rows repeat an earlier one, wholly or with another answer.
        """

        def rows() -> Iterator[Hashes]:
            return (records["row"].copy() for records in self._records())

        n_different = sum(len(unique) for unique, _ in distinct(rows, self.n_rows))
        n_prompts = sum(len(unique) for unique, _ in distinct(self.prompts, self.n_rows))
        n_repeated = self.n_rows - n_different
        return Repeats(
            rows=n_repeated,
            examples=self._examples() if n_repeated else (),
            other_answers=max(0, n_different - n_prompts),
        )

    def _examples(self) -> tuple[tuple[int, int], ...]:
        self._file.seek(0)
        data = self._file.read(_SEARCHED_ROWS * _RECORD.itemsize)
        records = np.frombuffer(data, dtype=_RECORD)
        _, first, which = np.unique(records["row"], return_index=True, return_inverse=True)
        again = np.flatnonzero(first[which] != np.arange(len(records)))[:_EXAMPLES]
        lines = records["line"]
        return tuple((int(lines[i]), int(lines[first[which[i]]])) for i in again)

    def _records(self) -> Iterator[npt.NDArray[np.void]]:
        self._file.seek(0)
        at = 0
        while data := self._file.read(_AT_ONCE * _RECORD.itemsize):
            at += len(data)
            yield np.frombuffer(data, dtype=_RECORD)
            self._file.seek(at)  # somebody else may have read in between
