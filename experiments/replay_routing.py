"""
Measure how surely a question's task can be told from its words alone.

    $ python -m experiments.replay_routing --root build/replay_experiment
    dns 99.5, users 98.4, samba 100.0, arithmetic 100.0, strings 100.0, numbers 100.0

With an adapter for each family of files nothing is forgotten, if a question finds its own. Here it
goes to the task whose training prompts are nearest, as the product chooses (core/family_choice.py).
Printed is the share of held-out prompts that find their task, in %.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from experiments.replay_figures import mean
from experiments.workers import made_datasets
from finetuned.core.family_choice import FamilyChoice, profile
from finetuned.data.store import TokenisedDataset
from finetuned.data.suite import questions_of


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
    tasks = {Path(dataset["name"]).stem: prompts(args.root, dataset) for dataset in datasets}
    choice = FamilyChoice({name: profile(trained) for name, (trained, _) in tasks.items()})
    shares = {
        name: 100 * mean([choice.choose(prompt) == name for prompt in asked])
        for name, (_, asked) in tasks.items()
    }
    print(", ".join(f"{name} {share:.1f}" for name, share in shares.items()))
    return 0


def prompts(root: Path, dataset: dict[str, Any]) -> tuple[list[str], list[str]]:
    """
    Return the prompts that a task is trained on, and those that it is asked.
    """
    held_out = {q.prompt for q in questions_of(TokenisedDataset.open(Path(dataset["dir"])))}
    lines = (root / "files" / dataset["name"]).read_text().splitlines()
    written = [json.loads(line)["messages"][0]["content"] for line in lines]
    return [p for p in written if p not in held_out], sorted(held_out)


if __name__ == "__main__":
    sys.exit(main())
