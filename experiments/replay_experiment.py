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
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from experiments.replay_arms import Arm, Job, jobs
from experiments.replay_figures import figures, lines, mean
from experiments.replay_tasks import EPOCHS, make_tasks
from finetuned.data.store import TokenisedDataset
from finetuned.files.atomic import write_atomic
from finetuned.files.manifest import read_manifest
from finetuned.files.run import read_json
from finetuned.sources.intents import to_jsonl

CHECKOUT = Path(__file__).resolve().parents[1]
BASE = CHECKOUT / "models" / "base" / "micro"

TRAINING: dict[str, Any] = {
    "learning_rate": 5e-4,
    "lora_alpha": 64,
    "per_device_train_batch_size": 8,
    "save_steps": 1000,
    # Timing would choose by the load of the machine, and not the same for both arms.
    "kernels": "split",
}
MAX_NEW_TOKENS = 160
ASKED_TOGETHER = 32
FILE_SECONDS = 1800.0
"""Longest one file may train."""


class WorkerFailed(Exception):
    """
    A worker did not end with 0.
    """


# -- files in, matrices out -----------------------------------------------------------


def ingest(root: Path, settings: dict[str, Any]) -> None:
    """
    Write each task as a file and make a dataset of it, with held-out rows.

    Raises:
        WorkerFailed: Ingestion ended badly or refused a file.
    """
    if (root / "datasets.json").exists():
        return
    run_dir, datasets = root / "ingestion", root / "datasets"
    for folder in (run_dir, datasets, root / "files"):
        folder.mkdir(parents=True, exist_ok=True)
    files = []
    for task, pairs in make_tasks(settings["seed"], settings["rows"]).items():
        path = root / "files" / f"{task}.jsonl"
        write_atomic(path, to_jsonl({"messages": _turns(*pair)} for pair in pairs))
        files.append({"dataset_key": task, "path": str(path), "name": path.name})
    data = {"holdout_fraction": settings["holdout_fraction"]}
    write_atomic(
        run_dir / "spec.json",
        json.dumps(
            {
                "kind": "ingestion",
                "run_id": run_dir.name,
                "files": files,
                "datasets_dir": str(datasets),
                "base": str(BASE),
                "data": data,
                "enable_thinking": False,
                "model_max_length": None,
            }
        ).encode(),
    )
    _run_worker("ingestion", run_dir)
    entries = []
    for file in files:
        result = read_json(run_dir / "results" / f"{file['dataset_key']}.json") or {}
        if result.get("result") not in ("accepted", "duplicate"):
            raise WorkerFailed(f"{file['name']}: {result}")
        dataset_id = result["dataset_id"]
        entries.append(
            {
                "dir": str(datasets / dataset_id),
                "dataset_id": dataset_id,
                "sha256": result["sha256"],
                "name": file["name"],
            }
        )
    write_atomic(root / "datasets.json", json.dumps(entries).encode())


def _turns(prompt: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def _run_worker(room: str, run_dir: Path) -> None:
    with (run_dir / "output.txt").open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", f"finetuned.{room}.worker", str(run_dir)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=FILE_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise WorkerFailed(f"{run_dir}: the {room} worker ended with {done.returncode}")


def run_arm(root: Path, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """
    Train all files in a row in one way, asking every task after each.

    Args:
        root: Of the experiment; its datasets are made.
        name: Of the arm; see replay_arms.
        settings: The seed, of the rows and of the order they are trained in.

    Returns:
        ``titles`` of the jobs; ``after``: for every job a list for every task of 0 or 1 for
        every held-out row; ``replayed``: rows rehearsed in every job; ``seconds_training``:
        processor time of the worker of every job; ``seconds_asking``.

    Raises:
        WorkerFailed: A training run ended badly; files before it are kept.
    """
    datasets = json.loads((root / "datasets.json").read_bytes())
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
            parent = _train(folder, i, parent, job, arm, settings)
            trained, asked = _processor_seconds(), time.monotonic()
            result = {
                "title": job.title,
                "candidate": str(parent),
                "matches": _ask(parent, datasets, None if i == len(planned) - 1 else i),
                "replayed": read_manifest(parent)["n_replayed"],
                "seconds_training": round(trained - began, 1),
                "seconds_asking": round(time.monotonic() - asked, 1),
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
) -> Path:
    """Train job *i* in a new run folder, from the last checkpoint there is."""
    version = folder / f"v{i + 1:04d}"  # the next file's parent must be named as versions are
    earlier = sorted(folder.glob(f"run{i}-*"))
    for run in earlier:
        if not version.exists() and (run / "candidate").is_dir():
            (run / "candidate").rename(version)
    if version.exists():
        return version
    run = folder / f"run{i}-{len(earlier)}"
    run.mkdir()
    training = {
        **TRAINING,
        "num_train_epochs": job.epochs,
        "seed": settings["seed"],
        **arm.training(i),
    }
    spec = {
        "kind": "training",
        "run_id": f"{folder.name}-{run.name}",
        "job_id": f"file{i}",  # the order of the rows is drawn from it: the same in every arm
        "attempt": len(earlier) + 1,
        "base": str(BASE),
        "parent": str(parent) if parent else None,
        "datasets": job.datasets,
        "earlier": job.earlier,
        "resume_from": [str(r / "checkpoints") for r in earlier],
        "live_evals": False,
        "config": {"model": {"device": "cpu", "dtype": "float32"}, "training": training},
    }
    write_atomic(run / "spec.json", json.dumps(spec).encode())
    _run_worker("training", run)
    (run / "candidate").rename(version)
    return version


def _ask(
    candidate: Path, datasets: list[dict[str, Any]], only: int | None
) -> list[list[int] | None]:
    """Ask the held-out rows of all tasks, or of one; 1 for an exact match, in file order."""
    import torch

    from finetuned.config import ModelConfig
    from finetuned.data.render import Renderer
    from finetuned.data.suite import questions_of
    from finetuned.inference.ask import ask
    from finetuned.model.load import load_version

    torch.set_num_threads(1)
    model = load_version(BASE, candidate, ModelConfig(device="cpu", dtype="float32"))
    renderer = Renderer.load(BASE, max_length=2048, enable_thinking=False)
    matches: list[list[int] | None] = []
    for i, dataset in enumerate(datasets):
        if only not in (None, i):
            matches.append(None)
            continue
        questions = questions_of(TokenisedDataset.open(Path(dataset["dir"])))
        outcomes = ask(
            model,
            renderer,
            questions,
            max_new_tokens=MAX_NEW_TOKENS,
            batch_size=ASKED_TOGETHER,
            deadline=time.monotonic() + FILE_SECONDS,
        )
        matched = {outcome.question.id: int(bool(outcome.matches)) for outcome in outcomes}
        matches.append([matched[question.id] for question in questions])
    return matches


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
        ingest(root, settings)
        with ProcessPoolExecutor(
            args.processes, mp_context=multiprocessing.get_context("spawn")
        ) as pool:
            running = [pool.submit(run_arm, root, name, settings) for name in args.arms]
            arms = [future.result() for future in running]
    except WorkerFailed as error:
        print(error, file=sys.stderr)
        return 1
    tasks = [Path(d["name"]).stem for d in json.loads((root / "datasets.json").read_bytes())]
    results = [{**arm, **figures(arm)} for arm in arms]
    for arm, result in zip(arms, results, strict=True):
        print("\n".join(lines(tasks, arm, result)))
    if args.json:
        report = {**settings, "tasks": tasks, "arms": results}
        write_atomic(args.json.resolve(), json.dumps(report).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
