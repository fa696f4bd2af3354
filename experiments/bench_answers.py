"""
Measure how fast a suite is answered and scored, against one prompt after the other.

    $ OMP_NUM_THREADS=1 python -m experiments.bench_answers --items 64 --rounds 3
    micro on infra_200.jsonl: 64 items, 46 + 41 tokens, answers of 31, batches of 32, 1 threads
                     items/s   times plain   same answers   largest loss gap
    plain                5.7          1.00
    batched             30.1          5.28          64/64            1.6e-06
    and scored          25.9          5.34          64/64            1.6e-06
    ...

plain: transformers' generate() and one loss for each item, batch size 1. batched:
one call for all items that generates every token. and scored: tokens on which the
model agrees with the expected answer are taken from the pass that scores it, as in
an evaluation. as expected: the same when the expected answers are what the model
says, the best case. The ways take turns; medians of their rounds. Exit status: 0
measured, 1 an answer or a loss differs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import torch

from finetuned.config import ModelConfig
from finetuned.data.reader import to_example
from finetuned.data.render import Renderer
from finetuned.inference.cached_lm import answering
from finetuned.inference.generate import answer_and_score
from finetuned.inference.pending import Continuation
from finetuned.inference.score import summed_loss
from finetuned.model.load import load_version

_SPARE_TOKENS = 16
_TOLERANCE = 1e-5
"""Of an item's summed loss: relative, or in nats if that is below one."""

Results = list[tuple[list[int], float]]
"""Answer and summed loss of each item."""


@dataclass(frozen=True)
class Suite:
    """
    Items as token ids.
    """

    prompts: list[list[int]]
    expected: list[Continuation]
    limits: list[int]


def main(argv: list[str] | None = None) -> int:
    """
    Measure and print; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.bench_answers",
        description="Measure how fast a suite is answered and scored.",
        epilog="examples:\n"
        "  python -m experiments.bench_answers\n"
        "  python -m experiments.bench_answers --items 50 --json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--base", type=Path, default=root / "models/base/micro")
    parser.add_argument("--suite", type=Path, default=root / "benchmarks/infra_200.jsonl")
    parser.add_argument("--items", type=int, default=200, help="of the suite's first (default 200)")
    parser.add_argument("--batch-size", type=int, default=32, help="default 32")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="default 256")
    parser.add_argument("--rounds", type=int, default=5, help="of each way (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    figures = measure(args)
    print(json.dumps(figures, indent=2) if args.json else table(figures))
    batched = [f for name, f in figures["ways"].items() if name != "plain"]
    same = all(f["same_answers"] == figures["items"] for f in batched)
    return 0 if same and all(f["largest_loss_gap"] <= _TOLERANCE for f in batched) else 1


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """
    Run every way in turns and return items per second, ratios and agreement.
    """
    renderer = Renderer.load(args.base, max_length=2048)
    model = load_version(args.base, None, ModelConfig(base=args.base.name, device="cpu"))
    suite = load_suite(args, renderer)
    said = plain(model, renderer, suite)  # also warms up
    agreeing = Suite(
        suite.prompts,
        [[(t, True) for t in [*ids, renderer.eos_token_id]] for ids, _ in said],
        suite.limits,
    )
    truth = {"plain": said, "batched": said, "and scored": said}
    truth["as expected"] = plain(model, renderer, agreeing)

    def batched(suite: Suite, reuse: bool) -> Results:
        found = answer_and_score(
            model,
            suite.prompts,
            suite.expected,
            stop_token_ids=renderer.stop_token_ids,
            pad_token_id=renderer.pad_token_id,
            max_new_tokens=suite.limits,
            deadline=time.monotonic() + 86400,
            batch_size=args.batch_size,
            reuse_agreement=reuse,
        )
        return [(answer.ids, nll) for answer, (nll, _) in found]

    ways: dict[str, Callable[[], Results]] = {
        "plain": lambda: plain(model, renderer, suite),
        "batched": lambda: batched(suite, False),
        "and scored": lambda: batched(suite, True),
        "as expected": lambda: batched(agreeing, True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, Results] = {}
    for _ in range(args.rounds):
        for name, run in ways.items():
            began = time.perf_counter()
            found[name] = run()
            seconds[name].append(time.perf_counter() - began)
    n = len(suite.prompts)
    return {
        "base": args.base.name,
        "suite": args.suite.name,
        "items": n,
        "prompt_tokens": sum(map(len, suite.prompts)) / n,
        "expected_tokens": sum(map(len, suite.expected)) / n,
        "answer_tokens": sum(len(ids) for ids, _ in said) / n,
        "batch_size": args.batch_size,
        "threads": torch.get_num_threads(),
        "rounds": args.rounds,
        "ways": {
            name: {
                "seconds": taken,
                "items_per_second": n / statistics.median(taken),
                "times_plain": statistics.median(
                    p / t for p, t in zip(seconds["plain"], taken, strict=True)
                ),
                **agreement(found[name], truth[name]),
            }
            for name, taken in seconds.items()
        },
    }


def load_suite(args: argparse.Namespace, renderer: Renderer) -> Suite:
    """
    Read the first items and turn each into a prompt, what is expected, and a longest answer.
    """
    lines = args.suite.read_bytes().splitlines()[: args.items]
    examples = [to_example(orjson.loads(line)) for line in lines]
    prompts = [renderer.prompt_ids(example) for example in examples]
    expected: list[Continuation] = []
    for prompt, example in zip(prompts, examples, strict=True):
        row = renderer.render(example)[-1]
        pairs = list(zip(row.input_ids, row.supervised, strict=True))
        expected.append(pairs[len(prompt) :])
    limits = [min(args.max_new_tokens, 2 * len(e) + _SPARE_TOKENS) for e in expected]
    return Suite(prompts, expected, limits)


def plain(model: Any, renderer: Renderer, suite: Suite) -> Results:
    """
    Answer and score one item after the other.
    """
    results: Results = []
    with answering(model):
        for prompt, expected, limit in zip(
            suite.prompts, suite.expected, suite.limits, strict=True
        ):
            ids = torch.tensor([prompt])
            output = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=limit,
                do_sample=False,
                eos_token_id=sorted(renderer.stop_token_ids),
                pad_token_id=renderer.pad_token_id,
            )
            said = output[0, len(prompt) :].tolist()
            row = (
                [*prompt, *(token for token, _ in expected)],
                [False] * len(prompt) + [flag for _, flag in expected],
            )
            [(nll, _)] = summed_loss(model, [row], renderer.pad_token_id)
            results.append((said[:-1] if said[-1] in renderer.stop_token_ids else said, nll))
    return results


def agreement(found: Results, truth: Results) -> dict[str, float]:
    """
    Return how many answers are the same, and the largest gap of a loss as _TOLERANCE counts it.
    """
    pairs = list(zip(found, truth, strict=True))
    return {
        "same_answers": sum(a == b for (a, _), (b, _) in pairs),
        "largest_loss_gap": max(abs(a - b) / max(b, 1.0) for (_, a), (_, b) in pairs),
    }


def table(figures: dict[str, Any]) -> str:
    """
    Return what is printed without --json.
    """
    lines = [
        f"{figures['base']} on {figures['suite']}: {figures['items']} items, "
        f"{figures['prompt_tokens']:.0f} + {figures['expected_tokens']:.0f} tokens, "
        f"answers of {figures['answer_tokens']:.0f}, batches of {figures['batch_size']}, "
        f"{figures['threads']} threads",
        f"{'':12}{'items/s':>12}{'times plain':>14}{'same answers':>15}{'largest loss gap':>19}",
    ]
    for name, f in figures["ways"].items():
        line = f"{name:12}{f['items_per_second']:>12.1f}{f['times_plain']:>14.2f}"
        if name != "plain":
            same = f"{f['same_answers']}/{figures['items']}"
            line += f"{same:>15}{f['largest_loss_gap']:>19.1e}"
        lines.append(line)
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
