"""
Count what rehearsal adds to jobs, without training: tokens computed with it and without.

    $ python -m experiments.replay_cost --root build/replay_experiment

Two lineages are planned on the datasets of an experiment (experiments/replay_experiment.py):
its files one after another, unlike as they are; and twenty files of one domain, which are
the rows of its first three files shuffled and cut.

Exit status: 0 counted, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.replay_tasks import EPOCHS
from experiments.workers import made_datasets
from finetuned.data.families import Row, look
from finetuned.data.plan import plan_batches
from finetuned.data.prefixes import block_reader, find_prefixes, first_supervised
from finetuned.data.replay import Reservoir
from finetuned.data.store import TokenisedDataset
from finetuned.training.replay_rows import Drawn, draw

CAPACITY = 2000
"""training.replay_rows."""

MAX_TOKENS = 16384
LOOKED_AT = 128
PARTS = 20
PART_EPOCHS = 3


@dataclass(slots=True)
class Rows:
    """
    Rows as a reservoir takes them.
    """

    dataset_id: str
    rows: Sequence[Row]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Row:
        return self.rows[i]

    def example_id(self, i: int) -> str:
        """
        Return the id of row *i*.
        """
        return f"{self.dataset_id}:{i + 1}"


def cost(new: Sequence[Row], drawn: Sequence[Row], *, epochs: int, rows_per_step: int) -> int:
    """
    Return the tokens that a job computes forward, shared beginnings once in a micro-batch.
    """
    rows = [*new, *drawn]
    lengths = np.array([len(tokens) for tokens, _ in rows])
    offsets = np.cumsum(lengths) - lengths
    tokens = np.concatenate([tokens for tokens, _ in rows]).astype(np.uint32)
    flags = np.concatenate([supervised for _, supervised in rows]).astype(np.uint8)
    prefixes = find_prefixes(
        block_reader([(tokens, offsets)]),
        np.maximum(first_supervised(flags, offsets, lengths) - 1, 0),
        rows_per_batch=rows_per_step,
    )
    plan = plan_batches(
        lengths,
        class_of=prefixes.class_of,
        prefix_lengths=prefixes.lengths,
        rows_per_step=rows_per_step,
        max_rows=rows_per_step,
        epochs=epochs,
        seed=0,
        n_replay=len(drawn),
    )
    return sum(
        plan.cost(batch) for k in range(len(plan)) for batch in plan.micro_batches(k, MAX_TOKENS)
    )


def lineage(
    files: Sequence[tuple[str, Rows, int]], presentations: int, rows_per_step: int
) -> Iterator[tuple[str, int, list[Drawn], int, int]]:
    """
    Yield name, presentations of own rows, what is drawn, and tokens without it and with it.

    Args:
        files: Name, rows and epochs of each, in order.
        presentations: training.replay_presentations.
        rows_per_step: Rows of the job's own in a step.
    """
    known = Reservoir.empty()
    for i, (name, rows, epochs) in enumerate(files):
        found: list[Drawn] = []
        if len(known):
            step = max(1, len(rows) // LOOKED_AT)
            found = draw(
                known,
                own=[look([rows[k] for k in range(0, len(rows), step)])],
                presentations=presentations,
                new=len(rows) * epochs,
                weights={},
                seed=i,
            )
        again = [known[int(n)] for drawn in found for n in drawn.numbers]
        without, with_ = (
            cost(rows.rows, more, epochs=epochs, rows_per_step=rows_per_step)
            for more in ([], again)
        )
        yield name, len(rows) * epochs, found, without, with_
        known = known.with_dataset(rows, capacity=CAPACITY, seed=0)


def main(argv: list[str] | None = None) -> int:
    """
    Count; see the module's text.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.replay_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, help="of replay_experiment")
    parser.add_argument("--presentations", type=int, default=300)
    args = parser.parse_args(argv)
    unlike = []
    for entry in made_datasets(args.root) or ():
        dataset, name = TokenisedDataset.open(Path(entry["dir"])), Path(entry["name"]).stem
        rows = Rows(entry["dataset_id"], [dataset[i] for i in range(len(dataset))])
        unlike.append((name, rows, EPOCHS[name]))
    mixed = [row for _, rows, _ in unlike[:3] for row in rows.rows]
    random.Random(0).shuffle(mixed)
    n = len(mixed) // PARTS
    alike = [
        (f"part {i}", Rows(f"{i + 1:016x}", mixed[i * n : (i + 1) * n]), PART_EPOCHS)
        for i in range(PARTS)
    ]
    for title, files, rows_per_step in (("unlike", unlike, 8), ("one domain", alike, 16)):
        total = [0, 0]
        for name, own, drawn, without, with_ in lineage(files, args.presentations, rows_per_step):
            shown = ", ".join(f"{d.quota.presentations} {d.quota.because}" for d in drawn)
            print(f"{name}: {own} own rows, {with_ / without:.2f} times the tokens; {shown}")
            total = [total[0] + without, total[1] + with_]
        print(f"{title}: {total[1] / total[0]:.3f} times the tokens\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
