"""
Sentences from templates with alternatives.

``[add|create [a|one]] user {user}`` stands for three sentences with a gap;
``[please|]`` may be empty. Gaps are left in: a sentence with gaps is a
*phrasing*, and what two data sets share or do not share is decided on those.

Knows brackets; does not know what the sentences say.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import lru_cache

GAP = re.compile(r"\{(\w+)\}")
_TOKEN = re.compile(r"[\[\]|]|[^\[\]|]+")

_Sequence = tuple["str | _Choice", ...]


class _Choice(tuple[_Sequence, ...]):
    """
    Alternatives, one of which is taken.
    """

    __slots__ = ()


def pick(template: str, rng: random.Random) -> str:
    """
    Take one phrasing from *template*, each choice with equal chances.

    Args:
        template: Text with ``[a|b]`` alternatives, nested as deep as wanted.
        rng: Where the choices come from.

    Returns:
        The phrasing, single-spaced, gaps such as ``{user}`` left in.

    Raises:
        ValueError: Brackets do not match.
    """
    return tidy("".join(_walk(_parse(template), rng)))


def tidy(text: str) -> str:
    """
    Remove the double spaces and spaces before commas that empty choices leave.
    """
    text = re.sub(r" +([,.?!;])", r"\1", re.sub(r"\s+", " ", text))
    return text.strip()


def fill(phrasing: str, values: Mapping[str, str]) -> str:
    """
    Put *values* into the gaps of *phrasing*.

    Raises:
        KeyError: A gap has no value.
    """
    return GAP.sub(lambda m: values[m.group(1)], phrasing)


def count(template: str) -> int:
    """
    Return how many ways through *template* there are, at least 1.
    """

    def ways(sequence: _Sequence) -> int:
        product = 1
        for part in sequence:
            if isinstance(part, _Choice):
                product *= sum(ways(s) for s in part)
        return product

    return ways(_parse(template))


def _walk(sequence: _Sequence, rng: random.Random) -> list[str]:
    out: list[str] = []
    for part in sequence:
        if isinstance(part, str):
            out.append(part)
        else:
            out.extend(_walk(part[rng.randrange(len(part))], rng))
    return out


@lru_cache(maxsize=4096)
def _parse(template: str) -> _Sequence:
    tokens = _TOKEN.findall(template)
    sequence, rest = _read(tokens, 0)
    if rest != len(tokens):
        raise ValueError(f"unmatched bracket in {template!r}")
    return sequence


def _read(tokens: list[str], at: int) -> tuple[_Sequence, int]:
    sequence: list[str | _Choice] = []
    while at < len(tokens) and tokens[at] not in "|]":
        if tokens[at] != "[":
            sequence.append(tokens[at])
            at += 1
            continue
        branches: list[_Sequence] = []
        while True:
            branch, at = _read(tokens, at + 1)
            branches.append(branch)
            if at >= len(tokens):
                raise ValueError("a bracket is not closed")
            if tokens[at] == "]":
                break
        sequence.append(_Choice(branches))
        at += 1
    return tuple(sequence), at
