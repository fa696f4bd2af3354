"""
How many optimizer steps a search with a sampler, a pruner and a warm start needs to find what a
random search of full trials finds.

Per dataset two studies on the same rows, split, seed and space: ``random`` (random settings, every
trial to its end) and ``tuned`` (what finetuned tune does: today's settings first, then TPE, with
the pruner). Both are continued if they are interrupted. Prints one JSON object per dataset.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
from pathlib import Path

from experiments.replay_tasks import arithmetic, make_tasks, strings
from finetuned.config import Config, config_from_dict
from finetuned.core.tuning.space import Knob, default_space, settings_of
from finetuned.core.tuning.trial import Trial, TrialState, done, steps_until
from finetuned.layout import Layout
from finetuned.tuning.folder import StudyFolder, study_folder
from finetuned.tuning.giving_way import GivingWay
from finetuned.tuning.rows import validate_rows
from finetuned.tuning.search import search
from finetuned.tuning.start import find_start
from finetuned.tuning.study import Study, finished, require_optuna
from finetuned.tuning.trainer import Trainer
from finetuned.tuning.workers import StudyWorkers

CHECKOUT = Path(__file__).resolve().parents[1]
ROWS = 200
"""Of each dataset, held-out ones included."""


def pairs(name: str, rng: random.Random) -> list[tuple[str, str]]:
    """
    Return prompts and answers of one dataset: commands of users, sums, or letters.
    """
    if name == "users":
        return make_tasks(0, ROWS)["users"]
    draw = {"sums": arithmetic, "letters": strings}[name]
    found = dict(draw(rng) for _ in range(20 * ROWS))
    return list(found.items())[:ROWS]


def write_rows(root: Path, name: str) -> Path:
    """
    Write the file of one dataset, and return it.
    """
    file = root / f"{name}.jsonl"
    rows = [{"prompt": p, "completion": c} for p, c in pairs(name, random.Random(f"tune:{name}"))]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def make_root(root: Path) -> Layout:
    """
    Return a root with the embedded base model.
    """
    layout = Layout(root)
    for folder in (*layout.folders(), layout.bases):
        folder.mkdir(parents=True, exist_ok=True)
    if not (layout.bases / "micro").exists():
        shutil.copytree(CHECKOUT / "models" / "base" / "micro", layout.bases / "micro")
    return layout


def run_study(
    folder: StudyFolder,
    trainer: Trainer,
    knobs: tuple[Knob, ...],
    *,
    tuned: bool,
    pruner: str,
    trials: int,
    seed: int,
    most_steps: int | None = None,
    target: float | None = None,
) -> list[Trial]:
    """
    Return the trials of one study.

    Args:
        folder: Of the study.
        trainer: Trains on its rows.
        knobs: The space.
        tuned: Whether it is done as finetuned tune does it; else at random, in full.
        pruner: Of a tuned study.
        trials: Most trials.
        seed: Of the sampler.
        most_steps, target: It ends after so many optimizer steps, or at this held-out loss.
    """
    sampler = "tpe" if tuned else "random"
    study = Study(
        folder.path.name,
        f"sqlite:///{folder.storage}",
        knobs,
        pruner=pruner if tuned else "none",
        sampler=sampler,
        seed=seed,
    )
    if tuned:
        study.suggest(settings_of(trainer.config.training, knobs), "today")
    known = study.trials()
    while len(finished(known)) < trials and not _is_over(known, most_steps, target):
        known = search(
            study,
            folder,
            trainer,
            trials=len(finished(known)) + 1,
            keep=1,
            shared=False,
            on_trial=lambda found: print(_line(folder, found), file=sys.stderr, flush=True),
        )
    return known


def _is_over(trials: list[Trial], most_steps: int | None, target: float | None) -> bool:
    made = sum(t.steps for t in trials)
    reached = target is not None and steps_until(trials, target) is not None
    return reached or (most_steps is not None and made >= most_steps)


def _line(folder: StudyFolder, trials: list[Trial]) -> str:
    last, best = finished(trials)[-1], next(iter(done(trials)), None)
    return (
        f"{folder.path.name} {last.number} {last.state} {last.steps}/{last.planned_steps} steps "
        f"loss {last.loss} best {best and best.loss} {dict(last.settings)}"
    )


def figures(name: str, seed: int, at_random: list[Trial], tuned: list[Trial]) -> dict[str, object]:
    """
    Return what both studies of one dataset needed.
    """
    best = done(at_random)[0]
    steps = sum(t.steps for t in at_random)
    needed = steps_until(tuned, best.loss or 0.0)
    return {
        "dataset": name,
        "seed": seed,
        "random_best": best.loss,
        "random_steps": steps,
        "random_steps_to_its_best": steps_until(at_random, best.loss or 0.0),
        "tuned_best": done(tuned)[0].loss,
        "tuned_steps": sum(t.steps for t in tuned),
        "tuned_steps_to_random_best": needed,
        "share": None if needed is None else round(needed / steps, 3),
        "tuned_trials": len(tuned),
        "pruned": sum(t.state is TrialState.PRUNED for t in tuned),
        "loss_of_today": next((t.loss for t in tuned if t.origin == "today"), None),
    }


def main() -> int:
    """
    Run what is asked for, and print its figures.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="scratch folder")
    parser.add_argument("--datasets", default="users,sums,letters")
    parser.add_argument("--trials", type=int, default=20, help="of the random search")
    parser.add_argument("--seeds", type=int, default=1, help="samplers of each kind")
    parser.add_argument("--pruner", default="halving")
    args = parser.parse_args()
    require_optuna()
    root: Path = args.work.resolve()
    layout = make_root(root)
    config: Config = config_from_dict({"model": {"device": "cpu", "dtype": "float32"}})
    workers = StudyWorkers(layout, config.supervisor, root / "workers.log", gives_way=False)
    start = find_start(layout, config, from_base=False)
    knobs = default_space(config.training, new_adapter=True, replays=False)
    for seed in range(args.seeds):
        for name in args.datasets.split(","):
            file = write_rows(root, name)
            found: dict[str, list[Trial]] = {}
            for kind in ("random", "tuned"):
                folder = study_folder(layout, f"{name}-{kind}-{seed}")
                folder.path.mkdir(parents=True, exist_ok=True)
                rows = validate_rows(
                    layout, folder, file, start.weights.base, config, workers, lambda beat: None
                )
                trainer = Trainer(
                    layout, config, start, rows, workers, GivingWay(layout),
                    lambda progress: None, lambda why: None,
                )  # fmt: skip
                at_random = found.get("random")
                found[kind] = run_study(
                    folder,
                    trainer,
                    knobs,
                    tuned=kind == "tuned",
                    pruner=args.pruner,
                    trials=args.trials if kind == "random" else 100,
                    seed=seed,
                    most_steps=None if at_random is None else sum(t.steps for t in at_random),
                    target=None if at_random is None else done(at_random)[0].loss,
                )
            print(json.dumps(figures(name, seed, found["random"], found["tuned"])), flush=True)
    workers.rest()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
