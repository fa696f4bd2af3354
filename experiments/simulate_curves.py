"""
How often the learning-curve analyser names what was planted, and cries wolf on noise.

    python -m experiments.simulate_curves --jobs 400

prints a table of Markdown: for each kind of simulated curve and each finding, the share of
jobs in which it was named. docs/measurements/curves.md has it.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter

from experiments.curve_kinds import KINDS, NOISES, STEPS
from finetuned.core.curves.finding import ALARMS, Kind
from finetuned.core.curves.reading import read

PLANTED = {
    "overfit": Kind.OVERFITTING,
    "plateau": Kind.PLATEAU,
    "cut short": Kind.UNDERFITTING,
    "diverging": Kind.DIVERGENCE,
    "spiky": Kind.SPIKES,
    "unstable": Kind.RATE_TOO_HIGH,
    "too slow": Kind.RATE_TOO_LOW,
}
"""Which finding is right for which simulated kind."""


def measure(kind: str, noise: str, jobs: int, seed: int) -> tuple[Counter[Kind], int]:
    """
    Return how many of *jobs* simulated jobs have each finding, and how many have any alarm.
    """
    rng = random.Random(f"{kind} {noise} {seed}")
    found: Counter[Kind] = Counter()
    alarmed = 0
    for _ in range(jobs):
        reading = read(KINDS[kind](rng, rng.choice(STEPS), NOISES[noise]))
        kinds = {f.kind for f in reading.findings}
        found.update(kinds)
        alarmed += bool(kinds & ALARMS)
    return found, alarmed


def main(argv: list[str] | None = None) -> int:
    """
    Print the table.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0].strip())
    parser.add_argument("--jobs", type=int, default=400, help="of each kind and noise")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), help="default: all")
    parser.add_argument("--noises", nargs="*", choices=list(NOISES), help="default: all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    print("| curve | noise | what is right | named | any alarm | also named |")
    print("|---|---|---|---|---|---|")
    for kind in args.kinds or KINDS:
        for noise in args.noises or NOISES:
            found, alarmed = measure(kind, noise, args.jobs, args.seed)
            right = PLANTED.get(kind)
            named = f"{found[right] / args.jobs:.1%}" if right else "-"
            others = ", ".join(
                f"{k} {n / args.jobs:.1%}" for k, n in found.most_common() if k is not right
            )
            alarms = f"{alarmed / args.jobs:.1%}"
            print(f"| {kind} | {noise} | {right or 'no alarm'} | {named} | {alarms} | {others} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
