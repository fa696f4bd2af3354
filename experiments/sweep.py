r"""
Measure which settings of [training] suit which files, one setting at a time.

    $ python -m experiments.sweep --files large --ways \
          --centre num_train_epochs=4 learning_rate=1e-3
    large seed 0, learning_rate 0.001, num_train_epochs 4: infra_200 89 and 85; people_100 59;
        held out 184 of 200, 0.009 nats, 296 s
    $ python -m experiments.sweep --table

Each run trains one file on the base, by the training worker and without any gate, and then asks
the file's held-out rows and the benchmarks of its kind. Around the centre each
setting of WAYS is changed alone. A run that is done is kept under --root and not made again.

Exit status: 0 measured, 1 a worker failed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.replay_tasks import arithmetic, make_tasks
from experiments.workers import CHECKOUT, MICRO, Asker, WorkerFailed, ingest, train
from finetuned.files.atomic import write_atomic
from finetuned.files.run import read_json
from finetuned.sources import syllo
from finetuned.sources.intents import to_jsonl, training_rows

SUITES = {
    "commands": ("infra_200", "people_100"),
    "puzzles": ("syllo_easy_100", "syllo_medium_100", "syllo_hard_100"),
}
"""Benchmarks that files of commands, and of puzzles, are asked."""
COMMANDS = {"large": 2000, "medium": 800, "small": 120}
"""Rows that are trained of each file of commands."""
FILES = (*COMMANDS, "puzzles", "sums", "letters")
"""800 puzzles; sums of two digits, 300 trained; words to turn round, 500 trained."""

CENTRE: dict[str, Any] = {
    "learning_rate": 5e-4,
    "r": 32,
    "lora_alpha": 64,
    "per_device_train_batch_size": 8,
    "num_train_epochs": 2,
    "lr_scheduler_type": "wsd",
    "warmup_steps": 20,
    "method": "lora",
}
WAYS: dict[str, tuple[Any, ...]] = {
    "learning_rate": (1e-4, 2.5e-4, 1e-3, 2e-3),
    "r": (8, 16, 64),
    "lora_alpha": (16, 32, 128),
    "per_device_train_batch_size": (4, 16, 32),
    "num_train_epochs": (1, 4, 8),
    "lr_scheduler_type": ("linear", "cosine", "constant"),
    "warmup_steps": (0, 5, 50),
}
FULL = tuple({"method": "full", "learning_rate": rate} for rate in (1e-4, 3e-4))
HELDOUT = 200


def main(argv: list[str] | None = None) -> int:
    """
    Run the sweep or print its table; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--files", nargs="+", choices=FILES, default=["large"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--ways", nargs="*", default=[*WAYS, "full"], help="default: all of WAYS and full"
    )
    parser.add_argument("--centre", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--processes", type=int, default=1, help="runs side by side (default 1)")
    parser.add_argument("--root", type=Path, default=CHECKOUT / "build" / "sweep")
    parser.add_argument("--base", type=Path, default=MICRO)
    parser.add_argument("--table", action="store_true", help="print what was measured so far")
    args = parser.parse_args(argv)
    root = args.root.resolve()
    if args.table:
        print("\n".join(table(root)))
        return 0
    centre = CENTRE | {k: _value(v) for k, v in (part.split("=") for part in args.centre)}
    planned = [
        (file, seed, settings)
        for seed in args.seeds
        for file in args.files
        for settings in variants(centre, args.ways)
    ]
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        running = [pool.submit(measure, root, *one, args.base.resolve()) for one in planned]
        try:
            for future in running:
                print(line(future.result()), flush=True)
        except WorkerFailed as error:
            pool.shutdown(cancel_futures=True)
            print(error, file=sys.stderr)
            return 1
    return 0


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def variants(centre: Mapping[str, Any], ways: Sequence[str]) -> Iterator[dict[str, Any]]:
    """
    Yield the centre, and then each setting of *ways* changed alone.
    """
    yield dict(centre)
    for key in ways:
        if key == "full":
            yield from ({**centre, **full} for full in FULL)
            continue
        yield from ({**centre, key: value} for value in WAYS[key] if value != centre[key])


def rows_of(file: str, seed: int) -> list[Any]:
    """
    Return the rows of a file, those that will be held out among them.
    """
    if file in COMMANDS:
        n = COMMANDS[file]
        return training_rows(seed, n + HELDOUT + 50)[: n + min(n, HELDOUT)]
    if file == "puzzles":
        return syllo.training_rows(seed, 800 + HELDOUT)
    if file == "letters":
        pairs = make_tasks(seed, 700)["strings"]
    else:
        rng = random.Random(f"sweep:{seed}")
        pairs = list(dict.fromkeys(arithmetic(rng) for _ in range(20_000)))[:500]
    return [{"messages": [_turn("user", q), _turn("assistant", a)]} for q, a in pairs]


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def folder_of(root: Path, file: str, seed: int, settings: Mapping[str, Any]) -> Path:
    """
    Return where one run is kept.
    """
    return root / f"{file}-{seed}" / "-".join(str(value) for value in settings.values())


def trained(
    root: Path, file: str, seed: int, settings: Mapping[str, Any], base: Path = MICRO
) -> tuple[Path, Path]:
    """
    Train one file on *base*, if that was not done before.

    Returns:
        The folders of the version and of the dataset, which has the held-out rows.

    Raises:
        WorkerFailed: A worker failed.
    """
    folder = folder_of(root, file, seed, settings)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.parent / f"{file}.jsonl"
    rows = rows_of(file, seed)
    if not path.exists():
        write_atomic(path, to_jsonl(rows))
    data = {"holdout_fraction": min(0.5, HELDOUT / len(rows)), "holdout_max_rows": HELDOUT}
    datasets = ingest(folder.parent, [path], data, base)
    training = {**settings, "kernels": "split", "save_steps": 10_000, "seed": seed}
    version = train(folder, "v0001", datasets, training, job="file0", base=base)
    return version, Path(datasets[0]["dir"])


def measure(
    root: Path, file: str, seed: int, settings: dict[str, Any], base: Path
) -> dict[str, Any]:
    """
    Train and ask one run, or return what it gave.

    Raises:
        WorkerFailed: A worker failed.
    """
    folder = folder_of(root, file, seed, settings)
    if done := read_json(folder / "result.json"):
        return done
    before = _processor_seconds()
    version, dataset = trained(root, file, seed, settings, base)
    spent = _processor_seconds() - before
    asker = Asker(version, base)
    right, n, loss = asker.heldout(dataset)
    result = {
        "file": file,
        "seed": seed,
        "settings": settings,
        "right": right,
        "heldout": n,
        "loss": loss,
        "seconds": round(spent, 1),
        "suites": {
            suite: asker.right(CHECKOUT / "benchmarks" / f"{suite}.jsonl")
            for suite in SUITES.get("commands" if file in COMMANDS else file, ())
        },
    }
    write_atomic(folder / "result.json", json.dumps(result).encode())
    return result


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def changed(settings: Mapping[str, Any], centre: Mapping[str, Any] = CENTRE) -> str:
    """
    Return the settings that differ from the centre, or "centre".
    """
    return ", ".join(f"{k} {v}" for k, v in settings.items() if v != centre[k]) or "centre"


def line(result: Mapping[str, Any]) -> str:
    """
    Return one line about one run.
    """
    suites = "; ".join(
        f"{suite} " + " and ".join(str(right) for right, _ in splits.values())
        for suite, splits in result["suites"].items()
    )
    return (
        f"{result['file']} seed {result['seed']}, {changed(result['settings'])}: {suites}; "
        f"held out {result['right']} of {result['heldout']}, {result['loss']:.3f} nats, "
        f"{result['seconds']:.0f} s"
    )


def table(root: Path) -> Iterator[str]:
    """
    Yield a table of each file: means over the seeds.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(root.glob("*/*/result.json")):
        result = json.loads(path.read_bytes())
        found[result["file"]][changed(result["settings"])].append(result)
    for file, runs in found.items():
        yield f"### {file}\n"
        asked = SUITES.get("commands" if file in COMMANDS else file, ())
        columns = ["changed", "seeds", *asked, "held out, %", "nats a token", "CPU s"]
        yield f"| {' | '.join(columns)} |"
        yield f"| --- |{' ---: |' * (len(columns) - 1)}"
        for name, results in sorted(runs.items(), key=lambda item: item[0] != "centre"):
            suites = [
                " and ".join(
                    f"{fmean(r['suites'][suite][split][0] for r in results):.1f}"
                    for split in results[0]["suites"].get(suite, {})
                )
                for suite in asked
            ]
            right = fmean(100 * r["right"] / r["heldout"] for r in results)
            loss = fmean(r["loss"] for r in results)
            seconds = fmean(r["seconds"] for r in results)
            figures = [*suites, f"{right:.1f}", f"{loss:.3f}", f"{seconds:.0f}"]
            yield f"| {name} | {len(results)} | {' | '.join(figures)} |"
        yield ""


if __name__ == "__main__":
    sys.exit(main())
