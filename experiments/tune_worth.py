"""
How many optimizer steps a search with a sampler, a pruner and a warm start needs to find what a
random search of full trials finds.

Per dataset three studies on the same rows, split, seed and space: ``random`` (random settings,
every trial to its end), ``tuned`` (what finetuned tune does in a root without studies: the
settings of today first, then TPE, with the pruner) and ``warm`` (the same in a root with studies:
what was found on the other datasets is tried as well). All are continued if they are interrupted.
Prints one JSON object per dataset and kind.
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
from finetuned.core.tuning.space import Knob, Value, default_space, settings_of
from finetuned.core.tuning.trial import Trial, TrialState, done, steps_until
from finetuned.layout import Layout
from finetuned.tuning.folder import StudyFolder, study_folder
from finetuned.tuning.giving_way import GivingWay
from finetuned.tuning.rows import known_rows, validate_rows
from finetuned.tuning.search import search
from finetuned.tuning.start import find_start
from finetuned.tuning.study import Study, finished, require_optuna
from finetuned.tuning.trainer import Trainer
from finetuned.tuning.workers import StudyWorkers

CHECKOUT = Path(__file__).resolve().parents[1]
KINDS = ("random", "tuned", "warm")
"""In this order: ``warm`` begins with what ``tuned`` found."""

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
    kind: str,
    suggested: list[dict[str, Value]],
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
        kind: One of KINDS.
        suggested: Settings that are tried after those of today.
        pruner: Of a tuned study.
        trials: Most trials.
        seed: Of the sampler.
        most_steps, target: It ends after so many optimizer steps, or at this held-out loss.
    """
    tuned = kind != "random"
    study = Study(
        folder.path.name,
        f"sqlite:///{folder.storage}",
        knobs,
        pruner=pruner if tuned else "none",
        sampler="tpe" if tuned else "random",
        seed=seed,
    )
    if tuned:
        study.suggest(settings_of(trainer.config.training, knobs), "today")
        for settings in suggested:
            study.suggest(settings, "study of another dataset")
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


def figures(
    name: str, kind: str, seed: int, at_random: list[Trial], tuned: list[Trial]
) -> dict[str, object]:
    """
    Return what both studies of one dataset needed.
    """
    best = done(at_random)[0]
    steps = sum(t.steps for t in at_random)
    needed = steps_until(tuned, best.loss or 0.0)
    return {
        "dataset": name,
        "kind": kind,
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
    parser.add_argument(
        "--seeds", type=int, default=1, help="of the sampler, for all but the random search"
    )
    parser.add_argument("--pruner", default="halving")
    args = parser.parse_args()
    require_optuna()
    root: Path = args.work.resolve()
    layout = make_root(root)
    config: Config = config_from_dict({"model": {"device": "cpu", "dtype": "float32"}})
    workers = StudyWorkers(layout, config.supervisor, root / "workers.log", gives_way=False)
    start = find_start(layout, config, from_base=False)
    knobs = default_space(config.training, new_adapter=True, replays=False)
    names = args.datasets.split(",")
    found: dict[tuple[str, str], list[Trial]] = {}
    for seed in range(args.seeds):
        for kind, name in ((kind, name) for kind in KINDS for name in names):
            if kind == "random" and seed:
                continue  # one random search; the other studies are repeated with other seeds
            folder = study_folder(layout, f"{name}-{kind}-{seed}")
            folder.path.mkdir(parents=True, exist_ok=True)
            rows = known_rows(folder, "", name) or validate_rows(
                layout, folder, write_rows(root, name), start.weights.base, config, workers,
                lambda beat: None,
            )  # fmt: skip
            trainer = Trainer(
                layout, config, start, rows, workers, GivingWay(layout),
                lambda progress: None, lambda why: None,
            )  # fmt: skip
            others = (
                [done(found[other, "tuned"])[0] for other in names if other != name]
                if (kind == "warm")
                else []
            )
            at_random = found.get((name, "random"), [])
            found[name, kind] = run_study(
                folder,
                trainer,
                knobs,
                kind=kind,
                suggested=[dict(trial.settings) for trial in others],
                pruner=args.pruner,
                trials=args.trials if kind == "random" else 100,
                seed=seed if kind == "random" else 100 * seed + 10 * names.index(name),
                most_steps=sum(t.steps for t in at_random) or None,
                target=done(at_random)[0].loss if at_random else None,
            )
            if kind != "random":
                print(
                    json.dumps(figures(name, kind, seed, at_random, found[name, kind])), flush=True
                )
    workers.rest()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
