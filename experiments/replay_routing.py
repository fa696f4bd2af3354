"""
Measure how surely a question's task can be told from its words alone.

    $ python -m experiments.replay_routing --root build/replay_experiment
    dns 99.5, users 98.4, samba 100.0, arithmetic 100.0, strings 100.0, numbers 100.0

With an adapter for each family of files nothing is forgotten, if a question finds its own. Here it
goes to the task whose training prompts are nearest: the centroid of their hashed words and
sequences of three and four characters, weighed by how few prompts have them (tf-idf, cosine).
Printed is the share of held-out prompts that find their task, in %.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.workers import made_datasets
from finetuned.data.store import TokenisedDataset
from finetuned.data.suite import questions_of

BINS = 1 << 14

Vector = npt.NDArray[np.float64]


def main(argv: list[str] | None = None) -> int:
    """
    Route the held-out prompts of a replay experiment and print how many arrive.
    """
    parser = argparse.ArgumentParser(
        prog="python -m experiments.replay_routing",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, help="of replay_experiment")
    args = parser.parse_args(argv)
    datasets = made_datasets(args.root)
    if datasets is None:
        parser.error(f"{args.root} holds no experiment: run experiments.replay_experiment")
    trained, asked = zip(*(prompts(args.root, dataset) for dataset in datasets), strict=True)
    rarity = inverse_frequency([bag for task in trained for bag in task])
    centroids = [unit(np.mean([weighed(b, rarity) for b in task], axis=0)) for task in trained]
    right = [
        np.mean([np.argmax([c @ weighed(b, rarity) for c in centroids]) == i for b in task])
        for i, task in enumerate(asked)
    ]
    names = [Path(dataset["name"]).stem for dataset in datasets]
    print(", ".join(f"{name} {100 * share:.1f}" for name, share in zip(names, right, strict=True)))
    return 0


def prompts(root: Path, dataset: dict[str, Any]) -> tuple[list[Vector], list[Vector]]:
    """
    Return the bags of the prompts that a task is trained on, and of those it is asked.
    """
    held_out = {q.prompt for q in questions_of(TokenisedDataset.open(Path(dataset["dir"])))}
    lines = (root / "files" / dataset["name"]).read_text().splitlines()
    written = [json.loads(line)["messages"][0]["content"] for line in lines]
    return [bag(p) for p in written if p not in held_out], [bag(p) for p in sorted(held_out)]


def bag(text: str) -> Vector:
    """
    Count the words and the sequences of three and four characters of *text*, hashed.
    """
    lowered = f" {text.lower()} "
    parts = [lowered[i : i + n] for n in (3, 4) for i in range(len(lowered) - n + 1)]
    counts = np.zeros(BINS)
    for part in [*parts, *(f"w:{word}" for word in lowered.split())]:
        counts[zlib.crc32(part.encode()) % BINS] += 1
    return counts


def inverse_frequency(bags: list[Vector]) -> Vector:
    """
    Return how rare each bin is: the logarithm of prompts over those that have it, at least 0.
    """
    having = (np.array(bags) > 0).sum(axis=0)
    return np.maximum(np.log(len(bags) / (1 + having)), 0)


def weighed(counts: Vector, rarity: Vector) -> Vector:
    """
    Return a bag as a vector of length 1.
    """
    return unit(np.log1p(counts) * rarity)


def unit(vector: Vector) -> Vector:
    """
    Scale to length 1; a vector of zeros stays.
    """
    return vector / (np.linalg.norm(vector) or 1.0)


if __name__ == "__main__":
    sys.exit(main())
