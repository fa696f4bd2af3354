"""
The trials of a study, one after another, until there are as many as were asked for.

Knows what a trial is given and what is kept of it; does not know how settings are chosen
(study.py) or trained (trainer.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from finetuned.core.tuning.trial import Trial, TrialState, finalists
from finetuned.errors import ModelError
from finetuned.tuning.folder import StudyFolder, remove_weights
from finetuned.tuning.study import RunningTrial, Study, finished
from finetuned.tuning.trainer import Trainer

_MOST_FAILURES: Final = 3
"""Trials in a row whose worker failed, after which the search ends: it is not the settings."""


def search(
    study: Study,
    folder: StudyFolder,
    trainer: Trainer,
    *,
    trials: int,
    keep: int,
    shared: bool,
    on_trial: Callable[[list[Trial]], None],
    on_begin: Callable[[RunningTrial], None] = lambda trial: None,
) -> list[Trial]:
    """
    Train until *trials* are over, and return all of them.

    Args:
        study: The study; trials that an earlier process left in the middle are continued.
        folder: Its folder.
        trainer: Trains on its rows.
        trials: How many trials the study has in the end, pruned ones included.
        keep: How many candidates stay on the disk: those of the best so far.
        shared: Whether other machines work on the same study.
        on_trial: Called after each trial.
        on_begin: Called before each trial.

    Raises:
        ModelError: One trial after another failed; the message has the last reason.
        KeyboardInterrupt: It was interrupted; the trial that ran is continued next time.
    """
    study.restart_lost(shared=shared)
    known = study.trials()
    while _begun(known, shared) < trials:
        trial = study.ask()
        on_begin(trial)
        outcome = trainer.train(
            folder.trial(trial.folder_number),
            trial.settings,
            seed=trainer.config.training.seed,
            on_look=partial(_look, trial),
        )
        trial.tell(outcome)
        known = study.trials()
        keep_best(folder, known, keep)
        on_trial(known)
        _check_failures(known)
        if shared:
            study.restart_lost(shared=True)
    return known


def _look(trial: RunningTrial, stage: int, loss: float) -> bool:
    trial.beat()
    return trial.should_end(stage, loss)


def _begun(trials: Sequence[Trial], shared: bool) -> int:
    """Return how many trials are over, or run on another machine."""
    elsewhere = sum(t.state is TrialState.RUNNING for t in trials) if shared else 0
    return len(finished(trials)) + elsewhere


def _check_failures(trials: Sequence[Trial]) -> None:
    last = finished(trials)[-_MOST_FAILURES:]
    if len(last) == _MOST_FAILURES and all(t.state is TrialState.FAILED for t in last):
        raise ModelError(
            f"{_MOST_FAILURES} trials in a row failed, so it is not their settings: {last[-1].note}"
        )


def keep_best(folder: StudyFolder, trials: Sequence[Trial], keep: int) -> None:
    """
    Remove the candidates of all trials but the *keep* best; so the disk holds a bounded number.
    """
    best = {trial.number for trial in finalists(trials, keep)}
    for trial in trials:
        if trial.state is TrialState.DONE and trial.number not in best:
            remove_weights(folder.trial(folder_number(trial)))


def folder_number(trial: Trial) -> int:
    """
    Return the number of the trial in whose folder *trial* was begun.
    """
    return trial.number if trial.folder is None else trial.folder
