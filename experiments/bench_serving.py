"""
Measure how fast requests are answered, beside `transformers serve` with the same weights.

    $ python -m experiments.bench_serving --root ~/ft --rounds 3
    v0015 on infra_200.jsonl: 200 prompts, 2 cores, medians of 3 rounds
                                whole p50     p99   first token p50   16 clients   CPU a request
    finetuned                       41 ms   121 ms           12 ms     41.2 req/s          33 ms
    transformers serve             ...

A request is one chat message at temperature 0, over HTTP on loopback with a kept connection.
whole: a client alone waits for the JSON of the whole answer. first token: a client alone reads
a stream. Every way gets a server of its own, just started and warmed up with other prompts, so
that no prompt is asked twice; the cache of answers is off. Servers take turns, and medians are
of the rounds. ``transformers serve`` runs a merged model in float32, which is what our engine
computes in; its 16 clients are also tried with ``--continuous-batching``.

With ``--memory N`` it asks N prompts that differ, by 16 clients, and reports the memory of both
processes and by how many bytes a request it grows over the second half.

The program needs the extras serve and test: pip install 'finetuned[serve,test]'. Exit status: 0
measured, 1 a server failed, or answered differently.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from experiments.serving_clients import Answered, many_at_once, one_by_one
from experiments.serving_servers import Server, make_root, ours, transformers_serve, write_merged

CHECKOUT: Final = Path(__file__).resolve().parents[1]
WARM_UP: Final = 8
"""Questions before anything is measured, of another suite."""
MEMORY_KV_BYTES: Final = 256 << 20
"""So that what is bounded is full early, and growth beyond it is seen."""
SAMPLES: Final = 200
"""Looks at the memory, over all requests."""

Start = Callable[[], AbstractContextManager[Server]]
Figures = dict[str, float]


def main(argv: list[str] | None = None) -> int:
    """
    Measure and print; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.bench_serving",
        description="Measure how fast requests are answered, beside `transformers serve`.",
        epilog="examples:\n"
        "  python -m experiments.bench_serving --items 40 --rounds 1\n"
        "  python -m experiments.bench_serving --memory 50000 --rounds 0",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, help="whose version in use is served (default: base)")
    parser.add_argument("--suite", type=Path, default=CHECKOUT / "benchmarks/infra_200.jsonl")
    parser.add_argument("--items", type=int, default=200, help="of the suite's first (default 200)")
    parser.add_argument("--clients", type=int, default=16, help="at once (default 16)")
    parser.add_argument("--rounds", type=int, default=3, help="of each server (default 3)")
    parser.add_argument("--memory", type=int, default=0, help="requests to watch the memory over")
    parser.add_argument("--ours-only", action="store_true", help="leave `transformers serve` out")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended
    contents, others = (
        questions(args.suite)[: args.items],
        questions(CHECKOUT / "benchmarks/examples/canaries.jsonl"),
    )
    with tempfile.TemporaryDirectory(prefix="finetuned-serving-") as folder:
        root, merged = Path(folder) / "root", Path(folder) / "merged"
        version = make_root(root, args.root, kv_bytes=MEMORY_KV_BYTES if args.memory else 0)
        starts: dict[str, Start] = {"finetuned": lambda: ours(root)}
        if not args.ours_only and args.rounds:
            write_merged(root, merged)
            starts["transformers serve"] = lambda: transformers_serve(merged)
            starts["--continuous-batching"] = lambda: transformers_serve(
                merged, "--continuous-batching"
            )
        found: dict[str, list[Figures]] = {name: [] for name in starts}
        said: dict[str, list[str]] = {}
        for _ in range(args.rounds):
            for name, start in starts.items():
                figures, said[name] = measure(start, contents, others, args.clients)
                found[name].append(figures)
                print(name, {k: round(v, 4) for k, v in figures.items()}, flush=True)
        medians = {name: median(rounds) for name, rounds in found.items() if rounds}
        if medians:
            print(f"\n{version} on {args.suite.name}: {len(contents)} prompts, "
                  f"{os.cpu_count()} cores, medians of {args.rounds} rounds")  # fmt: skip
            print(table(medians, args.clients))
        same = {
            name: sum(map(str.__eq__, said["finetuned"], texts)) for name, texts in said.items()
        }
        memory = watch_memory(root, contents, others, args) if args.memory else {}
    if args.json:
        whole = {"rounds": found, "medians": medians, "same": same, "memory": memory}
        args.json.write_text(json.dumps(whole, indent=2))
    print(f"answers that are the same: {same}")
    return 0 if all(n == len(contents) for n in same.values()) else 1


def questions(suite: Path) -> list[str]:
    """
    Return the first message of each item.
    """
    rows = [json.loads(line) for line in suite.read_text().splitlines()]
    return [row["messages"][0]["content"] if "messages" in row else row["prompt"] for row in rows]


def measure(
    start: Start, contents: Sequence[str], others: Sequence[str], clients: int
) -> tuple[Figures, list[str]]:
    """
    Return the figures of one server in one round, and its answers.
    """

    def fresh(work: Callable[[Server], object]) -> None:
        with start() as server:
            one_by_one(server, others[:WARM_UP], stream=False)
            one_by_one(server, others[:2], stream=True)
            work(server)

    whole: list[Answered] = []
    streamed: list[Answered] = []
    figures: Figures = {}

    def crowd(server: Server) -> None:
        before = server.cpu_seconds()
        figures["per_second"] = len(contents) / many_at_once(server, contents, clients)
        for name, seconds in server.cpu_seconds().items():
            figures[f"{name}_cpu"] = (seconds - before[name]) / len(contents)

    fresh(lambda server: whole.extend(one_by_one(server, contents, stream=False)))
    fresh(lambda server: streamed.extend(one_by_one(server, contents, stream=True)))
    fresh(crowd)
    figures["p50"], figures["p99"] = quantiles([a.seconds for a in whole])
    figures["first_p50"], figures["first_p99"] = quantiles([a.first_seconds for a in streamed])
    return figures, [a.text for a in whole]


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """
    Return p50 and p99: the values that so many per cent of *values* do not exceed.
    """
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[98]


def median(rounds: Sequence[Figures]) -> Figures:
    """
    Return the median of each figure.
    """
    return {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}


def table(medians: dict[str, Figures], clients: int) -> str:
    """
    Return what is printed.
    """
    many = f"{clients} clients"
    lines = [
        f"{'':24}{'whole p50':>12}{'p99':>10}{'first token p50':>18}{many:>15}{'CPU a request':>16}"
    ]
    for name, f in medians.items():
        cpu = sum(value for key, value in f.items() if key.endswith("_cpu"))
        lines.append(
            f"{name:24}{f['p50'] * 1e3:>9.0f} ms{f['p99'] * 1e3:>7.0f} ms"
            f"{f['first_p50'] * 1e3:>15.0f} ms{f['per_second']:>9.1f} req/s{cpu * 1e3:>13.0f} ms"
        )
    return "\n".join(lines)


def watch_memory(
    root: Path, contents: Sequence[str], others: Sequence[str], args: argparse.Namespace
) -> dict[str, object]:
    """
    Ask many prompts that differ, and return the memory over time and its growth.
    """
    asked = [f"{contents[i % len(contents)]} Ticket {i}." for i in range(args.memory)]
    every = max(1, args.memory // SAMPLES)
    counts: list[int] = []
    sizes: dict[str, list[int]] = {"gateway": [], "engine": []}
    with ours(root) as server:
        one_by_one(server, others[:WARM_UP], stream=False)

        def look(count: int) -> None:
            if count % every == 0:
                counts.append(count)
                for name, size in server.memory().items():
                    sizes[name].append(size)

        seconds = many_at_once(server, asked, args.clients, look)
    found: dict[str, object] = {"requests": args.memory, "seconds": seconds}
    half = len(counts) // 2
    for name, values in sizes.items():
        slope, _ = statistics.linear_regression(counts[half:], values[half:])
        found[name] = {"bytes_a_request": slope, "megabytes": [v / 2**20 for v in values]}
        print(
            f"{name}: {values[0] / 2**20:.0f} MiB after {counts[0]} requests, "
            f"{values[half] / 2**20:.0f} after {counts[half]}, {values[-1] / 2**20:.0f} after "
            f"{counts[-1]}; {slope:+.0f} bytes a request over the second half"
        )
    print(f"{args.memory} requests in {seconds:.0f} s, {args.memory / seconds:.1f} a second")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
