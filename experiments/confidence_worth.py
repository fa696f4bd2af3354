r"""
Measure what calibrated confidence is worth, on questions of families that it was not fitted on.

    $ python -m experiments.confidence_worth --seeds 0 1 2
    | seed | tested on | confidence | n | right | ECE | by chance | median right | ...
    $ python -m experiments.confidence_worth --cost 7
    200 answers, medians of 7: ...

Trains the embedded base on 800 commands (experiments/sweep.py), once for each seed, and asks the
file's held-out rows, infra_200 and people_100, held to the format of commands. The map is fitted
on the held-out rows and on the items of infra_200 with known phrasings and new names. It is tested
on the items of infra_200 with phrasings of no trained row, and on people_100, whose sentences were
written by others. Rows "all other suites" are fitted as the daemon does it: on everything that
the version was asked but the tested items. The mean token probability stands beside both.

Answers are kept under --root and not generated again.

Exit status: 0 measured, 1 a worker failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from experiments.sweep import CENTRE, trained
from experiments.workers import CHECKOUT, Asker, WorkerFailed
from finetuned.core.confidence.calibration import Calibration, MarkedEnding, calibrate
from finetuned.core.confidence.likelihood import Likelihood
from finetuned.core.confidence.quality import Quality, quality
from finetuned.core.confidence.signs import Ending
from finetuned.core.record import to_json
from finetuned.files.atomic import write_atomic
from finetuned.files.run import read_json

if TYPE_CHECKING:
    import torch

    from finetuned.inference.pending import PendingAnswer

SETTINGS = {**CENTRE, "learning_rate": 1e-3, "num_train_epochs": 4}
HELD_OUT = "held-out rows"
KNOWN = "entity_disjoint"
NEW = "phrasing_disjoint"
PEOPLE = "people_100"
"""What is asked: held-out rows, the halves of infra_200, and sentences of other people."""

COLUMNS = (
    *("seed", "tested on", "confidence", "n", "right", "ECE", "by chance"),
    *("median right", "median wrong", "AUROC"),
)


def main(argv: list[str] | None = None) -> int:
    """
    Train, ask and print the table; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.confidence_worth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--root", type=Path, default=CHECKOUT / "build" / "confidence")
    parser.add_argument(
        "--cost", type=int, metavar="N", help="measure N times what looking at the tokens costs"
    )
    args = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    if args.cost:
        print(cost(args.root.resolve(), args.seeds[0], args.cost))
        return 0
    print(f"| {' | '.join(COLUMNS)} |\n|{' ---: |' * len(COLUMNS)}", flush=True)
    pools: dict[tuple[str, str], list[tuple[float, bool]]] = {}
    try:
        for seed in args.seeds:
            asked = answers(args.root.resolve(), seed)
            for tested, name, judged in judgements(asked):
                pools.setdefault((tested, name), []).extend(judged)
                print(line(str(seed), tested, name, judged), flush=True)
    except WorkerFailed as error:
        print(error, file=sys.stderr)
        return 1
    for (tested, name), judged in pools.items():
        print(line("all", tested, name, judged))
    return 0


def answers(root: Path, seed: int) -> dict[str, list[MarkedEnding]]:
    """
    Return what the version of *seed* answered, by what it was asked.

    Raises:
        WorkerFailed: It could not be trained.
    """
    kept = root / f"answers-{seed}.json"
    if (found := read_json(kept)) is None:
        version, dataset = trained(root, "medium", seed, SETTINGS)
        began = time.process_time()
        found = {"answers": _asked(Asker(version), dataset)}
        print(f"seed {seed}: asked in {time.process_time() - began:.0f} CPU s", file=sys.stderr)
        write_atomic(kept, json.dumps(found).encode())
    return {name: [_ending(row) for row in rows] for name, rows in found["answers"].items()}


def cost(root: Path, seed: int, times: int) -> str:
    """
    Return what an evaluation's answers cost with the likelihood of their tokens and without.

    In turn, and in the processor time of what looks at them: the whole varies by more than that.

    Raises:
        WorkerFailed: The version could not be trained.
    """
    from finetuned.data.suite import load_suite
    from finetuned.inference import cached_answers

    version, _ = trained(root, "medium", seed, SETTINGS)
    asker = Asker(version)
    questions = load_suite(CHECKOUT / "benchmarks" / "infra_200.jsonl").questions
    now = cached_answers.note_facts, cached_answers.note_scoring
    whole: dict[str, list[float]] = {"without": [], "with": []}
    inside: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(times):
        for name, ways in (("without", (_nothing, _losses_alone)), ("with", now)):
            watches = [_Watch(way) for way in ways]
            cached_answers.note_facts, cached_answers.note_scoring = watches
            began = time.process_time()
            n = sum(1 for _ in asker.outcomes(questions))
            whole[name].append(time.process_time() - began)
            inside[name].append(sum(watch.seconds for watch in watches))
    before, after = (median(inside[name]) for name in ("without", "with"))
    total = median(whole["without"])
    return (
        f"{n} answers, medians of {times}: {1000 * before:.0f} ms for losses alone, "
        f"{1000 * after:.0f} ms with likelihoods: {100 * (after - before) / total:+.1f}% of "
        f"{total:.2f} CPU s"
    )


@dataclass(slots=True)
class _Watch:
    """
    A function, and the processor time that went into it.
    """

    way: Callable[..., None]
    seconds: float = 0.0

    def __call__(self, *args: object) -> None:
        began = time.process_time()
        self.way(*args)
        self.seconds += time.process_time() - began


def _nothing(*_: object) -> None:
    """In place of note_facts()."""


def _losses_alone(items: Sequence[PendingAnswer], logits: torch.Tensor) -> None:
    """In place of note_scoring(): as it was before answers had a likelihood."""
    from finetuned.inference.score import continuation_losses

    losses = continuation_losses(logits, [item.continuation for item in items])
    for item, loss in zip(items, losses, strict=True):
        item.loss = loss


def _asked(asker: Asker, dataset: Path) -> dict[str, list[dict[str, Any]]]:
    from finetuned.data.answer_formats import answer_format
    from finetuned.data.store import TokenisedDataset
    from finetuned.data.suite import load_suite, questions_of, with_format

    suites = [load_suite(CHECKOUT / "benchmarks" / f"{n}.jsonl") for n in ("infra_200", PEOPLE)]
    pools = {
        HELD_OUT: questions_of(TokenisedDataset.open(dataset)),
        **{suite.name: suite.questions for suite in suites},
    }
    found: dict[str, list[dict[str, Any]]] = {}
    for name, questions in pools.items():
        held = [with_format(q, answer_format("intents"), held=True) for q in questions]
        for outcome in asker.outcomes(held):
            metadata = outcome.question.example.metadata
            found.setdefault(metadata.get("split", name), []).append(
                {
                    "likelihood": to_json(outcome.raw.likelihood),
                    "n_refused": outcome.raw.n_refused,
                    "stopped": outcome.raw.stopped,
                    "invented": outcome.invented,
                    "right": bool(outcome.correct),
                    "family": metadata.get("template_id", outcome.question.id),
                    "domain": metadata.get("class", name),
                }
            )
    return found


def _ending(row: dict[str, Any]) -> MarkedEnding:
    likelihood = Likelihood(**row["likelihood"])
    return MarkedEnding(
        ending=Ending(likelihood, row["n_refused"], row["stopped"], row["invented"]),
        is_right=row["right"],
        family=row["family"],
        domain=row["domain"],
    )


def judgements(
    asked: dict[str, list[MarkedEnding]],
) -> Iterator[tuple[str, str, list[tuple[float, bool]]]]:
    """
    Yield what was tested, which confidence, and confidence and mark of each answer.
    """
    for tested in (NEW, PEOPLE):
        answers = asked[tested]
        right = [a.is_right for a in answers]
        raw = [a.ending.likelihood.probability for a in answers]
        yield tested, "mean token probability", list(zip(raw, right, strict=True))
        others = [name for name in asked if name != tested]
        for name, parts in (
            ("fitted on held-out rows and known phrasings", (HELD_OUT, KNOWN)),
            ("fitted on all other suites", others),
        ):
            found = calibrate([a for part in parts for a in asked[part]])
            judged = confidences(found, answers)
            yield tested, name, list(zip(judged, right, strict=True))


def confidences(found: Calibration, answers: Sequence[MarkedEnding]) -> list[float]:
    """
    Return the confidence in each answer by a map.
    """
    if found.map is None:
        raise ValueError(f"no map: {found.why}")
    return [found.map.confidence(a.ending) for a in answers]


def by_chance(confidences: Sequence[float], draws: int = 500) -> float:
    """
    Return the mean ECE of answers that are right exactly as often as their confidence says.

    So few answers in each bin differ from their confidence by chance alone: what is above this
    figure is miscalibration.
    """
    dice = random.Random(0)
    return fmean(
        quality(confidences, [dice.random() < c for c in confidences]).ece for _ in range(draws)
    )


def line(seed: str, tested: str, name: str, judged: Sequence[tuple[float, bool]]) -> str:
    """
    Return one row of the table.
    """
    found = quality([c for c, _ in judged], [r for _, r in judged])
    chance = by_chance([c for c, _ in judged])
    figures = [seed, tested, name, str(found.n), str(found.n_right)]
    figures += [f"{found.ece:.3f}", f"{chance:.3f}", *map(_shown, _rest(found))]
    return f"| {' | '.join(figures)} |"


def _rest(found: Quality) -> tuple[float | None, ...]:
    return found.median_right, found.median_wrong, found.auroc


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
