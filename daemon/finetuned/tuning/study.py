"""
The trials of one study, as Optuna keeps them: in SQLite, or in a database that machines share.

This file and optuna_parts.py know Optuna, which is an extra (``pip install 'finetuned[tune]'``)
and imported late. Does not know how a trial is trained.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from finetuned.core.record import from_json, to_json
from finetuned.core.tuning.facts import StudyFacts
from finetuned.core.tuning.looks import LOOKS
from finetuned.core.tuning.space import Knob, Settings, holds
from finetuned.core.tuning.trial import Trial, TrialState
from finetuned.errors import ConfigError, ModelError
from finetuned.tuning.optuna_parts import (
    FOLDER,
    ORIGIN,
    OUTCOME,
    distribution,
    make_pruner,
    make_sampler,
    trial_of,
)
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

_FACTS, _MACHINE, _BEAT = "facts", "machine", "beat"


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
        self.folder_number = int(trial.user_attrs.get(FOLDER, trial.number))
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
            self._trial.set_user_attr(OUTCOME, to_json(outcome))
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
        root: str = "",
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
            root: Of this search: two roots of one machine may share a database.

        Raises:
            ModelError: The database is damaged, or cannot be reached.
            ConfigError: Its driver is not installed, or the address cannot be read.
        """
        import optuna

        self.name, self.url, self.knobs = name, url, tuple(knobs)
        self._machine = f"{socket.gethostname()}:{root}"
        self._domains = {knob.name: distribution(knob) for knob in self.knobs}
        with self.storage_errors():
            storage = optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
            self.optuna = optuna.create_study(
                study_name=name,
                storage=storage,
                direction="minimize",
                load_if_exists=True,
                pruner=make_pruner(pruner),
            )
            self.optuna.sampler = make_sampler(
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
                dict(settings), user_attrs={ORIGIN: origin}, skip_if_exists=True
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
                attributes = {ORIGIN: trial.user_attrs.get(ORIGIN, "search")}
                attributes[FOLDER] = trial.user_attrs.get(FOLDER, trial.number)
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
            return [trial_of(found) for found in self.optuna.get_trials(deepcopy=False)]

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
