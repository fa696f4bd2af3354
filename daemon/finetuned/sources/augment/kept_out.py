"""
Questions that no child may say: held-out rows, benchmarks and canaries.

A child is refused if its prompt is one of theirs, but for case and punctuation, or if it has the
same answer and all words but one: exchanged, added or left out. Of every question only hashes are
kept, 8 bytes for each of its words. Knows rows and folders of datasets; does not know transforms.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from finetuned.data import store
from finetuned.data.examples import Example, from_record, prompt_hash
from finetuned.data.holdout import PromptIndex
from finetuned.data.store import TokenisedDataset
from finetuned.data.suite import load_suite, suite_files
from finetuned.layout import MANIFEST
from finetuned.sources.augment.exchange import words_of
from finetuned.sources.augment.transform import words_in_order

_PRIME: Final = 2**61 - 1
_BASE: Final = 0x9E3779B97F4A7C1
_INVERSE: Final = pow(_BASE, -1, _PRIME)
_MOST_WORDS: Final = 400
"""Of a longer prompt the first so many words are compared but for one; the whole as it is."""


class KeptOut:
    """
    A set of questions, as hashes.
    """

    def __init__(self) -> None:
        self.prompts = PromptIndex()
        """Hashes of whole prompts, as examples.prompt_hash makes them."""
        self._said = PromptIndex()
        self._nearly = PromptIndex()

    def copy(self) -> KeptOut:
        """
        Return a set of the same questions, to which others can be added.
        """
        other = KeptOut()
        other.prompts, other._said, other._nearly = (
            index.copy() for index in (self.prompts, self._said, self._nearly)
        )
        return other

    @classmethod
    def load(cls, datasets: Path | None, benchmarks: Path | None) -> KeptOut:
        """
        Read the held-out rows of every finished dataset, and the suites with the canaries.

        Args:
            datasets: Folder of the published datasets; None or absent: there are none.
            benchmarks: Folder of the suites; likewise.

        Raises:
            SuiteError: A suite cannot be read, so nothing can be held against it.
        """
        kept = cls()
        for suite in suite_files(benchmarks) if benchmarks is not None else ():
            kept.add([question.example for question in load_suite(suite).questions])
        if datasets is not None and datasets.is_dir():
            for entry in sorted(os.listdir(datasets)):
                if not entry.startswith(".") and (datasets / entry / MANIFEST).is_file():
                    kept.add_dataset(datasets / entry)
        return kept

    def add_dataset(self, folder: Path) -> None:
        """
        Add the held-out rows of a finished dataset.
        """
        self.prompts.add_file(folder / store.PROMPTS_HELD_OUT)
        self.add([from_record(row) for row in TokenisedDataset.open(folder).held_out_rows()])

    def add(self, examples: Iterable[Example]) -> None:
        """
        Add questions.
        """
        prompts: list[int] = []
        said: list[int] = []
        nearly: list[int] = []
        for example in examples:
            prompts.append(prompt_hash(example))
            exact, *near = _keys(example)
            said.append(exact)
            nearly += near
        for index, hashes in (
            (self.prompts, prompts),
            (self._said, said),
            (self._nearly, nearly),
        ):
            index.add(np.unique(np.array(hashes, dtype=np.uint64)))

    def holds(self, example: Example) -> str | None:
        """
        Return how a row says one of the questions, in one word; None if it does not.
        """
        exact, *near = _keys(example)
        whole = _array([prompt_hash(example)])
        if self.prompts.contains(whole).any() or self._said.contains(_array([exact])).any():
            return "equals_held_out"
        return "near_held_out" if self._nearly.contains(_array(near)).any() else None


def _array(hashes: list[int]) -> npt.NDArray[np.uint64]:
    return np.array(hashes, dtype=np.uint64)


def _question(example: Example) -> tuple[str, str]:
    if example.kind == "text":
        return example.text or "", ""
    users = [m["content"] for m in example.messages[:-1] if m["role"] == "user"]
    return (users[-1] if users else ""), example.messages[-1]["content"]


def _keys(example: Example) -> Iterator[int]:
    """
    Yield the hash of a question, then those with which questions that differ in a word share one.

    Two lists of words are at most one word apart only if what is left of them after leaving out
    at most one word is the same somewhere. The answer is part of these, not of the first.
    """
    prompt, answer = _question(example)
    words = [word.casefold() for word in words_of(prompt)]
    yield _hash("\0".join(words))
    end = _hash("\1".join(words_in_order(answer)))
    numbers = [_hash(word) % _PRIME for word in words[:_MOST_WORDS]]
    powers = [1]
    for _ in numbers:
        powers.append(powers[-1] * _BASE % _PRIME)
    total = sum(n * powers[i] for i, n in enumerate(numbers)) % _PRIME
    yield _mixed(total, len(numbers), end)
    before = 0
    after = total
    for i, number in enumerate(numbers):
        after = (after - number * powers[i]) % _PRIME
        # Everything behind the word left out moves one place to the front.
        moved = after * _INVERSE % _PRIME
        yield _mixed((before + moved) % _PRIME, len(numbers) - 1, end)
        before = (before + number * powers[i]) % _PRIME


def _mixed(value: int, length: int, end: int) -> int:
    return (value * 0x9E3779B97F4A7C15 + length * 0xBF58476D1CE4E5B9 + end) % 2**64


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
