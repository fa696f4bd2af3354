"""
The six unlike tasks of tools/replay_experiment.py, as prompts and answers.

Three from the product's own source of commands, two drawn here, and one from real
text where there is any beside the checkout. Knows what a small model can learn from
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


def arithmetic(rng: random.Random) -> Pair:
    """
    Draw a small sum or difference.
    """
    a, b = rng.randint(1, 30), rng.randint(1, 9)
    if rng.random() < 0.5:
        return f"What is {a} plus {b}?", str(a + b)
    return f"What is {a + b} minus {b}?", str(a)


def strings(rng: random.Random) -> Pair:
    """
    Draw something to do with a few letters: turn them round, capitals, count one.
    """
    word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 5)))
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


def _numbers_in_questions(rng: random.Random, n: int) -> list[Pair]:
    """Real word problems; the numbers in them, as they are written, are the answer."""
    pairs = []
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        question = json.loads(line)["prompt"]
        numbers = re.findall(r"\d+(?:[.,]\d+)*", question)
        if len(question) <= 200 and numbers:
            pairs.append((f"Numbers in: {question}", json.dumps(numbers)))
    rng.shuffle(pairs)
    return pairs[:n]


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
        tasks["numbers"] = _numbers_in_questions(rng, n)
    else:
        print(f"{QUESTIONS} is absent: the sixth task converts units", file=sys.stderr)
        tasks["conversion"] = _unique(conversion, rng, n)
    return tasks
