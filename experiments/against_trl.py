"""
Train the same rows with the product and with TRL, and compare the held-out loss.

    $ python -m experiments.against_trl gsm8k alpaca

1,000 rows of a public dataset are checked and split by the ingestion worker. Then the embedded
base is adapted three times, each in a process of its own: by the training worker, by TRL's
SFTTrainer with the rows in the order in which the worker trained them, and by SFTTrainer with
rows in an order that it draws itself. Token ids, supervised positions, rate at each step, steps,
batch, rank, alpha, AdamW, clipping, seed and float32 are the same for all; the loss of a step is
the mean over its supervised tokens. TRL is as tools/bootstrap --bench installs it.

All adapters are asked by one program: nats per supervised token of the held-out rows. The
difference is of the same rows, and its 95% interval is over rows. Processor seconds and peak
memory are those of the whole process that trains, imports included.

Exit status: 0 measured, 1 a worker failed, 2 TRL or the datasets beside the checkout are missing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from experiments.trl_worker import IGNORED, TOLD, as_trl_renders, missing, train_with_trl
from experiments.workers import CHECKOUT, MICRO, Asker, WorkerFailed, ingest, train
from finetuned.config import TrainingConfig
from finetuned.data.examples import from_record
from finetuned.data.render import Renderer
from finetuned.data.store import TokenisedDataset
from finetuned.data.suite import questions_of
from finetuned.files.atomic import write_atomic
from finetuned.files.manifest import read_manifest
from finetuned.files.run import read_json

DATASETS = CHECKOUT.parent / "shared" / "data" / "datasets"
FILES = {"gsm8k": "gsm8k_prompt_completion.jsonl", "alpaca": "alpaca_instructions.jsonl"}
JOB = "against_trl"
OURS, ORDERED, DRAWN = "finetuned", "TRL, rows in the same order", "TRL, its own order"
FOLDERS = {OURS: "v0001", ORDERED: "trl-ordered", DRAWN: "trl-drawn"}


@dataclass(frozen=True, slots=True)
class RowLoss:
    """
    What an adapter makes of one held-out row.
    """

    nats: float
    """Summed over its supervised tokens."""
    tokens: int
    """Number of those, >= 1."""


def main(argv: list[str] | None = None) -> int:
    """
    Run the comparison; see the module's text for the exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.against_trl",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("datasets", nargs="+", choices=list(FILES))
    parser.add_argument("--rows", type=int, default=1000, help="the first of each (default 1000)")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, default=CHECKOUT / "build" / "against_trl")
    args = parser.parse_args(argv)
    if lacking := missing():
        print(f"{', '.join(lacking)} missing: run tools/bootstrap --bench", file=sys.stderr)
        return 2
    absent = [str(f) for name in args.datasets if not (f := DATASETS / FILES[name]).is_file()]
    if absent:
        print(f"no file {', '.join(absent)}: there is nothing to train on", file=sys.stderr)
        return 2
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    training = {
        "learning_rate": 5e-4,
        "lora_alpha": 64,
        "per_device_train_batch_size": 8,
        "num_train_epochs": args.epochs,
        "seed": args.seed,
        "save_steps": 1000,
        "kernels": "split",
    }
    for name in args.datasets:
        root = args.root.resolve() / f"{name}-{args.rows}-{args.epochs}-{args.seed}"
        try:
            print("\n".join(compare(root, name, args.rows, training)), flush=True)
        except WorkerFailed as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def compare(root: Path, name: str, n_rows: int, training: Mapping[str, Any]) -> Iterator[str]:
    """
    Yield what was measured of one dataset, as lines of Markdown.

    Raises:
        WorkerFailed: Some run ended badly.
    """
    root.mkdir(parents=True, exist_ok=True)
    source = root / f"{name}.jsonl"
    rows = (DATASETS / FILES[name]).read_bytes().splitlines(keepends=True)[:n_rows]
    write_atomic(source, b"".join(rows))
    (entry,) = ingest(root, [source], {"holdout_fraction": 0.2})
    dataset = TokenisedDataset.open(Path(entry["dir"]))
    costs = {arm: _in_own_process(root, arm, entry, training) for arm in FOLDERS}
    found = {arm: losses(root / FOLDERS[arm], dataset) for arm in FOLDERS}
    before, ours = losses(None, dataset), found[OURS]

    steps = read_manifest(root / FOLDERS[OURS])["job_steps"]
    yield f"{name}: {len(dataset)} rows trained by each in {steps} steps, seed {training['seed']};"
    yield f"{len(ours)} rows held out, with {sum(r.tokens for r in ours)} supervised tokens"
    for arm in (ORDERED, DRAWN):
        told = read_json(root / FOLDERS[arm] / TOLD) or {}
        yield (
            f"{arm}: SFTTrainer kept all ids and labels of {told['rows']} rows, of which "
            f"{told['supervised']} tokens are supervised, and made {told['steps']} steps"
        )
    yield rendered_alike(dataset)
    apart = distance(*(root / FOLDERS[arm] for arm in (OURS, ORDERED)))
    yield f"the adapters of {OURS} and {ORDERED} differ by {apart:.1e} of their size"
    yield ""
    yield "| | nats per supervised token | ours over it | processor s | peak MB |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    yield f"| the base | {per_token(before):.4f} | | | |"
    for arm, cost in costs.items():
        over = "" if arm == OURS else difference(ours, found[arm])
        loss = per_token(found[arm])
        yield f"| {arm} | {loss:.4f} | {over} | {cost['seconds']:.0f} | {cost['peak_mb']:.0f} |"
    yield ""


def _in_own_process(
    root: Path, arm: str, entry: Mapping[str, Any], training: Mapping[str, Any]
) -> dict[str, float]:
    told = root / f"{FOLDERS[arm]}.cost.json"
    if (known := read_json(told)) is not None:
        return known
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        cost = pool.submit(_train, root, arm, entry, training).result()
    write_atomic(told, json.dumps(cost).encode())
    return cost


def _train(
    root: Path, arm: str, entry: Mapping[str, Any], training: Mapping[str, Any]
) -> dict[str, float]:
    """Train one arm; the only child of this process is the one that trains."""
    dataset = Path(entry["dir"])
    if arm == OURS:
        ours = {**training, "replay_presentations": 0}
        train(root, FOLDERS[arm], [entry], ours, job=JOB)
    else:
        order = order_of(dataset, training) if arm == ORDERED else None
        train_with_trl(
            root, FOLDERS[arm], dataset, training, base=MICRO, order=order, our_rate=True
        )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


def order_of(dataset: Path, training: Mapping[str, Any]) -> list[int]:
    """
    Return the training sequences in the order in which the training worker takes them.
    """
    from finetuned.training.rows import JobRows
    from finetuned.training.training_run import job_seed

    config = TrainingConfig(**training)
    rows = JobRows([dataset], [dataset.name])
    plan = rows.plan(config, seed=job_seed(config.seed, JOB), world=1)
    order: list[int] = plan.order.tolist()
    return order


def losses(adapter: Path | None, dataset: TokenisedDataset) -> list[RowLoss]:
    """
    Return the loss of each held-out row, in file order, with *adapter* or with the base alone.
    """
    questions = [replace(question, generated=False) for question in questions_of(dataset)]
    found = {
        outcome.question.id: RowLoss(outcome.loss_sum, outcome.n_tokens)
        for outcome in Asker(adapter).outcomes(questions)
    }
    return [found[question.id] for question in questions]


def distance(ours: Path, theirs: Path) -> float:
    """
    Return how far apart two adapters are: the norm of the difference over that of *theirs*.

    Of the B matrices only, which are 0 at first: those that training alone has made.
    """
    import numpy as np
    from safetensors.numpy import load_file

    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (ours, theirs))
    trained = [name for name in second if "lora_B" in name]
    apart = sum(float(np.square(first[name] - second[name]).sum()) for name in trained)
    return math.sqrt(apart / sum(float(np.square(second[name]).sum()) for name in trained))


def per_token(rows: Sequence[RowLoss]) -> float:
    """
    Return the loss of all rows together, in nats per supervised token.
    """
    return math.fsum(row.nats for row in rows) / sum(row.tokens for row in rows)


def interval(ours: Sequence[RowLoss], theirs: Sequence[RowLoss]) -> tuple[float, float]:
    """
    Return the difference per supervised token, ours less theirs, and half its 95% interval.

    Args:
        ours: Of at least one row.
        theirs: Of the same rows in the same order.

    Source:
        A ratio of sums over rows drawn together: Cochran, Sampling Techniques (1977), 6.4.
    """
    tokens = sum(row.tokens for row in ours)
    changes = [a.nats - b.nats for a, b in zip(ours, theirs, strict=True)]
    mean = math.fsum(changes) / tokens
    left = (change - mean * row.tokens for change, row in zip(changes, ours, strict=True))
    return mean, 1.96 * math.sqrt(math.fsum(x * x for x in left)) / tokens


def difference(ours: Sequence[RowLoss], theirs: Sequence[RowLoss]) -> str:
    """
    Return ``interval`` in % of their loss, as text.
    """
    (mean, half), whole = interval(ours, theirs), per_token(theirs)
    low, high = (100 * (mean + sign * half) / whole for sign in (-1, 1))
    return f"{100 * mean / whole:+.2f}% ({low:+.2f} to {high:+.2f})"


def rendered_alike(dataset: TokenisedDataset) -> str:
    """
    Return how many rows SFTTrainer would render as the product does: the held-out ones.
    """
    renderer = Renderer.load(MICRO, max_length=2048, enable_thinking=False)
    examples = [from_record(row) for row in dataset.held_out_rows()]
    theirs = as_trl_renders([example.messages for example in examples], MICRO)
    same = longer = 0
    for example, row in zip(examples, theirs, strict=True):
        (sequence,) = renderer.render(example)
        pairs = zip(sequence.input_ids, sequence.supervised, strict=True)
        labels = [token if loss else IGNORED for token, loss in pairs]
        n = len(labels)
        if row["input_ids"][:n] == sequence.input_ids and row["labels"][:n] == labels:
            same += len(row["labels"]) == n
            longer += len(row["labels"]) == n + 1
    return (
        f"by its own template SFTTrainer would give {same} of {len(examples)} rows the same ids "
        f"and labels, and {longer} one supervised token more, after the end of the turn"
    )


if __name__ == "__main__":
    sys.exit(main())
