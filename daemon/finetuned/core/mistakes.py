"""
What is wrong with an answer, as codes: its length, content, numbers and structure.

The codes are those that users of the first such daemon know (SELF_CORRECTION_GUIDE.md of
definitelynotrussellkirk-bit/TRAINING); the limits between them are ours. Pure; does not know who
answered, nor what becomes of it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from finetuned.core.scoring.json_values import NOT_JSON, parse_json
from finetuned.core.scoring.texts import NUMBER, normalise, token_f1


class Code(StrEnum):
    """
    One kind of mistake; ``{n}`` is a number.
    """

    SHORT_BY = "LENGTH_SHORT_BY_{n}_TOKENS"  # so many tokens fewer than expected
    LONG_BY = "LENGTH_LONG_BY_{n}_TOKENS"  # so many tokens more
    TOO_BRIEF = "TOO_BRIEF"  # less than half as long
    TOO_VERBOSE = "TOO_VERBOSE"  # more than twice as long
    VERY_DIFFERENT = "VERY_DIFFERENT_CONTENT"  # less than LITTLE alike
    SIMILARITY = "SIMILARITY_{n}%"  # word F1 of the two, rounded down
    CLOSE = "CLOSE_BUT_INACCURATE"  # at least MUCH alike, and not the same
    OFF_TOPIC = "OFF_TOPIC_CONTENT"  # it has words, and none is expected
    PRIMARY_MISSING = "PRIMARY_ANSWER_MISSING"  # what the expected answer comes to is not in it
    MISSING_TERMS = "MISSING_KEY_CONCEPTS_{n}_TERMS"  # so many expected words are not in it
    NO_NUMBERS = "MISSING_NUMBERS"  # numbers are expected, and it has none
    NUMBERS_LACK = "NUMERIC_ERROR_MISSING_{n}_VALUES"  # so many expected numbers are not in it
    NUMBERS_EXTRA = "NUMERIC_ERROR_EXTRA_{n}_VALUES"  # so many numbers in it are not expected
    NOT_A_LIST = "STRUCTURE_SHOULD_BE_LIST"
    NOT_PROSE = "STRUCTURE_SHOULD_BE_PROSE"
    NO_CODE_BLOCK = "MISSING_CODE_BLOCK"
    CODE_BLOCK = "UNEXPECTED_CODE_BLOCK"
    NOT_JSON = "FORMAT_SHOULD_BE_JSON"


LITTLE: Final = 30
"""Word F1 in percent below which two answers are very different."""
MUCH: Final = 80
"""Word F1 in percent from which on they are close."""
TERM_LETTERS: Final = 4
"""Least letters of a word that counts as a term: shorter ones are mostly grammar."""

_LIST_LINE: Final = re.compile(r"^\s*(?:[-*\N{BULLET}]|\d+[.)])\s+\S", re.MULTILINE)
_LEAST_LINES: Final = 2
_FENCE: Final = "```"
_NUMBER: Final = re.compile(NUMBER)


@dataclass(frozen=True, slots=True)
class Mistake:
    """
    One thing that is wrong with an answer.
    """

    code: Code
    n: int | None = None
    """The number in the code, if it has one: >= 1, but for a similarity, 0 to 100."""

    def __str__(self) -> str:
        return self.code.value.format(n=self.n)


def mistakes_of(
    answer: str, expected: str, *, answer_tokens: int, expected_tokens: int
) -> tuple[Mistake, ...]:
    """
    Return what is wrong with an answer, in the order of ``Code``; empty only if it is as expected.

    White space around the two does not count.

    Args:
        answer: What was answered.
        expected: What is right.
        answer_tokens: Length of the answer, >= 0.
        expected_tokens: Length of the expected one, >= 0.
    """
    answer, expected = answer.strip(), expected.strip()
    if answer == expected:
        return ()
    return (
        *_length(answer_tokens, expected_tokens),
        *_content(answer, expected),
        *_numbers(answer, expected),
        *_structure(answer, expected),
    )


def _length(n: int, wanted: int) -> list[Mistake]:
    if n < wanted:
        brief = [Mistake(Code.TOO_BRIEF)] if 2 * n < wanted else []
        return [Mistake(Code.SHORT_BY, wanted - n), *brief]
    if n > wanted:
        verbose = [Mistake(Code.TOO_VERBOSE)] if n > 2 * wanted else []
        return [Mistake(Code.LONG_BY, n - wanted), *verbose]
    return []


def _content(answer: str, expected: str) -> list[Mistake]:
    alike = int(100 * token_f1(answer, expected))
    has, wanted = normalise(answer).split(), normalise(expected).split()
    found = [Mistake(Code.VERY_DIFFERENT)] if alike < LITTLE else []
    found.append(Mistake(Code.SIMILARITY, alike))
    if alike >= MUCH:
        found.append(Mistake(Code.CLOSE))
    if has and not set(has) & set(wanted):
        found.append(Mistake(Code.OFF_TOPIC))
    if f" {normalise(_primary(expected))} " not in f" {' '.join(has)} ":
        found.append(Mistake(Code.PRIMARY_MISSING))
    terms = {word for word in wanted if sum(map(str.isalpha, word)) >= TERM_LETTERS}
    if missing := terms - set(has):
        found.append(Mistake(Code.MISSING_TERMS, len(missing)))
    return found


def _primary(expected: str) -> str:
    """Return what an answer comes to: the first value of an object, else the last line."""
    value = parse_json(expected)
    if isinstance(value, dict) and value:
        first = next(iter(value.values()))
        return first if isinstance(first, str) else expected
    return expected.splitlines()[-1] if expected else ""


def _numbers(answer: str, expected: str) -> list[Mistake]:
    has, wanted = _values(answer), _values(expected)
    lack, extra = (wanted - has).total(), (has - wanted).total()
    found = [Mistake(Code.NO_NUMBERS)] if wanted and not has else []
    if lack:
        found.append(Mistake(Code.NUMBERS_LACK, lack))
    if extra:
        found.append(Mistake(Code.NUMBERS_EXTRA, extra))
    return found


def _values(text: str) -> Counter[float]:
    plain = text.replace("\N{MINUS SIGN}", "-")
    return Counter(float(n.replace(",", "")) for n in _NUMBER.findall(plain))


def _structure(answer: str, expected: str) -> list[Mistake]:
    has, wanted = (len(_LIST_LINE.findall(t)) >= _LEAST_LINES for t in (answer, expected))
    found = []
    if has != wanted:
        found.append(Mistake(Code.NOT_A_LIST if wanted else Code.NOT_PROSE))
    if (_FENCE in answer) != (_FENCE in expected):
        found.append(Mistake(Code.NO_CODE_BLOCK if _FENCE in expected else Code.CODE_BLOCK))
    if _is_object(expected) and parse_json(answer) is NOT_JSON:
        found.append(Mistake(Code.NOT_JSON))
    return found


def _is_object(text: str) -> bool:
    """Return whether a text is a JSON object or array: a number alone is no format."""
    return isinstance(parse_json(text), dict | list)
