"""
Measure how often many looks replace a release by chance, and how soon a true gain is shown.

    $ python -m experiments.simulate_looks
    Equal quality: streams in which one of 30 looks promotes, in %
    ...

docs/measurements/gate.md has the whole tables and says what they mean.

A stream is one release and candidate after candidate, each trained on a new file of which
--rows rows are held out. Models are drawn as in experiments/simulate_gate.py; the noise of a
candidate, per item and per family of items, is that of the head it started from with a
correlation of --memory. core.gate.judge compares it with the release and with the head on all
rows so far. Held: it is the head. Rejected: the head stays. Promoted: the stream ends.

Exit status: 0 measured, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread per process

import numpy as np

from experiments.simulate_gate import quick
from finetuned.config import GateConfig
from finetuned.core.evidence import Evidence, ItemPair, SuiteEvidence
from finetuned.core.gate.judge import judge
from finetuned.core.metrics import wilson_interval
from finetuned.core.promotion import VersionVerdict

FAMILY_SPREAD = 0.3
"""Standard deviation of what a candidate gains or loses on a family, in margins."""


@dataclass(frozen=True, slots=True)
class Stream:
    """
    Streams of one kind.
    """

    table: str
    families: int = 0
    """Rows come in so many families; 0: each is its own."""
    gain: float = 0.0
    """True difference of accuracy that is reached evenly at the last look, in points."""
    spending: bool = True
    """Whether the level falls from look to look, as in the gate, or is that of the first."""
    clustered: bool = True
    """Whether the gate is told the families."""


def streams() -> list[Stream]:
    """
    Return what is simulated, in the order of the tables.
    """
    kinds = [(families, clustered) for families in (0, 10, 40) for clustered in (True, False)]
    equal = [
        Stream("equal", families, spending=spending, clustered=clustered)
        for spending in (True, False)
        for families, clustered in kinds
        if clustered or families
    ]
    return [*equal, *(Stream("gain", f, gain) for f in (0, 10, 40) for gain in (5.0, 10.0, 20.0))]


class _Rows:
    """The rows of one stream, and what the models do on them."""

    def __init__(self, rng: np.random.Generator, args: argparse.Namespace, case: Stream) -> None:
        n = args.looks * args.rows
        self.rng, self.args, self.n = rng, args, n
        self.difficulty = rng.standard_normal(n)
        self.tokens = rng.integers(5, 41, n)
        self.family = rng.integers(0, case.families, n) if case.families else np.arange(n)
        self.spread = FAMILY_SPREAD if case.families else 0.0
        names = self.family if case.clustered else np.arange(n)
        self.clusters = [f"new/{name}" for name in names]
        self.release = self.model(0.0, *self.noise())

    def noise(self) -> tuple[Any, Any]:
        """Return noise by item and by family."""
        return self.rng.standard_normal(self.n), self.rng.standard_normal(self.n)

    def next_noise(self, head: tuple[Any, Any]) -> tuple[Any, Any]:
        """Return the noise of a model that was trained on from *head*."""
        rho, new = self.args.memory, self.noise()
        own = math.sqrt(1 - rho * rho)
        return rho * head[0] + own * new[0], rho * head[1] + own * new[1]

    def model(self, points: float, item: Any, family: Any) -> tuple[list[bool], list[float]]:
        """Return right answers and summed losses of a model that is so many points better."""
        r = self.args.correlation
        ability = NormalDist().inv_cdf(self.args.accuracy + points / 100)
        margin = ability - math.sqrt(r) * self.difficulty - math.sqrt(1 - r) * item
        margin = margin + self.spread * family[self.family]
        return (margin > 0).tolist(), (self.tokens * np.logaddexp(0, -margin)).tolist()

    def suite(self, n: int, before: Any, now: Any) -> SuiteEvidence:
        """Return the first *n* rows as the evidence of two models."""
        pairs = tuple(
            ItemPair(str(i), now[0][i], before[0][i], True, True, now[1][i], before[1][i], t, c)
            for i, (t, c) in enumerate(zip(self.tokens[:n].tolist(), self.clusters, strict=False))
        )
        return SuiteEvidence("new", "new", "new", True, n, pairs, None)


def _run(case: Stream, args: argparse.Namespace, rng: np.random.Generator) -> tuple[int, int, int]:
    """Return the look that promoted (0: none), how many were rejected, and how many there were."""
    rows = _Rows(rng, args, case)
    zero = np.zeros(rows.n)
    noise: tuple[Any, Any] = (zero, zero)
    head, rejected = None, 0
    for look in range(1, args.looks + 1):
        new = rows.next_noise(noise) if head is not None else rows.noise()
        candidate = rows.model(case.gain * look / args.looks, *new)
        n = look * args.rows
        evidence = Evidence(
            suites=(rows.suite(n, rows.release, candidate),),
            head=() if head is None else (rows.suite(n, head, candidate),),
        )
        outcome = judge(evidence, GateConfig(), look=look if case.spending else 1).outcome
        if outcome is VersionVerdict.PROMOTED:
            return look, rejected, look
        if outcome is VersionVerdict.HELD:
            head, noise = candidate, new
        else:
            rejected += 1
    return 0, rejected, args.looks


def measure(case: Stream, args: argparse.Namespace) -> dict[str, Any]:
    """
    Run ``args.streams`` streams and return shares, 0 to 1, with 95% intervals.
    """
    rng = np.random.default_rng([args.seed, *json.dumps(asdict(case)).encode()])
    with quick():
        ended = [_run(case, args, rng) for _ in range(args.streams)]
    looks = sum(e[2] for e in ended)
    by = {
        look: sum(0 < e[0] <= look for e in ended)
        for look in (args.looks // 4, args.looks // 2, args.looks)
    }
    return {
        **asdict(case),
        "promoted_by_look": {
            look: {"share": k / args.streams, "interval_95": wilson_interval(k, args.streams)}
            for look, k in by.items()
        },
        "rejected_share_of_looks": sum(e[1] for e in ended) / looks,
    }


def _cell(found: dict[str, Any]) -> str:
    low, high = found["interval_95"]
    return f"{100 * found['share']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def report(results: Sequence[dict[str, Any]], args: argparse.Namespace) -> Iterator[str]:
    """
    Yield the lines of the tables, in Markdown; shares in % with 95% intervals.
    """
    yield f"\nEqual quality: streams in which one of {args.looks} looks promotes, in %"
    yield "| rows | level falls from look to look | each look as the first | rejected per look |"
    yield "| --- | ---: | ---: | ---: |"
    equal = [r for r in results if r["table"] == "equal"]
    for found in (r for r in equal if r["spending"]):
        other = next(
            r
            for r in equal
            if not r["spending"]
            and (r["families"], r["clustered"]) == (found["families"], found["clustered"])
        )
        kind = f"{found['families']} families" if found["families"] else "each its own"
        if not found["clustered"]:
            kind += ", not told to the gate"
        cells = [_cell(r["promoted_by_look"][args.looks]) for r in (found, other)]
        yield f"| {kind} | {cells[0]} | {cells[1]} | {100 * found['rejected_share_of_looks']:.1f} |"
    looks = (args.looks // 4, args.looks // 2, args.looks)
    yield "\nA gain that grows evenly: streams in which it was shown by then, in %"
    yield "| rows | gain at the end | " + " | ".join(f"look {k}" for k in looks) + " |"
    yield "| --- | ---: |" + " ---: |" * len(looks)
    for found in (r for r in results if r["table"] == "gain"):
        kind = f"{found['families']} families" if found["families"] else "each its own"
        cells = [_cell(found["promoted_by_look"][k]) for k in looks]
        yield f"| {kind} | {found['gain']:+g} points | " + " | ".join(cells) + " |"


def main(argv: list[str] | None = None) -> int:
    """
    Measure and print; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.simulate_looks",
        description="Measure how often many looks at one release are wrong.",
        epilog="examples:\n"
        "  python -m experiments.simulate_looks\n"
        "  python -m experiments.simulate_looks --looks 100 --rows 4 --streams 100 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--streams", type=int, default=200, help="per line (default 200)")
    parser.add_argument("--looks", type=int, default=30, help="candidates (default 30, least 4)")
    parser.add_argument("--rows", type=int, default=8, help="held-out rows per file (default 8)")
    parser.add_argument("--accuracy", type=float, default=0.6, help="of the release (default 0.6)")
    parser.add_argument(
        "--correlation", type=float, default=0.8, help="of two models' z, 0 to 1 (default 0.8)"
    )
    parser.add_argument(
        "--memory",
        type=float,
        default=0.9,
        help="of a candidate and its head, 0 to 1 (default 0.9)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--processes", type=int, default=2, help="default 2")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    if min(args.streams, args.processes, args.rows) < 1 or args.looks < 4 or args.seed < 0:
        parser.error("--looks must be 4 or more, other numbers 1 or more, --seed 0 or more")
    if not 0.05 <= args.accuracy <= 0.79 or not (
        0 <= args.correlation < 1 and 0 <= args.memory < 1
    ):
        parser.error("--accuracy must be 0.05 to 0.79, --correlation and --memory 0 to below 1")
    began = time.monotonic()
    with ProcessPoolExecutor(args.processes) as pool:
        results = list(pool.map(functools.partial(measure, args=args), streams()))
    if args.json:
        settings = {k: v for k, v in vars(args).items() if k not in ("json", "processes")}
        print(json.dumps({**settings, "results": results}, indent=2))
        return 0
    print("\n".join(report(results, args)))
    print(
        f"\n{args.streams} streams per line, {args.rows} held-out rows per look, 95% intervals in "
        f"brackets; the release is right on {args.accuracy:.0%}; {time.monotonic() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
