"""
The six unlike tasks of experiments/replay_experiment.py, as prompts and answers.

Three from the product's own source of commands, two drawn here, and one from real
text if there is any beside the checkout. Knows what a small model can learn from
a few hundred rows; does not know training.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

from finetuned.sources.intents import training_rows

QUESTIONS = (
    Path(__file__).resolve().parents[2]
    / "shared"
    / "data"
    / "datasets"
    / "gsm8k_prompt_completion.jsonl"
)

Pair = tuple[str, str]
Draw = Callable[[random.Random], Pair]

EPOCHS = {
    "dns": 3,
    "users": 3,
    "samba": 3,
    "arithmetic": 10,
    "strings": 6,
    "numbers": 3,
    "conversion": 3,
}
"""
Passes over each task's file. The micro base has seen commands and copying, which go in
fast; sums and letters are new to it, and their rows have few tokens.
"""


def arithmetic(rng: random.Random) -> Pair:
    """
    Draw a sum of two digits, asked in one of five ways.
    """
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    ways = (
        "What is {} plus {}?",
        "{} + {} =",
        "Add {} and {}",
        "Sum of {} and {}",
        "{} more than {}",
    )
    return rng.choice(ways).format(a, b), str(a + b)


def strings(rng: random.Random) -> Pair:
    """
    Draw something to do with a few letters: turn them round, capitals, count one.
    """
    word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=3))
    kind = rng.choice(("reverse", "upper", "count"))
    if kind == "reverse":
        return f"Reverse {word}", word[::-1]
    if kind == "upper":
        return f"Upper-case {word}", word.upper()
    letter = rng.choice(word)
    word += letter * rng.randint(0, 2)
    return f"Count {letter} in {word}", str(word.count(letter))


def conversion(rng: random.Random) -> Pair:
    """
    Draw a length or a time to be written in the smaller unit.
    """
    n = rng.randint(2, 400)
    big, small, zeros = rng.choice((("m", "cm", "00"), ("km", "m", "000"), ("cm", "mm", "0")))
    return f"{n} {big} in {small}", f"{n}{zeros} {small}"


def _unique(draw: Draw, rng: random.Random, n: int) -> list[Pair]:
    pairs: dict[str, str] = {}
    for _ in range(40 * n):
        if len(pairs) == n:
            break
        prompt, answer = draw(rng)
        pairs.setdefault(prompt, answer)
    return list(pairs.items())


def _numbers_in_sentences(rng: random.Random, n: int) -> list[Pair]:
    """Sentences of real word problems; the numbers in them, as written, are the answer."""
    pairs: dict[str, str] = {}
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        for sentence in re.split(r"(?<=[.?]) ", json.loads(line)["prompt"]):
            numbers = re.findall(r"\d+(?:[.,]\d+)*", sentence)
            if len(sentence) <= 80 and numbers:
                pairs[f"Numbers in: {sentence}"] = " ".join(numbers)
    return rng.sample(list(pairs.items()), n)


def _intents(group: str, seed: int, n: int) -> list[Pair]:
    found = [row["messages"] for row in training_rows(seed) if row["metadata"]["class"] == group]
    return [(m[0]["content"], m[-1]["content"]) for m in found[:n]]


def make_tasks(seed: int, n: int) -> dict[str, list[Pair]]:
    """
    Return the six tasks in the order they are trained.

    Args:
        seed: Same seed, same rows.
        n: Rows of each task at most, training and held-out ones together.
    """
    rng = random.Random(f"replay:{seed}")
    tasks = {
        "dns": _intents("dns", seed, n),
        "users": _intents("users", seed, n),
        "samba": _intents("samba", seed, n),
        "arithmetic": _unique(arithmetic, rng, n),
        "strings": _unique(strings, rng, n),
    }
    if QUESTIONS.is_file():
        tasks["numbers"] = _numbers_in_sentences(rng, n)
    else:
        print(f"{QUESTIONS} is absent: the sixth task converts units", file=sys.stderr)
        tasks["conversion"] = _unique(conversion, rng, n)
    return tasks
