"""
The report of an ingestion about its file: counts that add up, in constant memory.

Does not know files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from finetuned.core.set_aside import sentence
from finetuned.data.holdout import HELD_OUT, RESERVED, TRAIN, Holdout
from finetuned.data.training_sequence import TrainingSequence

NOT_TO_TRAIN: Final = "not_to_train"
"""The code of rows that are marked not to be trained: they do not count against their file."""

MAX_UNUSED_KEYS: Final = 20
"""Most unused keys that are listed."""

_FIRST_REJECTS: Final = 5
_SHOWN_CODES: Final = 3


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """
    One line that is not trained, as rejects.jsonl and the report hold it.
    """

    line: int
    """Its number, from 1."""
    code: str
    reason: str
    text: str
    """Its beginning, without passwords."""


class Report:
    """
    The running counts of one file.
    """

    def __init__(self, name: str, dataset_id: str, n_bytes: int, max_length: int) -> None:
        self.name = name
        self.dataset_id = dataset_id
        self.n_bytes = n_bytes
        self.max_length = max_length
        self.rows_accepted = 0
        self.rows_rejected = 0
        self.seconds = 0.0
        self.train_rows = 0
        self.held_out_rows = 0
        self.leaks: dict[str, int] | None = None
        self.augmentation: dict[str, object] | None = None
        """What became of the children that data.augment asks for; None if it asks for none."""
        self._split: dict[str, Any] | None = None
        self._formats: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._first_of: dict[str, RejectedLine] = {}
        self._first_rejects: list[RejectedLine] = []
        self._unused: Counter[str] = Counter()
        self._n_tokens = 0
        self._n_supervised = 0
        self._n_split_rows = 0
        # One count per length: percentiles without keeping the lengths.
        self._lengths = np.zeros(max_length + 1, dtype=np.int64)

    @property
    def rows_read(self) -> int:
        """Lines that are not blank."""
        return self.rows_accepted + self.rows_rejected

    @property
    def unused_keys(self) -> dict[str, int]:
        """Keys that no reader knows, and how many accepted rows have each, the most first."""
        return dict(self._unused.most_common(MAX_UNUSED_KEYS))

    def count_accepted(
        self, format_name: str, sequences: list[TrainingSequence], unused: Iterable[str] = ()
    ) -> None:
        """
        Count one accepted row, the sequences it became, and its keys that no reader knows.
        """
        self.rows_accepted += 1
        for key in unused:
            # A broken export may have another key in every row.
            if key in self._unused or len(self._unused) < 10 * MAX_UNUSED_KEYS:
                self._unused[key] += 1
        self._formats[format_name] += 1
        self._n_split_rows += len(sequences) > 1
        for sequence in sequences:
            self._n_tokens += len(sequence.input_ids)
            self._n_supervised += sum(sequence.supervised)
            self._lengths[len(sequence.input_ids)] += 1

    def count_rejected(self, rejected: RejectedLine) -> None:
        """
        Count one rejected line; the first few are kept whole.
        """
        self.rows_rejected += 1
        self._codes[rejected.code] += 1
        self._first_of.setdefault(rejected.code, rejected)
        if len(self._first_rejects) < _FIRST_REJECTS:
            self._first_rejects.append(rejected)

    def set_split(self, rows_of: Sequence[int], holdout: Holdout, n_train_sequences: int) -> None:
        """
        Record how many rows each split has.

        Args:
            rows_of: Rows by split; the indices are TRAIN, HELD_OUT and RESERVED of data.holdout.
            holdout: The decision.
            n_train_sequences: Sequences to train.
        """
        self.train_rows = rows_of[TRAIN]
        self.held_out_rows = rows_of[HELD_OUT]
        self._split = {
            "distinct_prompts": holdout.n_prompts,
            "train_rows": rows_of[TRAIN],
            "train_sequences": n_train_sequences,
            "heldout_rows": rows_of[HELD_OUT],
            "heldout_prompts": len(holdout.held_out),
            "reserved_rows": rows_of[RESERVED],
            "no_heldout_because": holdout.reason,
        }

    def refusal(self, max_rejected_fraction: float) -> str | None:
        """
        Return why the whole file is set aside and what to do, or None if it is accepted.

        Args:
            max_rejected_fraction: data.max_rejected_fraction, 0 to 1.
        """
        if self.rows_read == 0:
            return "the file has no lines" if self.n_bytes == 0 else "all lines are blank"
        # Who marks a row not to be trained made no mistake.
        marked = self._codes[NOT_TO_TRAIN]
        bad = self.rows_rejected - marked
        fraction = bad / self.rows_read
        if self.rows_accepted and fraction <= max_rejected_fraction:
            return None
        if bad == 0:
            first = self._first_of[NOT_TO_TRAIN].line
            return f"all {marked} rows are marked not to be trained (the first is line {first})"
        found = f"{bad} of {self.rows_read} lines are rejected ({fraction:.1%}): {self._faults()}"
        again = "correct or remove the rejected lines and drop the file again"
        if not self.rows_accepted:
            return sentence(f"{found}. No line is left to train", again)
        return sentence(
            f"{found}. More than data.max_rejected_fraction = {max_rejected_fraction:g} sets the "
            f"whole file aside",
            f"{again}, or raise data.max_rejected_fraction to train the other "
            f"{self.rows_accepted} lines",
        )

    def _faults(self) -> str:
        """Return what is wrong with the rejected lines, the most frequent reasons first."""
        found = [code for code, _ in self._codes.most_common() if code != NOT_TO_TRAIN]
        faults = [
            f"{self._codes[code]} {code} (the first is line {self._first_of[code].line}: "
            f"{self._first_of[code].reason})"
            for code in found[:_SHOWN_CODES]
        ]
        more = len(found) - len(faults)
        return "; ".join(faults) + (f"; {more} more reasons" if more else "")

    def as_dict(self) -> dict[str, Any]:
        """
        Return the report as report.json holds it.
        """
        return {
            "dataset_id": self.dataset_id,
            "source_name": self.name,
            "source_bytes": self.n_bytes,
            "rows_read": self.rows_read,
            "rows_accepted": self.rows_accepted,
            "rows_rejected": self.rows_rejected,
            "rejected": dict(self._codes.most_common()),
            "first_rejects": [asdict(rejected) for rejected in self._first_rejects],
            "formats": dict(self._formats.most_common()),
            "unused_keys": self.unused_keys,
            "sequences": int(self._lengths.sum()),
            "rows_split_into_several_sequences": self._n_split_rows,
            "tokens": self._n_tokens,
            "supervised_tokens": self._n_supervised,
            "supervised_share": round(self._n_supervised / max(1, self._n_tokens), 4),
            "length_tokens": self._percentiles(),
            "max_length": self.max_length,
            "split": self._split,
            "leaks": self.leaks,
            "augmentation": self.augmentation,
            "seconds": self.seconds,
        }

    def _percentiles(self) -> dict[str, int] | None:
        total = int(self._lengths.sum())
        if total == 0:
            return None
        running = np.cumsum(self._lengths)
        shares = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        return {
            name: int(np.searchsorted(running, max(1, -(-total * share // 1))))
            for name, share in shares.items()
        }
