"""
Rows of the four shapes: prefix + question + answer, as token ids.

The answer is a function of the question, so there is something to learn. Every
contestant gets these very tokens. Does not know text, tokenizers or models.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Row = tuple[npt.NDArray[np.uint32], npt.NDArray[np.bool_]]
"""``(token ids, supervised flags)`` of equal length."""

Lengths = Callable[[np.random.Generator, int], npt.NDArray[np.int64]]

FIRST_TOKEN = 4
"""Ids below are left to padding and other special tokens."""

ALPHABET = 64
"""Different tokens that questions and answers are made of."""


@dataclass(frozen=True, slots=True)
class Workload:
    """
    One shape of rows; lengths in tokens.
    """

    name: str
    prefix: int
    """Tokens that begin every row, the same in all of them."""
    question: Lengths
    answer: Lengths


def _around(mean: int) -> Lengths:
    low, high = round(0.7 * mean), round(1.3 * mean)
    return lambda rng, n: rng.integers(low, high + 1, n)


def _widely(low: int, high: int) -> Lengths:
    """Many short, few long: the logarithm of the length is uniform."""

    def draw(rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
        return np.rint(np.exp(rng.uniform(np.log(low), np.log(high), n))).astype(np.int64)

    return draw


WORKLOADS = {
    w.name: w
    for w in (
        Workload("80+15+30", 80, _around(15), _around(30)),
        Workload("400+20+40", 400, _around(20), _around(40)),
        Workload("350+300+200", 350, _around(300), _around(200)),
        # 20 to 300 tokens each, about 100 on average.
        Workload("0+100+100", 0, _widely(20, 300), _widely(20, 300)),
    )
}


def make_rows(name: str, n: int, *, part: str, vocab_size: int, seed: int) -> list[Row]:
    """
    Return *n* rows of a workload; the same arguments give the same rows.

    Args:
        name: A name in WORKLOADS.
        n: Rows, >= 0.
        part: "train", "held-out" or "warm-up": same kind of rows, other questions.
        vocab_size: Ids are below it; at least FIRST_TOKEN + ALPHABET.
        seed: Prefix and rule depend on it and on the name, not on the part.

    Raises:
        KeyError: There is no such workload.
    """
    workload = WORKLOADS[name]
    key = zlib.crc32(name.encode())
    common = np.random.default_rng([seed, key])
    prefix = common.integers(FIRST_TOKEN, vocab_size, workload.prefix)
    alphabet = FIRST_TOKEN + common.choice(vocab_size - FIRST_TOKEN, ALPHABET, replace=False)
    rule = common.permutation(ALPHABET)
    own = np.random.default_rng([seed, key, zlib.crc32(part.encode())])
    rows: list[Row] = []
    for q, a in zip(workload.question(own, n), workload.answer(own, n), strict=True):
        question = own.integers(0, ALPHABET, q)
        answer = rule[question[np.arange(a) % q]]
        ids = np.concatenate([prefix, alphabet[question], alphabet[answer]]).astype(np.uint32)
        supervised = np.zeros(len(ids), dtype=np.bool_)
        supervised[workload.prefix + q :] = True
        rows.append((ids, supervised))
    return rows


def fingerprint(ids: Sequence[int] | npt.NDArray[np.integer]) -> int:
    """
    Return 32 bits that tell one row's tokens from another's.
    """
    return zlib.crc32(np.asarray(ids, dtype=np.uint32).tobytes())


def digest(fingerprints: Sequence[int]) -> str:
    """
    Return 8 hex digits over rows in any order: equal if the same rows were trained.
    """
    ordered = np.sort(np.asarray(fingerprints, dtype=np.uint32))
    return f"{zlib.crc32(ordered.tobytes()):08x}"
