"""
How people write a sentence down: quotes around names, typos, small letters, no full stop.

Knows letters and quotation marks; does not know what a sentence asks for.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from finetuned.sources.intents.grammar import GAP, fill

QUOTES = (("'", "'"), ('"', '"'), ("`", "`"), ("<", ">"), ("\u201c", "\u201d"))
_HOSTS = ("zone", "target")


def written(phrasing: str, values: Mapping[str, str], rng: random.Random) -> str:
    """
    Fill *phrasing* the way somebody would type it.

    Args:
        phrasing: A sentence with open gaps.
        values: The name of each gap; they are spelled as they are, but for hosts, which
            may have capital letters or a final dot.
        rng: Where the choices come from.

    Returns:
        The text of the prompt.
    """
    # The tables keep a space before a colon; few people do.
    text = phrasing if rng.random() < 0.15 else re.sub(r" +:", ":", phrasing)
    if rng.random() < 0.12:
        text = _typo(text, rng)
    if rng.random() < 0.15:
        text = _lower(text)
    if rng.random() < 0.1:
        text = text.rstrip(".!?")
    return fill(text, _shown(values, rng))


def _shown(values: Mapping[str, str], rng: random.Random) -> dict[str, str]:
    shown = dict(values)
    for gap in shown:
        if gap.startswith(_HOSTS):
            form = rng.random()
            if form < 0.02:
                shown[gap] = shown[gap].upper() if form < 0.007 else shown[gap].capitalize()
            elif form < 0.03:
                shown[gap] += "."
    if rng.random() < 0.2:
        before, after = rng.choices(QUOTES, (8, 6, 2, 1, 1))[0]
        # Either every name is quoted or only those that could be taken for words.
        quoted = [g for g in shown if g.startswith(("user", "group", "share"))]
        # A text already stands between quotes.
        named = [g for g in shown if not g.startswith("text")]
        for gap in named if rng.random() < 0.3 else quoted:
            shown[gap] = f"{before}{shown[gap]}{after}"
    return shown


def _typo(text: str, rng: random.Random) -> str:
    """Swap, drop or double a letter of one or two words; gaps are left alone."""
    parts = re.split(r"(\{\w+\}|[A-Za-z]{4,})", text)
    words = [i for i, part in enumerate(parts) if re.fullmatch(r"[A-Za-z]{4,}", part)]
    for i in rng.sample(words, min(len(words), rng.choice((1, 1, 2)))):
        word = parts[i]
        at = rng.randrange(1, len(word) - 1)
        parts[i] = rng.choice(
            (
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
            )
        )
    return "".join(parts)


def _lower(text: str) -> str:
    return "".join(p if GAP.fullmatch(p) else p.lower() for p in re.split(r"(\{\w+\})", text))
