"""
The tokenised dataset on disk: written as a stream, read through the page cache.

models/datasets/<dataset_id>/
    tokens.u32               all token ids, one sequence after another
    supervised.u8            0 or 1 for each of them
    sequences.bin            one SEQUENCE record each, those to train first
    prompts_train.u64        sorted hashes of the prompts trained
    prompts_heldout.u64      and of those that must never be trained
    heldout_ngrams.u64       hashes that leak.py looks for in later datasets
    heldout_answers.u64
    heldout.jsonl            the held-out examples, readable
    rejects.jsonl            refused lines with their reasons
    report.json              counts
    manifest.json            last

Knows bytes and records; does not know tokenizers or who trains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import orjson

from finetuned.data.holdout import TRAIN, Hashes, Holdout
from finetuned.data.training_sequence import TrainingSequence
from finetuned.errors import CorruptFile
from finetuned.files.dataset_result import DATASET_REPORT
from finetuned.files.manifest import read_manifest

TOKENS: Final = "tokens.u32"
SUPERVISED: Final = "supervised.u8"
SEQUENCES: Final = "sequences.bin"
PROMPTS_TRAIN: Final = "prompts_train.u64"
PROMPTS_HELD_OUT: Final = "prompts_heldout.u64"
HELD_OUT_NGRAMS: Final = "heldout_ngrams.u64"
HELD_OUT_ANSWERS: Final = "heldout_answers.u64"
HELD_OUT_EXAMPLES: Final = "heldout.jsonl"
REJECTS: Final = "rejects.jsonl"
REPORT: Final = DATASET_REPORT
_ROWS: Final = ".rows.tmp"
_PENDING: Final = ".sequences.tmp"
_CHILDREN: Final = ".children.tmp"

SEQUENCE: Final = np.dtype(
    [
        ("offset", "<u8"),
        ("length", "<u4"),
        ("n_supervised", "<u4"),
        ("line", "<u4"),
        ("prompt_hash", "<u8"),
        ("split", "u1"),
    ]
)
"""One sequence: its first token's number, its length in tokens, the line it came from."""

_PENDING_SEQUENCE: Final = np.dtype([*SEQUENCE.descr, ("family", "<u8")])
"""One sequence before the split is decided."""

ROW: Final = np.dtype(
    [
        ("offset", "<u8"),
        ("length", "<u4"),
        ("line", "<u4"),
        ("prompt_hash", "<u8"),
        ("family", "<u8"),
    ]
)
"""One accepted line of the source, while the dataset is being made: where its bytes are."""

_CHUNK_RECORDS: Final = 1 << 16


class DatasetWriter:
    """
    Writes the token files of one dataset into a folder that is not published yet.

    Rows are added in the order of their lines; then ``close``, perhaps ``reopen``,
    ``add_child`` and ``close`` again, then ``apply_holdout``, then ``forget_rows``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.n_rows = 0
        self.n_originals = 0
        """Rows that are no children."""
        self.n_sequences = 0
        self.n_tokens = 0
        self.n_supervised = 0
        self._few_rows: npt.NDArray[Any] | None = None
        self._files: dict[str, BinaryIO] = {
            name: (folder / name).open("wb")
            for name in (TOKENS, SUPERVISED, _PENDING, _ROWS, _CHILDREN)
        }

    def add(
        self,
        *,
        line: int,
        offset: int,
        n_bytes: int,
        prompt_hash: int,
        sequences: Iterable[TrainingSequence],
        family: int | None = None,
    ) -> None:
        """
        Append one accepted row.

        Args:
            line: Its line number in the source, from 1.
            offset: Where the line begins in the source, in bytes.
            n_bytes: Its length there.
            prompt_hash: examples.prompt_hash of it.
            sequences: What it became, at least one.
            family: row_family.family_of it; None stands for its prompt hash.
        """
        family = prompt_hash if family is None else family
        self._write(line, prompt_hash, family, sequences)
        self._files[_ROWS].write(
            np.array([(offset, n_bytes, line, prompt_hash, family)], dtype=ROW).tobytes()
        )
        self.n_rows += 1
        self.n_originals += family == prompt_hash

    def add_child(
        self, *, line: int, prompt_hash: int, family: int, sequences: Iterable[TrainingSequence]
    ) -> None:
        """
        Append what was made of the row in *line*, which is trained and of which *family* is.
        """
        self._write(line, prompt_hash, family, sequences)
        self._files[_CHILDREN].write(np.array([prompt_hash], dtype="<u8").tobytes())

    def _write(
        self, line: int, prompt_hash: int, family: int, sequences: Iterable[TrainingSequence]
    ) -> None:
        records = []
        for sequence in sequences:
            mask = np.array(sequence.supervised, dtype=np.uint8)
            n_supervised, n = int(mask.sum()), len(sequence.input_ids)
            self._files[TOKENS].write(np.array(sequence.input_ids, dtype="<u4").tobytes())
            self._files[SUPERVISED].write(mask.tobytes())
            records.append((self.n_tokens, n, n_supervised, line, prompt_hash, TRAIN, family))
            self.n_tokens += n
            self.n_supervised += n_supervised
        self._files[_PENDING].write(np.array(records, dtype=_PENDING_SEQUENCE).tobytes())
        self.n_sequences += len(records)

    def close(self) -> None:
        """
        Close the files; nothing can be added until they are opened again.
        """
        for f in self._files.values():
            f.close()

    def reopen(self) -> None:
        """
        Open the files again, to add children.
        """
        self._files = {name: (self.folder / name).open("ab") for name in self._files}

    def rows(self) -> Iterator[npt.NDArray[Any]]:
        """
        Yield the ROW records in order, in chunks; the files must be closed.
        """
        if self._few_rows is None and self.n_rows <= _CHUNK_RECORDS:
            # Read several times; the table of a small file is kept in memory.
            self._few_rows = np.fromfile(self.folder / _ROWS, dtype=ROW)
        return (
            _chunks(self.folder / _ROWS, ROW) if self._few_rows is None else iter([self._few_rows])
        )

    def prompt_hashes(self) -> Iterator[Hashes]:
        """
        Yield the prompt hash of every row that is no child, in chunks.
        """
        for prompts, families in self.families():
            yield prompts[families == prompts]

    def families(self) -> Iterator[tuple[Hashes, Hashes]]:
        """
        Yield the prompt hash and the family of every row, in chunks.
        """
        for rows in self.rows():
            yield rows["prompt_hash"].copy(), rows["family"].copy()

    def children(self) -> Iterator[Hashes]:
        """
        Yield the prompt hashes of what ``add_child`` took, in chunks.
        """
        yield from _chunks(self.folder / _CHILDREN, np.dtype("<u8"))

    def apply_holdout(self, holdout: Holdout) -> int:
        """
        Write each sequence's split and put those to train first, both in their order.

        Returns:
            The number of sequences to train.
        """
        source = self.folder / _PENDING
        target = self.folder / SEQUENCES
        n_train = 0
        with target.open("wb") as f:
            for training in (True, False):
                for records in _chunks(source, _PENDING_SEQUENCE):
                    split = holdout.split(records["prompt_hash"].copy(), records["family"].copy())
                    records["split"] = split
                    kept = records[(split == TRAIN) == training][list(SEQUENCE.names or ())]
                    f.write(kept.astype(SEQUENCE).tobytes())
                    n_train += len(kept) if training else 0
        source.unlink()
        return n_train

    def forget_rows(self) -> None:
        """
        Remove the tables of rows, which are needed only while the dataset is made.
        """
        (self.folder / _ROWS).unlink()
        (self.folder / _CHILDREN).unlink()


def _chunks(path: Path, dtype: np.dtype[Any]) -> Iterator[npt.NDArray[Any]]:
    with path.open("rb") as f:
        while data := f.read(_CHUNK_RECORDS * dtype.itemsize):
            yield np.frombuffer(bytearray(data), dtype=dtype)


def _map(path: Path, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    if path.stat().st_size == 0:
        return np.empty(0, dtype=dtype)  # an empty file cannot be mapped
    return np.memmap(path, dtype=dtype, mode="r")


class TokenisedDataset:
    """
    The training sequences of one finished dataset, as a random-access list.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.dataset_id: str = manifest["dataset_id"]
        self._n: int = manifest["n_train_sequences"]
        self._records = _map(folder / SEQUENCES, SEQUENCE)[: self._n]
        self._tokens = _map(folder / TOKENS, "<u4")
        self._supervised = _map(folder / SUPERVISED, "u1")
        if len(self._records) != self._n or len(self._tokens) != len(self._supervised):
            raise CorruptFile(folder, "files of other lengths", f"{self._n} training sequences")

    @classmethod
    def open(cls, folder: Path) -> TokenisedDataset:
        """
        Open the dataset in *folder*, without reading it or checking its hashes.

        Raises:
            ModelError: It has no manifest, so it is not finished.
            CorruptFile: Its files do not have the lengths they must have.
        """
        return cls(folder, read_manifest(folder))

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """
        Return token ids and mask of training sequence *i*, shape (length,) each.
        """
        if not 0 <= i < self._n:
            raise IndexError(i)
        record = self._records[i]
        span = slice(int(record["offset"]), int(record["offset"]) + int(record["length"]))
        return self._tokens[span].astype(np.int64), self._supervised[span].astype(np.bool_)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length in tokens of each training sequence, shape (len,)."""
        return self._records["length"].astype(np.int64)

    @property
    def supervised_counts(self) -> npt.NDArray[np.int64]:
        """Tokens with loss in each training sequence, shape (len,), at least 1."""
        return self._records["n_supervised"].astype(np.int64)

    @property
    def lines(self) -> npt.NDArray[np.int64]:
        """Line of the row that each training sequence came from, shape (len,)."""
        return self._records["line"].astype(np.int64)

    @property
    def prompt_hashes(self) -> Hashes:
        """examples.prompt_hash of the row that each training sequence came from, shape (len,)."""
        return self._records["prompt_hash"].copy()

    @property
    def flat(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Tokens and mask of all sequences (memory maps), and where each training one begins."""
        return self._tokens, self._supervised, self._records["offset"].astype(np.int64)

    def example_id(self, i: int) -> str:
        """
        Return "<dataset_id>:<line>", the row that training sequence *i* came from.

        A conversation that became several sequences gives each the same id.
        """
        return f"{self.dataset_id}:{int(self._records['line'][i])}"

    def held_out_rows(self) -> Iterator[dict[str, Any]]:
        """
        Yield the held-out rows as records that examples.from_record understands.

        Beside those keys: ``id``, ``line``, ``system``, ``prompt`` (the last
        user message) and ``golden`` (the answer as the model must write it);
        the last three are null for a text.
        """
        with (self.folder / HELD_OUT_EXAMPLES).open("rb") as f:
            for line in f:
                yield orjson.loads(line)
