"""
What corrections of wrong answers are worth: right answers to rows that were never trained.

A file of each task is trained on the embedded base. Its rows are asked, and what is answered
wrong becomes corrections (finetuned corrections). Then training goes on in one of these ways, for
as many rows and with the rehearsal of a job, and rows that were never trained are asked, as well
as the rows that were answered wrong:

    nothing       no second job
    plain         the wrong rows again as they are, as often as there are corrections
    corrections   the corrections: each wrong row with attempt and hint, with the hint, and plain

    python -m experiments.correction_worth --out /tmp/correction-worth
    python -m experiments.correction_worth --out /tmp/correction-worth --task sums --seeds 5

Every training is done once; a run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.augment_worth import interval, jsonl
from experiments.replay_tasks import arithmetic
from experiments.workers import MICRO, Asker, ingest, train
from finetuned.config import EvaluationConfig
from finetuned.data.examples import Example
from finetuned.data.reader import to_example
from finetuned.files.atomic import write_atomic
from finetuned.files.learnt_file import LearntFile
from finetuned.files.run import read_json
from finetuned.sources import intents
from finetuned.sources.augment import KeptOut
from finetuned.sources.correction import trained_rows

ROWS = 120
ASKED = 100
MOST = 120
"""Corrections at most, 40 wrong answers."""
ARMS = ("nothing", "plain", "corrections")
EPOCHS = {"sums": 10, "commands": 3}
"""Of the first job: some of its rows are still answered wrong."""
LONGEST = {"sums": 6, "commands": 120}
"""Tokens of an answer at most."""

Row = dict[str, Any]
Answers = dict[str, bool]
"""Question -> whether it was answered right."""


def rows_of(task: str, seed: int) -> tuple[list[Row], list[Row]]:
    """
    Return the rows to train and the rows to ask, which share no prompt.
    """
    if task == "commands":
        found = [{"messages": r["messages"]} for r in intents.training_rows(seed, 2 * ROWS)]
    else:
        rng, pairs = random.Random(f"correction:{seed}"), dict[str, str]()
        while len(pairs) < ROWS + ASKED:
            prompt, answer = arithmetic(rng)
            pairs.setdefault(prompt, answer)
        found = [{"prompt": p, "completion": a} for p, a in pairs.items()]
    return found[:ROWS], found[ROWS : ROWS + ASKED]


def _settings(seed: int, **more: Any) -> dict[str, Any]:
    """Return those of [training]; what is not named is as the daemon has it by default."""
    # Timing would choose by the load of the machine, and not the same for both arms.
    return {"save_steps": 10_000, "kernels": "split", "seed": seed, **more}


@dataclass(frozen=True, slots=True)
class First:
    """
    The first job of one task and seed, and what became of its wrong answers.
    """

    folder: Path
    dataset: dict[str, Any]
    version: Path
    corrections: list[Row]
    wrong: list[Row]
    """The rows that were answered wrong, as they are, in the order of the corrections."""


def first_job(folder: Path, task: str, seed: int) -> First:
    """
    Train the file, ask its rows, and make the corrections; what is there is not made again.
    """
    rows, asked = rows_of(task, seed)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{task}.jsonl"
    write_atomic(file, jsonl(rows))
    [dataset] = ingest(folder / "root", [file], {})
    settings = _settings(seed, num_train_epochs=EPOCHS[task])
    version = train(folder, "v0001", [dataset], settings, job=f"first-{task}-{seed}")
    made = folder / "corrections.json"
    if read_json(made) is None:
        collected = _collect(version, dataset, file, asked, task, seed)
        write_atomic(made, json.dumps(collected).encode())
    found = read_json(made) or {}
    corrections = found["rows"]
    wrong = [
        {"messages": row["messages"]}
        for row in corrections
        if row["metadata"]["correction"]["form"] == "plain"
    ]
    return First(folder, dataset, version, corrections, wrong)


def _collect(
    version: Path,
    dataset: Mapping[str, Any],
    file: Path,
    asked: Sequence[Row],
    task: str,
    seed: int,
) -> dict[str, Any]:
    from finetuned.config import ModelConfig
    from finetuned.data.render import Renderer
    from finetuned.evaluation.corrections import collector
    from finetuned.model.load import load_version

    kept_out = KeptOut()
    kept_out.add_dataset(Path(dataset["dir"]))
    kept_out.add(map(_example, asked))
    made = collector(
        load_version(MICRO, version, ModelConfig(device="cpu", dtype="float32")),
        Renderer.load(MICRO, max_length=2048),
        EvaluationConfig(max_new_tokens=LONGEST[task]),
        name=version.name,
        kept_out=kept_out,
        max_examples=MOST,
        deadline=math.inf,
    )
    learnt = LearntFile(dataset=Path(dataset["dir"]), path=file, name=file.name)
    found = made.collect(trained_rows([learnt], ROWS, seed=seed, max_bytes=2**20))
    return {"rows": found.rows, "counts": found.counts.as_dict()}


def _example(row: Row) -> Example:
    return to_example(row)


def second_job(first: First, arm: str, task: str, seed: int) -> Path:
    """
    Go on from the first job in one way, and return the version.
    """
    if arm == "nothing":
        return first.version
    n = len(first.corrections)
    plain = [first.wrong[i % len(first.wrong)] for i in range(n)]
    folder = first.folder / arm
    folder.mkdir(exist_ok=True)
    file = folder / f"{arm}.jsonl"
    write_atomic(file, jsonl(first.corrections if arm == "corrections" else plain))
    known = folder / "root" / "datasets" / first.dataset["dataset_id"]
    if not known.exists():  # the prompts that are trained, and those that are held out
        shutil.copytree(first.dataset["dir"], known)
    [dataset] = ingest(folder / "root", [file], {})
    return train(
        folder,
        "v0002",
        [dataset],
        _settings(seed),
        job=f"second-{task}-{seed}",
        parent=first.version,
        earlier=[first.dataset["dir"]],
    )


def _asked(version: Path, task: str, suites: Mapping[str, Sequence[Row]]) -> dict[str, Answers]:
    from finetuned.data.suite import read_suite

    asker, found = Asker(version), {}
    for name, rows in suites.items():
        suite = read_suite(Path(f"{name}.jsonl"), jsonl(list(rows)))
        outcomes = asker.outcomes(suite.questions, max_new_tokens=LONGEST[task])
        found[name] = {o.question.id: bool(o.correct) for o in outcomes}
    return found


def run(out: Path, task: str, seed: int) -> None:
    """
    Train and ask all arms of one task and seed, unless their results are there.
    """
    folder = out / f"{task}-{seed}"
    first = first_job(folder, task, seed)
    if not first.wrong:
        print(f"{task} seed {seed}: nothing was answered wrong", flush=True)
        return
    suites = {"never trained": rows_of(task, seed)[1], "answered wrong": first.wrong}
    for arm in ARMS:
        result = folder / f"result-{arm}.json"
        if not result.exists():
            answers = _asked(second_job(first, arm, task, seed), task, suites)
            write_atomic(result, json.dumps(answers).encode())
        answers = read_json(result) or {}
        said = ", ".join(f"{name} {sum(a.values())}/{len(a)}" for name, a in answers.items())
        print(f"{task} seed {seed} {arm}: {said}", flush=True)


def table(out: Path, tasks: Sequence[str], seeds: int) -> list[str]:
    """
    Return the figures of all seeds that are done, as lines of Markdown.
    """
    lines = [
        "| task | asked | arm | right, by seed | all seeds | against nothing | against plain |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in tasks:
        done = []
        for seed in range(seeds):
            found = {arm: read_json(out / f"{task}-{seed}" / f"result-{arm}.json") for arm in ARMS}
            if all(found.values()):
                done.append(found)
        for asked in done[0]["nothing"] or () if done else ():
            right = {arm: [_values(found[arm], asked) for found in done] for arm in ARMS}
            for arm in ARMS:
                shares = ", ".join(f"{sum(r)} of {len(r)}" for r in right[arm])
                pooled = [value for values in right[arm] for value in values]
                cells = [task, asked, arm, shares, f"{100 * sum(pooled) / len(pooled):.1f}%"]
                cells += [_against(right, arm, other) for other in ("nothing", "plain")]
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def _values(answers: Any, asked: str) -> list[int]:
    return [int(right) for _, right in sorted(answers[asked].items())]


def _against(right: Mapping[str, list[list[int]]], arm: str, other: str) -> str:
    """Return the mean difference in points with its 95% interval; "" if it is none."""
    if ARMS.index(arm) <= ARMS.index(other):
        return ""
    seeds = zip(right[arm], right[other], strict=True)
    differences = [float(a - b) for one, two in seeds for a, b in zip(one, two, strict=True)]
    low, high = interval(differences)
    mean = sum(differences) / len(differences)
    return f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def main() -> None:
    """
    Run what is asked for and print the table.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--task", choices=list(EPOCHS), action="append", help="default: both")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each arm (default 3)")
    parser.add_argument("--table", action="store_true", help="only print what is done")
    args = parser.parse_args()
    tasks = args.task or list(EPOCHS)
    if not args.table:
        for seed in range(args.seeds):
            for task in tasks:
                run(args.out, task, seed)
    print("\n".join(table(args.out, tasks, args.seeds)))


if __name__ == "__main__":
    main()
