"""
Measure what replay is worth: six unlike tasks in a row, in several ways.

    $ python -m experiments.replay_experiment --arms joint none p300 --json build/replay.json

Each task is one file of its own: checked and split by the ingestion worker, trained
by the training worker, going on from the candidate of the file before. No gate stands
between them: a file that makes the model worse at others stays, which is what is
measured. Each task is asked after its own file and after the last one: exact match on
its held-out rows, R[i][j] being task j after file i. Backward transfer is the mean over
all tasks but the last of R[last][j] - R[j][j] (Lopez-Paz and Ranzato, 2017): below 0 is
forgetting.

An arm is a way of training, see replay_arms. Arms see the same files in the same order,
each in a single-threaded process. What is finished stays under --root, so the same
command goes on where it was interrupted, and shows again what is done.

Exit status: 0 measured, 1 a worker failed, 2 --root holds another experiment.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from experiments.replay_arms import Arm, Job, jobs
from experiments.replay_figures import figures, lines, mean
from experiments.replay_tasks import EPOCHS, make_tasks
from experiments.workers import CHECKOUT, Asker, WorkerFailed, ingest, train
from finetuned.core.forgetting import Stage, replay_weights
from finetuned.files.atomic import write_atomic
from finetuned.files.manifest import read_manifest
from finetuned.files.run import read_json
from finetuned.sources.intents import to_jsonl

TRAINING: dict[str, Any] = {
    "learning_rate": 5e-4,
    "lora_alpha": 64,
    "per_device_train_batch_size": 8,
    "save_steps": 1000,
    # Timing would choose by the load of the machine, and not the same for both arms.
    "kernels": "split",
}


def files(root: Path, settings: dict[str, Any]) -> list[Path]:
    """
    Write each task as a file, once, and return the files.
    """
    folder = root / "files"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for task, pairs in make_tasks(settings["seed"], settings["rows"]).items():
        path = folder / f"{task}.jsonl"
        if not path.exists():
            write_atomic(path, to_jsonl({"messages": _turns(*pair)} for pair in pairs))
        made.append(path)
    return made


def _turns(prompt: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def run_arm(
    root: Path, name: str, datasets: list[dict[str, Any]], settings: dict[str, Any]
) -> dict[str, Any]:
    """
    Train all files in a row in one way, asking every task after each.

    Args:
        root: Of the experiment.
        name: Of the arm; see replay_arms.
        datasets: Of the tasks, in order, as ``ingest`` returns them.
        settings: The seed, of the rows and of the order they are trained in.

    Returns:
        ``titles`` of the jobs; ``after``: for every job a list for every task of 0 or 1 for
        every held-out row; ``replayed``: rows rehearsed in every job; ``seconds_training``:
        processor time of the worker of every job; ``seconds_asking``.

    Raises:
        WorkerFailed: A training run ended badly; files before it are kept.
    """
    arm, epochs = Arm.named(name), [EPOCHS[Path(d["name"]).stem] for d in datasets]
    folder = root / f"arm-{name}"
    folder.mkdir(exist_ok=True)
    done: list[dict[str, Any]] = []
    parent: Path | None = None
    planned = jobs(arm, datasets, epochs)
    for i, job in enumerate(planned):
        result_path = folder / f"file{i}.json"
        result = read_json(result_path)
        if result is None:
            began = _processor_seconds()
            weights = _weights(datasets, done) if arm.measured else {}
            parent = _train(folder, i, parent, job, arm, settings, weights)
            trained, began_asking = _processor_seconds(), time.monotonic()
            last = i == len(planned) - 1
            asked = range(0 if last or arm.measured else i, len(datasets) if last else i + 1)
            result = {
                "title": job.title,
                "candidate": str(parent),
                "matches": ask_tasks(parent, datasets, asked),
                "replay_weights": weights,
                "replayed": read_manifest(parent)["n_replayed"],
                "seconds_training": round(trained - began, 1),
                "seconds_asking": round(time.monotonic() - began_asking, 1),
            }
            write_atomic(result_path, json.dumps(result).encode())
        parent = Path(result["candidate"])
        done.append(result)
        shown = " ".join(f"{mean(row):.2f}" if row else "-" for row in result["matches"])
        print(f"{name}, after {job.title}: {shown}", file=sys.stderr, flush=True)
    keys = {"titles": "title", "after": "matches"}
    keys |= {key: key for key in ("replayed", "seconds_training", "seconds_asking")}
    return {
        "name": name,
        **{many: [result[one] for result in done] for many, one in keys.items()},
    }


def _processor_seconds() -> float:
    """Processor time of the children that ended, whatever else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _train(
    folder: Path,
    i: int,
    parent: Path | None,
    job: Job,
    arm: Arm,
    settings: dict[str, Any],
    weights: Mapping[str, float],
) -> Path:
    training = {
        **TRAINING,
        "num_train_epochs": job.epochs,
        "seed": settings["seed"],
        **arm.training(i),
    }
    return train(
        folder,
        f"v{i + 1:04d}",
        job.datasets,
        training,
        job=f"file{i}",  # the order of the rows is drawn from it: the same in every arm
        parent=parent,
        earlier=job.earlier,
        replay_weights=weights,
    )


def _weights(
    datasets: Sequence[Mapping[str, Any]], done: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Return what the answers after the files so far say about the next job's replay."""
    ids = [str(dataset["dataset_id"]) for dataset in datasets]
    stages = [
        Stage(
            version=f"v{i + 1:04d}",
            titles=(result["title"],),
            new=frozenset({ids[i]}),
            accuracy={ids[j]: mean(row) for j, row in enumerate(result["matches"]) if row},
            asked={ids[j]: len(row) for j, row in enumerate(result["matches"]) if row},
        )
        for i, result in enumerate(done)
    ]
    return replay_weights(stages)


def ask_tasks(
    candidate: Path, datasets: Sequence[Mapping[str, Any]], only: range
) -> list[list[int] | None]:
    """
    Ask the held-out rows of the tasks of *only*; 1 for an exact match, in file order.
    """
    found = iter(Asker(candidate).matches(datasets[only.start : only.stop]))
    return [next(found) if i in only else None for i in range(len(datasets))]


def main(argv: list[str] | None = None) -> int:
    """
    Run the experiment; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.replay_experiment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--arms", nargs="+", default=["joint", "none", "p300"], metavar="ARM")
    parser.add_argument("--rows", type=int, default=540, help="rows per task (default 540)")
    parser.add_argument("--heldout", type=int, default=200, help="of them asked (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="arms side by side (default 1)")
    parser.add_argument("--root", type=Path, default=CHECKOUT / "build" / "replay_experiment")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args(argv)

    settings = {
        "rows": args.rows,
        "holdout_fraction": args.heldout / args.rows,
        "seed": args.seed,
        "training": TRAINING,
        "epochs": EPOCHS,
    }
    root = args.root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    if read_json(root / "settings.json") not in (None, settings):
        print(f"{root} holds an experiment with other settings", file=sys.stderr)
        return 2
    write_atomic(root / "settings.json", json.dumps(settings).encode())
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers, which the arms start
    try:
        data = {"holdout_fraction": settings["holdout_fraction"]}
        datasets = ingest(root, files(root, settings), data)
        with ProcessPoolExecutor(
            args.processes, mp_context=multiprocessing.get_context("spawn")
        ) as pool:
            running = [pool.submit(run_arm, root, name, datasets, settings) for name in args.arms]
            arms = [future.result() for future in running]
    except WorkerFailed as error:
        print(error, file=sys.stderr)
        return 1
    tasks = [Path(dataset["name"]).stem for dataset in datasets]
    results = [{**arm, **figures(arm)} for arm in arms]
    for arm, result in zip(arms, results, strict=True):
        print("\n".join(lines(tasks, arm, result)))
    if args.json:
        report = {**settings, "tasks": tasks, "arms": results}
        write_atomic(args.json.resolve(), json.dumps(report).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
