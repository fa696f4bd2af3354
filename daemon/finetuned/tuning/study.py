"""
The trials of one study, as Optuna keeps them: in SQLite, or in a database that machines share.

This is the one file that knows Optuna, which is an extra (``pip install 'finetuned[tune]'``) and
imported late. Does not know how a trial is trained.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from finetuned.core.record import from_json, to_json
from finetuned.core.tuning.facts import StudyFacts
from finetuned.core.tuning.looks import LOOKS
from finetuned.core.tuning.space import Knob, Settings, Span, holds
from finetuned.core.tuning.trial import Trial, TrialState
from finetuned.errors import ConfigError, ModelError
from finetuned.tuning.outcome import Outcome

if TYPE_CHECKING:
    import optuna

MISSING: Final = (
    "finetuned tune needs Optuna, which is not installed: pip install 'finetuned[tune]' (in a "
    "checkout: .venv/bin/pip install -c constraints.txt '.[tune]')"
)


BEAT_SECONDS: Final = 60.0
"""How often a running trial says in a shared database that its process lives."""

LOST_SECONDS: Final = 900.0
"""After so long without a sign a trial of another machine is given to the next one."""

_FACTS, _ORIGIN, _MACHINE, _BEAT, _FOLDER = "facts", "origin", "machine", "beat", "folder"
_OUTCOME = "outcome"


def require_optuna() -> None:
    """
    Raises:
        ConfigError: Optuna is not installed; the message says how to install it.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError(MISSING) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


class RunningTrial:
    """
    A trial that this process has asked for and has to tell the outcome of.
    """

    def __init__(self, study: Study, trial: optuna.trial.Trial, settings: Settings) -> None:
        self._study = study
        self._trial = trial
        self.number = trial.number
        self.settings = settings
        self.folder_number = int(trial.user_attrs.get(_FOLDER, trial.number))
        """Number of the trial in whose folder it was begun: another one if that was cut off."""
        self._beat_at = time.monotonic()

    def should_end(self, stage: int, loss: float) -> bool:
        """
        Report a look, and return whether the trial is worse than others at this stage.

        A trial that is nearly over is never ended.
        """
        with self._study.storage_errors():
            self._trial.report(loss, stage)
            return stage < LOOKS and self._trial.should_prune()

    def beat(self) -> None:
        """
        Say that this process lives, at most every BEAT_SECONDS.
        """
        if time.monotonic() - self._beat_at >= BEAT_SECONDS:
            self._beat_at = time.monotonic()
            with self._study.storage_errors():
                self._trial.set_user_attr(_BEAT, time.time())

    def tell(self, outcome: Outcome) -> None:
        """
        Record how it ended.
        """
        from optuna.trial import TrialState as State

        states = {TrialState.DONE: State.COMPLETE, TrialState.PRUNED: State.PRUNED}
        state = states.get(outcome.state, State.FAIL)
        with self._study.storage_errors():
            self._trial.set_user_attr(_OUTCOME, to_json(outcome))
            value = outcome.loss if state is State.COMPLETE else None
            self._study.optuna.tell(self._trial, value, state=state)


class Study:
    """
    One study; made if it is not there.
    """

    def __init__(
        self,
        name: str,
        url: str,
        knobs: Sequence[Knob],
        *,
        pruner: str = "halving",
        sampler: str = "tpe",
        seed: int = 0,
    ) -> None:
        """
        Open the study.

        Args:
            name: Of the study.
            url: Of the database, as SQLAlchemy writes it.
            knobs: The space.
            pruner: One of core.tuning.space.PRUNERS.
            sampler: One of core.tuning.space.SAMPLERS.
            seed: Of the sampler.

        Raises:
            ModelError: The database is damaged, or cannot be reached.
            ConfigError: Its driver is not installed, or the address cannot be read.
        """
        import optuna

        self.name, self.url, self.knobs = name, url, tuple(knobs)
        self._machine = socket.gethostname()
        self._domains = {knob.name: _distribution(knob) for knob in self.knobs}
        with self.storage_errors():
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
            self.optuna = optuna.create_study(
                study_name=name,
                storage=storage,
                direction="minimize",
                load_if_exists=True,
                pruner=_pruner(pruner),
            )
            self.optuna.sampler = _sampler(
                sampler, seed, len(self.optuna.get_trials(deepcopy=False))
            )

    @contextmanager
    def storage_errors(self) -> Iterator[None]:
        """
        Turn what the database refuses into one message.

        Raises:
            ModelError, ConfigError: As the study's own.
        """
        import optuna
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

        try:
            yield
        except (ModuleNotFoundError, NoSuchModuleError, ArgumentError, ImportError) as error:
            raise ConfigError(
                f"--storage {_without_password(self.url)}: {error}; for PostgreSQL write "
                "postgresql+psycopg://USER@HOST/DATABASE and pip install 'psycopg[binary]'"
            ) from None
        except (SQLAlchemyError, optuna.exceptions.OptunaError, KeyError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise ModelError(
                f"{_without_password(self.url)}: the trials of {self.name} cannot be read or "
                f"written: {first}; start it over with --fresh, or begin another with --study NAME"
            ) from None

    # -- what the trials have in common -------------------------------------------

    @property
    def facts(self) -> StudyFacts | None:
        """
        What the trials have in common, None if nothing is recorded yet.

        Raises:
            ModelError: The record is not what this version of the program writes.
        """
        with self.storage_errors():
            value = self.optuna.user_attrs.get(_FACTS)
        if value is None:
            return None
        try:
            return from_json(StudyFacts, value, source=f"study {self.name}")
        except Exception as error:  # whatever another program or version wrote there
            raise ModelError(
                f"{error}; the study {self.name} is of another version of the program: start it "
                "over with --fresh, or begin another with --study NAME"
            ) from None

    @facts.setter
    def facts(self, facts: StudyFacts) -> None:
        with self.storage_errors():
            self.optuna.set_user_attr(_FACTS, to_json(facts))

    # -- trials -------------------------------------------------------------------

    def suggest(self, settings: Settings, origin: str) -> bool:
        """
        Have *settings* tried before others; return False if they are no point of the space.

        Settings that are there already are not tried again.
        """
        if not holds(self.knobs, settings):
            return False
        with self.storage_errors():
            self.optuna.enqueue_trial(
                dict(settings), user_attrs={_ORIGIN: origin}, skip_if_exists=True
            )
        return True

    def ask(self) -> RunningTrial:
        """
        Return the next trial, with settings that were suggested or that the sampler chose.
        """
        with self.storage_errors():
            trial = self.optuna.ask(fixed_distributions=self._domains)
            trial.set_user_attr(_MACHINE, self._machine)
            trial.set_user_attr(_BEAT, time.time())
            return RunningTrial(self, trial, dict(trial.params))

    def restart_lost(self, *, shared: bool) -> int:
        """
        Give trials whose process ended in the middle to the next ones; return how many.

        Args:
            shared: Whether other machines have trials in the database: theirs count as lost only
                after LOST_SECONDS without a sign. This machine's are lost in any case: the
                caller holds the lock of its root.
        """
        from optuna.trial import TrialState as State

        lost = 0
        with self.storage_errors():
            for trial in self.optuna.get_trials(deepcopy=False, states=(State.RUNNING,)):
                if shared and not self._is_lost(trial.user_attrs):
                    continue
                attributes = {_ORIGIN: trial.user_attrs.get(_ORIGIN, "search")}
                attributes[_FOLDER] = trial.user_attrs.get(_FOLDER, trial.number)
                self.optuna.tell(trial.number, state=State.FAIL)
                self.optuna.enqueue_trial(trial.params, user_attrs=attributes)
                lost += 1
        return lost

    def _is_lost(self, attributes: Mapping[str, Any]) -> bool:
        if attributes.get(_MACHINE) == self._machine:
            return True
        return time.time() - float(attributes.get(_BEAT, 0.0)) > LOST_SECONDS

    def trials(self) -> list[Trial]:
        """
        Return all trials by number.
        """
        with self.storage_errors():
            return [_trial(found) for found in self.optuna.get_trials(deepcopy=False)]

    def importance(self) -> dict[str, float]:
        """
        Return how much of the difference between trials each setting explains; they add up to 1.

        Empty if fewer than four trials were trained to their end, or all ended alike.
        """
        import optuna

        ended = [t for t in self.trials() if t.state is TrialState.DONE]
        if len(ended) < 4 or len({t.loss for t in ended}) < 2:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        try:
            found = optuna.importance.get_param_importances(self.optuna, evaluator=evaluator)
        except (ValueError, RuntimeError, ZeroDivisionError):
            return {}  # too few different values to tell
        return {name: value for name, value in found.items() if math.isfinite(value)}


def _distribution(knob: Knob) -> optuna.distributions.BaseDistribution:
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


def _pruner(name: str) -> optuna.pruners.BasePruner:
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


def _sampler(name: str, seed: int, trials: int) -> optuna.samplers.BaseSampler:
    """Return the sampler; a study that goes on does not draw its first numbers again."""
    from optuna import samplers

    if name == "random":
        return samplers.RandomSampler(seed=seed + 7919 * trials)
    return samplers.TPESampler(
        seed=seed + 7919 * trials,
        n_startup_trials=4,
        multivariate=True,
        constant_liar=True,
    )


def _trial(found: optuna.trial.FrozenTrial) -> Trial:
    from optuna.trial import TrialState as State

    attributes = found.user_attrs
    value = attributes.get(_OUTCOME)
    outcome: Outcome | None = None
    if isinstance(value, dict):
        try:
            outcome = from_json(Outcome, value, source=f"trial {found.number}")
        except Exception:  # of another version of the program: the trial's own values are shown
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
        origin=str(attributes.get(_ORIGIN, "search")),
        settings=dict(found.params),
        loss=found.value if state is TrialState.DONE else None,
        forgetting=None if outcome is None else outcome.forgetting,
        steps=0 if outcome is None else outcome.steps,
        planned_steps=0 if outcome is None else outcome.planned_steps,
        seconds=0.0 if outcome is None else outcome.seconds,
        looks=looks,
        folder=attributes.get(_FOLDER),
        note="" if outcome is None else outcome.note,
    )


def _without_password(url: str) -> str:
    """Return a database's address without the password in it."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    if not separator or not at:
        return url
    return f"{scheme}://{user.partition(':')[0]}@{place}"


def finished(trials: Iterable[Trial]) -> list[Trial]:
    """
    Return the trials that count towards --trials: over, and not to be begun again.
    """
    over = (TrialState.DONE, TrialState.PRUNED, TrialState.FAILED)
    return [trial for trial in trials if trial.state in over]
