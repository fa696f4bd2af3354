"""
Measure how often the rule invented_rise is wrong: answers that invent by chance, judged by it.

    $ python -m experiments.simulate_invented
    | invented before -> now | 50 items | 100 items | 200 items | 400 items |
    | ---: | ---: | ---: | ---: | ---: |
    | 1% -> 1% | 0.0 (0.0 to 0.6) | 0.0 (0.0 to 0.6) | 0.0 (0.0 to 0.6) | 0.0 (0.0 to 0.6) |
    ...

docs/measurements/answer-formats.md has the whole table and says what it means. Half of the items
are alike for both models, as questions that are hard to copy are; of the others each model
invents on its own. Every figure is the share of candidates that the rule rejects, in %, with its
95% interval.

Exit status: 0 measured, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import random

from finetuned.config import GateConfig
from finetuned.core.evidence import ItemPair
from finetuned.core.gate.invented import invented_rise
from finetuned.core.metrics import wilson_interval

RATES = ((0.01, 0.01), (0.03, 0.03), (0.10, 0.10), (0.01, 0.06), (0.03, 0.08), (0.03, 0.13))
"""Shares of answers with an invented value, before and now."""
SIZES = (50, 100, 200, 400)
ALIKE = 0.5
"""Share of items on which both models do the same."""


def candidate(dice: random.Random, n: int, before: float, now: float) -> list[ItemPair]:
    """
    Return *n* items as release and candidate answered them.

    The more often the candidate invents, the more often it does so where the release does not.
    """
    pairs = []
    for i in range(n):
        alike, hard = dice.random() < ALIKE, dice.random()
        old = hard < before
        new = hard < now if alike else dice.random() < now
        pairs.append(ItemPair(str(i), True, True, True, True, 0.0, 0.0, 1, str(i), None, new, old))
    return pairs


def rejected(dice: random.Random, n: int, rates: tuple[float, float], trials: int) -> str:
    """
    Return the share of candidates that the rule rejects, with its interval.
    """
    config = GateConfig()
    alpha = 1 - config.confidence
    hits = sum(
        not rule.passed
        for _ in range(trials)
        for rule in invented_rise(candidate(dice, n, *rates), alpha, config)
    )
    low, high = wilson_interval(hits, trials)
    return f"{100 * hits / trials:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def main(argv: list[str] | None = None) -> int:
    """
    Print the table.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.simulate_invented",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--trials", type=int, default=600, help="candidates for each figure")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    dice = random.Random(args.seed)
    print("| invented before -> now |", " | ".join(f"{n} items" for n in SIZES), "|")
    print("| ---: |", " | ".join("---:" for _ in SIZES), "|")
    for rates in RATES:
        found = " | ".join(rejected(dice, n, rates, args.trials) for n in SIZES)
        print(f"| {rates[0]:.0%} -> {rates[1]:.0%} | {found} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
