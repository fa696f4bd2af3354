"""
Texts compared by their last number, their words, or without case and punctuation.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from typing import Final

NUMBER: Final = r"[-+]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
"""A number in a text, as a regular expression; commas separate thousands."""


def last_number(text: str) -> float | None:
    """
    Return the last number in *text*, commas as thousands; None if there is no number.

    ``#### 1,234.`` is 1234: a full stop that ends a sentence is no decimal point.
    """
    found = re.findall(NUMBER, text.replace("\N{MINUS SIGN}", "-"))
    value = float(found[-1].replace(",", "")) if found else None
    return value if value is not None and math.isfinite(value) else None


def normalise(text: str) -> str:
    """
    Return *text* without differences of case, punctuation and spacing.

    Unicode NFKC, case folded, punctuation and symbols replaced by spaces (a
    minus before a digit and a point between digits stay: they are the number).
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    kept = []
    for i, c in enumerate(text):
        after = text[i + 1 : i + 2]
        between = text[i - 1 : i].isdigit() and after.isdigit()
        is_minus = c == "-" and after.isdigit() and not text[i - 1 : i].isalnum()
        is_word = unicodedata.category(c)[0] not in "PS"
        kept.append(c if is_word or is_minus or (c == "." and between) else " ")
    return " ".join("".join(kept).split())


def token_f1(answer: str, expected: str) -> float:
    """
    Return the F1 of the two texts as bags of normalised words, 0 to 1.

    Source:
        Rajpurkar et al., SQuAD, EMNLP 2016, without their removal of English articles.
    """
    ours, theirs = normalise(answer).split(), normalise(expected).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))
