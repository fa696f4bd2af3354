"""
Held-out rows that also stand among the rows to train: the same question, or many of its words.

Prompts are already split by their hash; what is looked for here is the same
question with the same answer under another system prompt or history (exact),
and any 13 words in a row in common (the n-gram check of GPT-3, Brown et al.
2020, appendix C). Word sequences that occur in more than 1% of the training
rows, and in more than 10, are boilerplate and do not count.

Knows words and hashes; does not know files of rows or what to do about a leak.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt
import orjson

from finetuned.data.examples import Example
from finetuned.data.holdout import Hashes, PromptIndex

NGRAM_WORDS: Final = 13

_WEIGHTS: Final = np.array(
    [pow(0x9E3779B97F4A7C15, i + 1, 2**64) for i in range(NGRAM_WORDS)], dtype=np.uint64
)
_HIT: Final = np.dtype([("row", "<u8"), ("ngram", "<u8")])
_HITS_AT_ONCE: Final = 1 << 18


def answers(example: Example) -> list[int]:
    """
    Return one 64-bit hash per question with its answer, case and spacing ignored.

    A text is its own question and answer.
    """
    if example.kind == "text":
        return [_hash(example.text or "")]
    hashes = []
    question = ""
    for message in example.messages:
        if message["role"] == "user":
            question = message["content"]
        elif message["role"] == "assistant":
            calls = [c["function"] for c in message.get("tool_calls", ())]
            said = message["content"] + (orjson.dumps(calls).decode() if calls else "")
            hashes.append(_hash(f"{question}\0{said}"))
    return hashes


def passages(example: Example) -> list[str]:
    """
    Return the texts in which n-grams are looked for: all but system and tool messages.
    """
    if example.kind == "text":
        return [example.text or ""]
    return [m["content"] for m in example.messages if m["role"] in ("user", "assistant")]


def ngrams(rows: list[list[str]]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """
    Return the hashes of all n-grams, and for each the number of its row in *rows*.

    N-grams do not cross from one passage into the next.
    """
    hashes: list[int] = []
    owners: list[int] = []
    starts: list[int] = []  # where each passage begins
    for i, texts in enumerate(rows):
        for text in texts:
            words = text.lower().split()
            if len(words) >= NGRAM_WORDS:
                starts.append(len(hashes))
                hashes.extend(crc32(word.encode()) for word in words)
                owners.extend([i] * len(words))
    n = len(hashes) - NGRAM_WORDS + 1
    if n <= 0:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
    words_hashed = np.array(hashes, dtype=np.uint64) + np.uint64(1)
    result = np.zeros(n, dtype=np.uint64)
    for k in range(NGRAM_WORDS):
        result += words_hashed[k : k + n] * _WEIGHTS[k]
    keep = np.ones(n, dtype=np.bool_)
    for start in starts[1:]:
        keep[max(0, start - NGRAM_WORDS + 1) : start] = False
    return result[keep], np.array(owners[:n], dtype=np.int64)[keep]


@dataclass(frozen=True, slots=True)
class LeakCounts:
    """
    What was found.
    """

    exact_rows: int
    """Training rows with a question and answer of a held-out row."""

    ngram_rows: int
    """Training rows that share an n-gram, boilerplate aside, with a held-out row."""

    heldout_rows: int
    """Held-out rows of this dataset that such a training row touches, either way."""

    boilerplate_ngrams: int
    """Shared n-grams that were left out of the count because they are everywhere."""


class LeakCheck:
    """
    Compares training rows, as they stream by, with the held-out rows.
    """

    def __init__(self, *, n_train_rows: int, hits_file: Path) -> None:
        self._limit = max(10, n_train_rows // 100)
        self._hits_file = hits_file
        self._ngrams = PromptIndex()
        self._answers = PromptIndex()
        self._own: list[tuple[Hashes, Hashes]] = []
        self._counts: Counter[int] = Counter()
        self._leaked_answers: set[int] = set()
        self._row = 0
        self._exact_rows = 0

    def add_earlier(self, *, ngrams: PromptIndex, answers: PromptIndex) -> None:
        """
        Add the held-out rows of earlier datasets, by their stored hashes.
        """
        self._ngrams, self._answers = ngrams, answers

    def add_held_out(self, example: Example) -> None:
        """
        Add one held-out row of this dataset.
        """
        grams, _ = ngrams([passages(example)])
        self._own.append((np.unique(grams), np.unique(np.array(answers(example)[-1:], np.uint64))))

    def held_out_hashes(self) -> tuple[Hashes, Hashes]:
        """
        Return the n-grams and answers of this dataset's held-out rows, sorted and distinct.
        """
        empty = np.empty(0, dtype=np.uint64)
        grams = np.unique(np.concatenate([empty, *(g for g, _ in self._own)]))
        return grams, np.unique(np.concatenate([empty, *(a for _, a in self._own)]))

    def check(self, batches: Iterable[list[Example]]) -> LeakCounts:
        """
        Compare every training row with what was added, and count.

        Args:
            batches: The training rows in any grouping; read once.
        """
        own_grams, own_answers = self.held_out_hashes()
        with self._hits_file.open("wb") as f:
            for batch in batches:
                f.write(self._look(batch, own_grams, own_answers).tobytes())
        shared = np.array([g for g, n in self._counts.items() if n <= self._limit], dtype=np.uint64)
        shared.sort()
        leaked = np.array(sorted(self._leaked_answers), dtype=np.uint64)
        touched = sum(
            1
            for grams, keys in self._own
            if np.isin(grams, shared).any() or np.isin(keys, leaked).any()
        )
        counts = LeakCounts(
            exact_rows=self._exact_rows,
            ngram_rows=_count_rows(self._hits(), shared),
            heldout_rows=touched,
            boilerplate_ngrams=len(self._counts) - len(shared),
        )
        self._hits_file.unlink()
        return counts

    def _look(
        self, batch: list[Example], own_grams: Hashes, own_answers: Hashes
    ) -> npt.NDArray[np.void]:
        grams, owners = ngrams([passages(example) for example in batch])
        found = np.isin(grams, own_grams) | self._ngrams.contains(grams)
        pairs = np.unique(np.rec.fromarrays([owners[found] + self._row, grams[found]], dtype=_HIT))
        self._counts.update(pairs["ngram"].tolist())
        # Those that are boilerplate by now need not be kept for the second look.
        rare = [self._counts[g] <= self._limit for g in pairs["ngram"].tolist()]
        for example in batch:
            keys = np.array(answers(example), dtype=np.uint64)
            own = np.isin(keys, own_answers)
            if (own | self._answers.contains(keys)).any():
                self._exact_rows += 1
                self._leaked_answers.update(keys[own].tolist())
        self._row += len(batch)
        return pairs[np.array(rare, dtype=np.bool_)]

    def _hits(self) -> Iterator[npt.NDArray[np.void]]:
        with self._hits_file.open("rb") as f:
            while data := f.read(_HITS_AT_ONCE * _HIT.itemsize):
                yield np.frombuffer(data, dtype=_HIT)


def _count_rows(hits: Iterator[npt.NDArray[np.void]], shared: Hashes) -> int:
    rows = 0
    last = -1
    for part in hits:  # ordered by row
        found = np.unique(part["row"][np.isin(part["ngram"], shared)])
        rows += len(found) - int(len(found) > 0 and int(found[0]) == last)
        last = int(found[-1]) if len(found) else last
    return rows


def _hash(text: str) -> int:
    data = " ".join(text.lower().split()).encode()
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")
