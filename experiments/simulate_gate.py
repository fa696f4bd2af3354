"""
Measure how often the gate is wrong: candidates of known quality, judged by the gate itself.

    $ python -m experiments.simulate_gate
    Promoted, in %, if the loss moves with the answers
    | true change | 50 items | 100 items | 200 items | 500 items |
    | ---: | ---: | ---: | ---: | ---: |
    | -5 points | 0.1 (0.0 to 0.6) | 0.0 (0.0 to 0.4) | 0.0 (0.0 to 0.4) | 0.0 (0.0 to 0.4) |
    ...

docs/measurements/gate.md has the whole tables and says what they mean.

How a candidate is made: item i has a difficulty d_i that both models share and a noise e of
each model's own, all normal. With z = sqrt(r) d + sqrt(1 - r) e, r = --correlation, a model
of accuracy a is right where its margin, Phi^-1(a) - z, is above 0. Nats per token are
log(1 + exp(-margin)), over 5 to 40 tokens, so the loss moves with the answers; where the
table says that the loss is silent, its margins are drawn anew, equal in ability.

The verdicts are core.gate.judge's on evidence as a report gives it. What decides nothing is left
out for speed: bootstrap intervals, and the exact value of p-values that are large.
experiments/simulate_looks.py has the streams of many candidates against one release.

Exit status: 0 measured, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread per process

import numpy as np

from finetuned.config import GateConfig
from finetuned.core import statistics
from finetuned.core.evidence import Evidence, ItemPair, SuiteEvidence
from finetuned.core.gate import change
from finetuned.core.gate.judge import judge
from finetuned.core.gate.verdict import FORGETTING
from finetuned.core.metrics import wilson_interval

EFFECTS = (-5.0, -2.0, 0.0, 2.0, 5.0, 10.0)
SIZES = (50, 100, 200, 500)
CHUNK = 250
"""Candidates that are drawn together: bounds memory to some 100 MB."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    Candidates of one kind.
    """

    table: str
    items: int
    """Held-out rows of the new files."""
    effect: float
    """True difference of accuracy on them, in points."""
    loss: str = "moves"
    """moves, silent, or skewed: see the module's text and _sample()."""
    families: int = 0
    """Items come in so many families, of which the candidate is better at some; 0 for none."""
    older: tuple[float, ...] = ()
    """True change on each older suite of 100 items, in points."""


def scenarios() -> list[Scenario]:
    """
    Return what is simulated, in the order of the tables.
    """
    new = [
        Scenario("new", n, effect, loss)
        for loss in ("moves", "silent")
        for effect in EFFECTS
        for n in SIZES
    ]
    olds = ((0.0,) * 4, (-5.0,) * 4, (-10.0,) * 4, (-5.0, 0, 0, 0), (-10.0, 0, 0, 0))
    older = [Scenario("older", 200, 10.0, older=changes) for changes in olds]
    limits = [Scenario("limits", n, 0.0, "skewed") for n in (8, 20, 50, 200)]
    limits += [Scenario("limits", n, 0.0, families=10) for n in SIZES]
    return [*new, *older, *limits]


# -- candidates -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """
    Both models on one suite, for many candidates. Arrays are candidates x items.
    """

    right: tuple[Any, Any]
    """Of incumbent and candidate, bool."""
    loss: tuple[Any, Any]
    """Summed nats."""
    tokens: Any
    family: Any
    """The family of each item; its own number where items are no families."""


def _sample(
    rng: np.random.Generator, shape: tuple[int, int], effect: float, args: Any, case: Scenario
) -> Sample:
    ability = [NormalDist().inv_cdf(args.accuracy + x / 100) for x in (0.0, effect)]
    difficulty = rng.standard_normal(shape)
    shift, family = np.zeros(shape), np.broadcast_to(np.arange(shape[1]), shape)
    if case.families:
        each = rng.normal(0, 0.3, (shape[0], case.families))
        family = rng.integers(0, case.families, shape)
        shift = each[np.arange(shape[0])[:, None], family]

    def margins(ability: float, shift: Any) -> Any:
        own = rng.standard_normal(shape)
        z = math.sqrt(args.correlation) * difficulty + math.sqrt(1 - args.correlation) * own
        return ability + shift - z

    before, now = margins(ability[0], 0.0), margins(ability[1], shift)
    tokens = rng.integers(5, 41, shape)
    right = (before > 0, now > 0)
    if case.loss == "silent":
        before, now = margins(ability[0], 0.0), margins(ability[0], 0.0)
    losses = tuple(tokens * np.logaddexp(0, -m) for m in (before, now))
    if case.loss == "skewed":
        # Equal in the mean: nine items in ten a little better, the tenth nine times that worse.
        step = np.where(rng.random(shape) < 0.9, 0.1, -0.9) * rng.uniform(0.5, 1.5, shape)
        losses = (losses[0], losses[0] - step)
        right = (right[0], right[0])
    return Sample(right, (losses[0], losses[1]), tokens, family)


def _suite(name: str, origin: str, sample: Sample, row: int) -> SuiteEvidence:
    columns = (*sample.right, *sample.loss, sample.tokens, sample.family)
    pairs = tuple(
        ItemPair(str(i), now, before, True, True, loss_now, loss_before, n, f"{name}/{family}")
        for i, (before, now, loss_before, loss_now, n, family) in enumerate(
            zip(*(a[row].tolist() for a in columns), strict=True)
        )
    )
    return SuiteEvidence(name, name, origin, True, len(pairs), pairs, None)


# -- p-values ---------------------------------------------------------------------


@contextmanager
def without_intervals() -> Iterator[None]:
    """
    Let the gate leave out bootstrap intervals, which decide nothing, while it lasts.
    """
    own: Callable[..., Any] = change.bootstrap_interval
    change.bootstrap_interval = lambda *_: (0.0, 0.0)
    try:
        yield
    finally:
        change.bootstrap_interval = own


@contextmanager
def quick() -> Iterator[None]:
    """
    The same, and p-values that are large or tiny for every rule are not computed exactly.

    Random signs sum to at least one standard deviation with a chance of 3/32 or more
    (Dvorak and Tiep, 2021), so that a smaller sum shows nothing at 5%; to six of them with a
    chance of exp(-18) at most (Hoeffding, 1963).
    """
    own: Callable[..., float] = statistics.sign_flip

    def sign_flip(differences: Sequence[float]) -> float:
        squares = math.fsum(d * d for d in differences)
        z = math.fsum(differences) / math.sqrt(squares) if squares else 0.0
        return own(differences) if 1 < z < 6 else 0.5 * math.erfc(z / math.sqrt(2))

    statistics.sign_flip = sign_flip
    try:
        with without_intervals():
            yield
    finally:
        statistics.sign_flip = own


# -- measuring --------------------------------------------------------------------


def measure(case: Scenario, args: argparse.Namespace) -> dict[str, Any]:
    """
    Judge ``args.candidates`` candidates and return shares, 0 to 1, with 95% intervals.
    """
    counts = dict.fromkeys(("promoted", "rejected_as_worse", "rejected_for_forgetting"), 0)
    discordant = 0.0
    rng = np.random.default_rng([args.seed, *json.dumps(asdict(case)).encode()])
    for start in range(0, args.candidates, CHUNK):
        n = min(CHUNK, args.candidates - start)
        new = _sample(rng, (n, case.items), case.effect, args, case)
        plain = Scenario("older", 100, 0.0)
        older = [_sample(rng, (n, 100), moved, args, plain) for moved in case.older]
        discordant += float((new.right[0] != new.right[1]).mean()) * n
        with quick():
            for row in range(n):
                suites = [_suite("new", "new", new, row)]
                suites += [_suite(f"old{i}", "old", s, row) for i, s in enumerate(older)]
                verdict = judge(Evidence(tuple(suites)), GateConfig())
                names = {rule.name for rule in verdict.failed}
                counts["promoted"] += verdict.promote
                counts["rejected_as_worse"] += bool(names & {"new_loss", "new_accuracy"})
                counts["rejected_for_forgetting"] += bool(names & set(FORGETTING))
    n = args.candidates
    figures = {
        name: {"share": count / n, "interval_95": wilson_interval(count, n)}
        for name, count in counts.items()
    }
    return {**asdict(case), "discordant_share": round(discordant / n, 4), **figures}


def _cell(found: dict[str, Any]) -> str:
    low, high = found["interval_95"]
    return f"{100 * found['share']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def report(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """
    Yield the lines of the tables, in Markdown; shares in % with 95% intervals.
    """
    new = [r for r in results if r["table"] == "new"]
    for loss in ("moves", "silent"):
        says = "moves with the answers" if loss == "moves" else "does not move"
        yield f"\nPromoted, in %, if the loss {says}"
        yield "| true change | " + " | ".join(f"{n} items" for n in SIZES) + " |"
        yield "| ---: |" + " ---: |" * len(SIZES)
        for effect in EFFECTS:
            row = [r for r in new if (r["loss"], r["effect"]) == (loss, effect)]
            yield f"| {effect:+g} points | " + " | ".join(_cell(r["promoted"]) for r in row) + " |"
    yield "\nOlder suites, 4 of 100 items; the candidate is 10 points better on 200 new items"
    yield "| true change of each | promoted | rejected for what it forgot |"
    yield "| --- | ---: | ---: |"
    for r in results:
        if r["table"] == "older":
            changes = ", ".join(f"{x:+g}" if x else "0" for x in r["older"])
            yield f"| {changes} | {_cell(r['promoted'])} | {_cell(r['rejected_for_forgetting'])} |"
    yield "\nEqual on average, but not item by item: promoted, in %"
    yield "| kind | items | promoted |"
    yield "| --- | ---: | ---: |"
    for r in results:
        if r["table"] == "limits":
            kind = f"{r['families']} families" if r["families"] else "9 of 10 better, 1 much worse"
            yield f"| {kind} | {r['items']} | {_cell(r['promoted'])} |"


def main(argv: list[str] | None = None) -> int:
    """
    Measure and print; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.simulate_gate",
        description="Measure how often the gate is wrong.",
        epilog="examples:\n"
        "  python -m experiments.simulate_gate\n"
        "  python -m experiments.simulate_gate --json --seed 1",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--candidates", type=int, default=200, help="per line (default 200)")
    parser.add_argument("--accuracy", type=float, default=0.8, help="incumbent's (default 0.8)")
    parser.add_argument(
        "--correlation", type=float, default=0.8, help="of the two models' z, 0 to 1 (default 0.8)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--processes", type=int, default=2, help="default 2")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    if not 0.11 <= args.accuracy <= 0.89 or not 0 <= args.correlation < 1:
        parser.error("--accuracy must be 0.11 to 0.89 and --correlation 0 to below 1")
    if min(args.candidates, args.processes) < 1 or args.seed < 0:
        parser.error("--candidates and --processes must be 1 or more, --seed 0 or more")
    began, cases = time.monotonic(), scenarios()
    with ProcessPoolExecutor(args.processes) as pool:
        results = list(pool.map(functools.partial(measure, args=args), cases))
    if args.json:
        settings = {k: v for k, v in vars(args).items() if k not in ("json", "processes")}
        print(json.dumps({**settings, "results": results}, indent=2))
        return 0
    equal = next(r for r in results if r["effect"] == 0)
    print("\n".join(report(results)))
    print(
        f"\n{args.candidates} candidates per line, 95% intervals in brackets; incumbent right on "
        f"{args.accuracy:.0%}; at equal quality the two models differ on "
        f"{equal['discordant_share']:.1%} of the items; {time.monotonic() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
