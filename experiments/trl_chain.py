"""
The files of experiments/replay_experiment.py, one after another with TRL and nothing else.

    $ python -m experiments.trl_chain --root build/replay_experiment --json build/trl.json

What a stream of files costs without a tool for it: one SFTTrainer for each file, in order, on
the adapter of the file before, each with a fresh optimizer and a schedule of its own (linear,
without warm-up, as SFTTrainer has it), and no rehearsal. Rate, rank, batch, epochs, rows and
held-out rows are those of the other arms, and so are the matrix and backward transfer that
are printed: --root is that of replay_experiment, which has made the datasets there. What is
finished stays under --folder, so the same command goes on where it was interrupted.

Exit status: 0 measured, 1 a file failed, 2 TRL is missing or --root holds no experiment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.replay_experiment import ask_tasks
from experiments.replay_figures import figures, lines, mean
from experiments.trl_worker import TOLD, missing, train_with_trl
from experiments.workers import CHECKOUT, MICRO, WorkerFailed, made_datasets
from finetuned.files.atomic import write_atomic
from finetuned.files.run import read_json

NAME = "trl"
"""Of the arm, in figures and tables."""
TAKEN = ("learning_rate", "lora_alpha", "per_device_train_batch_size")
"""Settings of the other arms that mean something to SFTTrainer."""


def main(argv: list[str] | None = None) -> int:
    """
    Run the chain; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.trl_chain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, default=CHECKOUT / "build" / "replay_experiment")
    parser.add_argument("--folder", type=Path, help="of the adapters (default arm-trl in --root)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args(argv)
    if lacking := missing():
        print(f"{', '.join(lacking)} missing: run tools/bootstrap --bench", file=sys.stderr)
        return 2
    root = args.root.resolve()
    settings = read_json(root / "settings.json")
    if settings is None or made_datasets(root) is None:
        print(f"{root} holds no experiment: run experiments.replay_experiment", file=sys.stderr)
        return 2
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    try:
        arm = run_chain(root, (args.folder or root / f"arm-{NAME}").resolve(), settings)
    except WorkerFailed as error:
        print(error, file=sys.stderr)
        return 1
    result = {**arm, **figures(arm)}
    print("\n".join(lines(tasks_of(root), arm, result)))
    if args.json:
        report = {**settings, "tasks": tasks_of(root), "arms": [result]}
        write_atomic(args.json.resolve(), json.dumps(report).encode())
    return 0


def tasks_of(root: Path) -> list[str]:
    """
    Return the names of the tasks, in the order of their files.
    """
    return [Path(d["name"]).stem for d in made_datasets(root) or ()]


def run_chain(root: Path, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """
    Train all files in a row and ask each task after its file, and all after the last.

    Args:
        root: With datasets.json of the replay experiment.
        folder: Of the adapters and of what they answered.
        settings: Of the replay experiment; the seed is that of the order of rows and of the
            adapter's first weights.

    Returns:
        As replay_experiment.run_arm.

    Raises:
        WorkerFailed: A file was not trained; files before it are kept.
    """
    datasets = made_datasets(root) or []
    done: list[dict[str, Any]] = []
    parent: Path | None = None
    for i, dataset in enumerate(datasets):
        title, last = Path(dataset["name"]).stem, i == len(datasets) - 1
        version, told = folder / f"v{i + 1:04d}", folder / f"file{i}.json"
        result = read_json(told)
        if result is None:
            training = _training(title, settings)
            train_with_trl(
                folder, version.name, Path(dataset["dir"]), training, base=MICRO, parent=parent
            )
            trained, asked = read_json(version / TOLD) or {}, time.monotonic()
            result = {
                "title": title,
                "matches": ask_tasks(version, datasets, range(0 if last else i, i + 1)),
                "replayed": 0,
                "seconds_training": trained["seconds"],
                "seconds_asking": round(time.monotonic() - asked, 1),
            }
            write_atomic(told, json.dumps(result).encode())
        parent = version
        done.append(result)
        shown = " ".join(f"{mean(row):.2f}" if row else "-" for row in result["matches"])
        print(f"{NAME}, after {title}: {shown}", file=sys.stderr, flush=True)
    keys = {"titles": "title", "after": "matches"}
    keys |= {key: key for key in ("replayed", "seconds_training", "seconds_asking")}
    return {"name": NAME, **{many: [one[key] for one in done] for many, key in keys.items()}}


def _training(title: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: settings["training"][key] for key in TAKEN},
        "num_train_epochs": settings["epochs"][title],
        "seed": settings["seed"],
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
    }


if __name__ == "__main__":
    sys.exit(main())
