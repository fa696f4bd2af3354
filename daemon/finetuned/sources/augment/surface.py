"""
The same words written otherwise: casing, typing errors, spaces and punctuation.

Pure.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Final

from finetuned.sources.augment.exchange import Exchange, FreeWord, free_words, instruction_end
from finetuned.sources.augment.transform import Transform, lost_something, words_in_order

_LONG_ENOUGH: Final = 5
"""Shortest word with a typing error, in letters: shorter ones become other words."""

_ONE_TYPO_PER: Final = 40
"""Characters of a prompt for each typing error, at least one and at most MOST_TYPOS in all."""

MOST_TYPOS: Final = 3

_ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _neighbours() -> dict[str, str]:
    """Return the keys around each letter of a QWERTY keyboard."""
    found = {}
    for y, row in enumerate(_ROWS):
        for x, key in enumerate(row):
            near = row[max(0, x - 1) : x] + row[x + 1 : x + 2]
            if y:
                near += _ROWS[y - 1][x : x + 2]
            if y + 1 < len(_ROWS):
                near += _ROWS[y + 1][max(0, x - 1) : x + 1]
            found[key] = near
    return found


NEIGHBOURS: Final = _neighbours()


def _respelt(prompt: str, words: list[tuple[FreeWord, str]]) -> str:
    for word, other in sorted(words, key=lambda pair: -pair[0].start):
        prompt = prompt[: word.start] + other + prompt[word.end :]
    return prompt


def _draw_casing(exchange: Exchange, rng: random.Random) -> Exchange | None:
    words = free_words(exchange)
    begins = [word for word in words if word.text[0].isupper() or word.start == 0]
    ways = ["upper", "first"] if begins else ["upper"]
    if rng.choice(ways) == "first":
        changed = [(word, word.text[0].swapcase() + word.text[1:]) for word in begins]
    else:
        changed = [(word, word.text.upper()) for word in words if not word.text.isupper()]
        if rng.random() < 0.5:
            changed = changed[:1] if rng.random() < 0.5 else changed[-1:]
    return replace(exchange, prompt=_respelt(exchange.prompt, changed)) if changed else None


def _only_case(parent: Exchange, child: Exchange) -> str | None:
    if complaint := lost_something(parent, child):
        return complaint
    same = parent.prompt.casefold() == child.prompt.casefold()
    return None if same else "letters_changed"


def mistyped(word: str, rng: random.Random) -> str:
    """
    Return a word of at least three letters with one typing error; its first letter stays.
    """
    i = rng.randrange(1, len(word) - 1)
    near = NEIGHBOURS.get(word[i].lower(), "")
    kind = rng.choice(("near", "swapped", "left_out", "twice"))
    if kind == "near" and near:
        return word[:i] + rng.choice(near) + word[i + 1 :]
    if kind == "swapped" and word[i] != word[i + 1]:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    if kind == "left_out":
        return word[:i] + word[i + 1 :]
    return word[:i] + word[i] + word[i:]


def one_typo_apart(word: str, other: str) -> bool:
    """
    Return whether one letter was changed, left out, added or swapped with the next; or none.
    """
    if word == other:
        return True
    short, long = sorted((word, other), key=len)
    if len(long) - len(short) == 1:
        return any(long[:i] + long[i + 1 :] == short for i in range(len(long)))
    if len(long) != len(short):
        return False
    differ = [i for i in range(len(word)) if word[i] != other[i]]
    if len(differ) == 1:
        return True
    i, k = differ[0], differ[-1]
    swapped = len(differ) == 2 and k == i + 1
    return swapped and (word[i], word[k]) == (other[k], other[i])


def _draw_typos(exchange: Exchange, rng: random.Random) -> Exchange | None:
    words = [word for word in free_words(exchange) if len(word.text) >= _LONG_ENOUGH]
    if not words:
        return None
    most = min(MOST_TYPOS, 1 + len(exchange.prompt) // _ONE_TYPO_PER, len(words))
    chosen = rng.sample(words, rng.randint(1, most))
    changed = [(word, mistyped(word.text, rng)) for word in chosen]
    return replace(exchange, prompt=_respelt(exchange.prompt, changed))


def _only_typos(parent: Exchange, child: Exchange) -> str | None:
    if complaint := lost_something(parent, child):
        return complaint
    before, after = words_in_order(parent.prompt), words_in_order(child.prompt)
    if len(before) != len(after):
        return "words_changed"
    changed = [(word, other) for word, other in zip(before, after, strict=True) if word != other]
    if len(changed) > MOST_TYPOS or not all(one_typo_apart(*pair) for pair in changed):
        return "words_changed"
    # A word that the file's rows have is another word, not a typing error.
    return "another_word" if any(other in parent.common for _, other in changed) else None


_ENDS: Final = re.compile(r"[.!?]*\s*$")


def _draw_spacing(exchange: Exchange, rng: random.Random) -> Exchange | None:
    prompt = exchange.prompt.strip()
    end = instruction_end(prompt)
    rest = prompt[end:]
    said = prompt[:end]
    if not said.strip():
        return None
    ways = ["bullet", "quote"]
    if not rest.strip():
        ways += ["end", "end", "end"]
    way = rng.choice(ways)
    if way == "bullet":
        said = f"{rng.choice(('-', '*', '•'))} {said}"
    elif way == "quote":
        said = f"> {said}"
    else:
        bare = _ENDS.sub("", said)
        said = bare + rng.choice([e for e in ("", ".", "!", " .", "...") if bare + e != said])
    if rng.random() < 0.5:
        spaces = [i for i, c in enumerate(said) if c == " "]
        for i in sorted(rng.sample(spaces, min(len(spaces), rng.randint(1, 2))), reverse=True):
            said = said[:i] + " " + said[i:]
    return replace(exchange, prompt=said + rest + rng.choice(("", "", "\n", " ")))


def _only_spacing(parent: Exchange, child: Exchange) -> str | None:
    if complaint := lost_something(parent, child):
        return complaint
    before = [c for c in parent.prompt if c.isalnum()]
    return None if before == [c for c in child.prompt if c.isalnum()] else "letters_changed"


CASING: Final = Transform(
    "casing",
    "the answer, its values in the prompt, and every letter but for its case",
    _draw_casing,
    _only_case,
)
TYPOS: Final = Transform(
    "typos",
    f"the answer, its values in the prompt, and all words but {MOST_TYPOS} with one error each",
    _draw_typos,
    _only_typos,
)
SPACING: Final = Transform(
    "spacing",
    "the answer, its values in the prompt, and every letter and digit in its order",
    _draw_spacing,
    _only_spacing,
)
