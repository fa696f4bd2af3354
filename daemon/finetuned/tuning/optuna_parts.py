"""
The parts of Optuna that a study uses: domains, samplers, pruners, and a trial as it keeps it.

Does not know the database.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from finetuned.core.record import from_json
from finetuned.core.tuning.looks import LOOKS
from finetuned.core.tuning.space import Knob, Span
from finetuned.core.tuning.trial import Trial, TrialState
from finetuned.errors import FinetunedError
from finetuned.tuning.outcome import Outcome

if TYPE_CHECKING:
    import optuna

ORIGIN: Final = "origin"
"""Attribute of a trial: where its settings come from."""

FOLDER: Final = "folder"
"""Attribute of a trial: the number of the one in whose folder it was begun."""

OUTCOME: Final = "outcome"
"""Attribute of a trial: how it ended."""


def distribution(knob: Knob) -> optuna.distributions.BaseDistribution:
    """
    Return what a setting is drawn from.
    """
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    domain = knob.domain
    if not isinstance(domain, Span):
        return CategoricalDistribution(domain.values)
    if domain.whole:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.logarithmic)
    return FloatDistribution(domain.low, domain.high, log=domain.logarithmic)


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """
    Return the pruner *name*, one of core.tuning.space.PRUNERS.
    """
    from optuna import pruners

    makers: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
        # Every third trial goes on after stage 1, every ninth after stage 3.
        "halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "percentile": lambda: pruners.PercentilePruner(33.0, n_startup_trials=2),
        "median": lambda: pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
        "hyperband": lambda: pruners.HyperbandPruner(1, LOOKS, 3),
        "none": pruners.NopPruner,
    }
    return makers[name]()


def make_sampler(name: str, seed: int, trials: int) -> optuna.samplers.BaseSampler:
    """
    Return the sampler *name*, one of core.tuning.space.SAMPLERS.

    Args:
        name: Of the sampler.
        seed: Of the study.
        trials: That the study has: when it goes on, it does not draw its first numbers again.
    """
    from optuna import samplers

    if name == "random":
        return samplers.RandomSampler(seed=seed + 7919 * trials)
    return samplers.TPESampler(
        seed=seed + 7919 * trials,
        n_startup_trials=4,
        multivariate=True,
        constant_liar=True,
    )


def trial_of(found: optuna.trial.FrozenTrial) -> Trial:
    """
    Return a trial of a database as everybody else knows it.
    """
    from optuna.trial import TrialState as State

    attributes = found.user_attrs
    value = attributes.get(OUTCOME)
    outcome: Outcome | None = None
    if isinstance(value, dict):
        try:
            outcome = from_json(Outcome, value, source=f"trial {found.number}")
        except FinetunedError:  # of another version of the program
            outcome = None
    states = {
        State.COMPLETE: TrialState.DONE,
        State.PRUNED: TrialState.PRUNED,
        State.RUNNING: TrialState.RUNNING,
        State.WAITING: TrialState.WAITING,
    }
    state = states.get(found.state, TrialState.RESTARTED if outcome is None else TrialState.FAILED)
    looks = tuple((int(s), float(x)) for s, x in sorted(found.intermediate_values.items()))
    return Trial(
        number=found.number,
        state=state,
        origin=str(attributes.get(ORIGIN, "search")),
        settings=dict(found.params),
        loss=found.value if state is TrialState.DONE else None,
        forgetting=None if outcome is None else outcome.forgetting,
        steps=0 if outcome is None else outcome.steps,
        planned_steps=0 if outcome is None else outcome.planned_steps,
        seconds=0.0 if outcome is None else outcome.seconds,
        looks=looks,
        folder=attributes.get(FOLDER),
        note="" if outcome is None else outcome.note,
    )
