"""
What augmentation is worth: right answers to other phrasings, with children of the rows and without.

Small files of three tasks are trained on the embedded base, each as it is and augmented, for as
many steps, with several seeds:

    commands   120 infrastructure commands; asked are sentences that no row says
               (benchmarks/infra_200.jsonl), and what people wrote (benchmarks/people_100.jsonl)
    sums       100 sums asked in three ways; asked are the same numbers in four other ways
    units      100 lengths to be written in the smaller unit, asked in three ways; asked are the
               same lengths in four other ways

    python -m experiments.augment_worth --out /tmp/augment-worth
    python -m experiments.augment_worth --out /tmp/augment-worth --task sums --seeds 3

Every training is done once; a run that was interrupted goes on. A child that says a sentence of
the benchmark's own, with other names, is removed and counted.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.augment_tasks import TASKS, Row
from experiments.workers import Asker, ingest, train
from finetuned.data.examples import Example
from finetuned.data.reader import to_example
from finetuned.files.atomic import write_atomic
from finetuned.files.run import read_json
from finetuned.sources.augment import KeptOut, chosen
from finetuned.sources.augment.exchange import exchanged, leaves
from finetuned.sources.augment.file import augment
from finetuned.sources.intents.rows import heldout_phrasings
from finetuned.sources.intents.tables import heldout_sentences

Answers = dict[str, bool]
"""Question -> whether it was answered right."""

BATCH = 8
TIMES = (1, 2)
"""Arms: rows for each row, itself included. Epochs are divided by it."""
EPOCHS = {"sums": 12, "units": 6, "commands": 4}
"""Of the file as it is; divisible by every one of TIMES."""

LONGEST = {"sums": 6, "units": 12, "commands": 120}
"""Tokens of an answer at most."""


def _masked(prompt: str, answer: str) -> str:
    """Return a command with its values as gaps."""
    try:
        values = {str(value): "gap" for _, value in leaves(json.loads(answer)) if value}
    except ValueError:
        values = {}
    return exchanged(prompt, values)


def _benchmark_sentences() -> KeptOut:
    """Return the sentences of the benchmark's own, with gaps for their values."""
    import re

    kept = KeptOut()
    kept.add(
        to_example({"prompt": re.sub(r"\{\w+\}", "gap", said), "completion": "x"})
        for sentences in heldout_sentences().values()
        for said, _ in sentences
    )
    return kept


def _without_benchmark_sentences(rows: list[Row]) -> tuple[list[Row], int]:
    """Return the rows, and how many children were removed: they say what the benchmark asks."""
    heldout_phrasings()  # the tables are complete
    kept = _benchmark_sentences()

    def says(row: Row) -> bool:
        example: Example = to_example(row)
        if "augmentation" not in example.metadata:
            return False
        prompt, answer = example.messages[-2]["content"], example.messages[-1]["content"]
        masked = to_example({"prompt": _masked(prompt, answer), "completion": "x"})
        return kept.holds(masked) is not None

    found = [row for row in rows if not says(row)]
    return found, len(rows) - len(found)


def _file(folder: Path, task: str, seed: int, times: int) -> tuple[Path, dict[str, Any]]:
    """Write the file of one arm, and return it with what is known of its children."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = folder / f"{task}-{seed}.jsonl"
    write_atomic(plain, jsonl(TASKS[task].rows(seed)))
    if times == 1:
        return plain, {}
    made = folder / f"{task}-{seed}-{times}x.jsonl"
    made.unlink(missing_ok=True)
    asked = KeptOut()
    for rows in TASKS[task].suites(seed).values():
        asked.add([to_example({k: v for k, v in r.items() if k != "scorer"}) for r in rows])
    result = augment(
        plain,
        made,
        kept_out=asked,
        transforms=chosen(None),
        times=times,
        seed=seed,
        max_bytes=2**20,
    )
    counts = result.counts.as_dict()
    if task == "commands":
        rows, removed = _without_benchmark_sentences(
            [json.loads(line) for line in made.read_text().splitlines()]
        )
        write_atomic(made, jsonl(rows))
        counts["says_the_benchmark"] = removed
    return made, counts


def jsonl(rows: Sequence[Row]) -> bytes:
    """
    Return rows as JSON lines.
    """
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _asked(version: Path | None, task: str, seed: int, folder: Path) -> dict[str, Answers]:
    """Return for each suite which questions a model answers right; None is the base."""
    from finetuned.data.suite import read_suite

    asker = Asker(version)
    found: dict[str, Answers] = {}
    for name, rows in TASKS[task].suites(seed).items():
        suite = read_suite(folder / f"{name}.jsonl", jsonl(rows))
        outcomes = asker.outcomes(suite.questions, max_new_tokens=LONGEST[task])
        found[name] = {o.question.id: bool(o.correct) for o in outcomes}
    return found


def run(out: Path, task: str, seed: int, times: int) -> None:
    """
    Train and ask one arm, unless its result is there; *times* 0 is the base, untrained.
    """
    folder = out / f"{task}-{seed}-{times}x"
    if (folder / "result.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Any] = {}
    version = None
    if times:
        file, counts = _file(folder, task, seed, times)
        data = {"holdout_fraction": 0.0, "max_length": 2048}
        datasets = ingest(folder / "root", [file], data)
        settings = {
            "num_train_epochs": EPOCHS[task] // times,
            "per_device_train_batch_size": BATCH,
            "learning_rate": 1e-3,
            "replay_presentations": 0,
            "average": False,
            "save_steps": 10_000,
            "seed": seed,
        }
        version = train(folder, "v0001", datasets, settings, job=f"augment-{task}-{seed}")
    answers = _asked(version, task, seed, folder)
    result = {"children": counts, "answers": answers}
    write_atomic(folder / "result.json", json.dumps(result).encode())
    said = ", ".join(f"{name} {sum(a.values())}/{len(a)}" for name, a in answers.items())
    print(f"{task} seed {seed} {times}x: {said}", flush=True)


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """
    Return the 95% interval of a mean, by drawing the questions again 4,000 times.
    """
    rng = random.Random(0)
    n = len(differences)
    means = sorted(sum(rng.choices(differences, k=n)) / n for _ in range(4000))
    return means[100], means[-101]


def table(out: Path, tasks: Sequence[str], seeds: int) -> list[str]:
    """
    Return the figures of all arms that are done, as lines of Markdown.
    """
    lines = [
        "| task | asked | rows | right, by seed | all seeds | more than as it is, 95% interval |",
        "|---|---|---|---|---|---|",
    ]
    for task in tasks:
        done = {
            times: [
                read_json(out / f"{task}-{seed}-{times}x" / "result.json")
                for seed in range(seeds if times else 1)
            ]
            for times in (0, *TIMES)
        }
        whole = {times: found for times, found in done.items() if all(found)}
        for name in whole[1][0]["answers"] if 1 in whole else ():
            lines += _rows_of(task, name, whole)
    return lines


def _rows_of(task: str, name: str, whole: Mapping[int, list[Any]]) -> list[str]:
    lines = []
    for times, results in whole.items():
        answers = [result["answers"][name] for result in results]
        by_seed = [sum(a.values()) / len(a) for a in answers]
        more = ""
        if times > 1:
            plain = [result["answers"][name] for result in whole[1]]
            differences = [
                sum(a[q] - p[q] for a, p in zip(answers, plain, strict=True)) / len(answers)
                for q in answers[0]
            ]
            low, high = interval(differences)
            mean = sum(differences) / len(differences)
            more = f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        label = {0: "base, untrained", 1: "as it is"}.get(times, f"{times}x")
        shown = ", ".join(f"{100 * share:.0f}" for share in by_seed)
        total = f"{100 * sum(by_seed) / len(by_seed):.1f}%"
        lines.append(f"| {task} | {name} | {label} | {shown} | {total} | {more} |")
    return lines


def main() -> None:
    """
    Run what is asked for and print the table.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--task", choices=list(TASKS), action="append", help="default: all three")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each arm (default 3)")
    parser.add_argument("--table", action="store_true", help="only print what is done")
    args = parser.parse_args()
    tasks = args.task or list(TASKS)
    for task in tasks if not args.table else ():
        run(args.out, task, 0, 0)
        for seed in range(args.seeds):
            for times in TIMES:
                run(args.out, task, seed, times)
    print("\n".join(table(args.out, tasks, args.seeds)))


if __name__ == "__main__":
    main()
