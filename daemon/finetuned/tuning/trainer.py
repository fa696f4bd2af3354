"""
One training of a study, from its settings to its outcome.

The training worker does it in run folders below the trial's. If the daemon needs the machine the
worker stops at its next step with a checkpoint, and another run goes on from it later. Does not
know how settings are chosen.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.config import Config
from finetuned.core.job import JobKind
from finetuned.core.record import to_json
from finetuned.core.run import RunKind
from finetuned.core.tuning.looks import stage, steps_between_looks
from finetuned.core.tuning.space import Settings, with_settings
from finetuned.core.tuning.trial import TrialState
from finetuned.errors import (
    EXIT_CONFIG,
    EXIT_OK,
    EXIT_TEMPFAIL,
    ConfigError,
    ModelError,
    Unavailable,
)
from finetuned.files.atomic import write_atomic
from finetuned.files.heartbeat import HEARTBEAT, Beat
from finetuned.files.manifest import read_manifest
from finetuned.files.model_manifest import HELD_OUT_LOSSES
from finetuned.files.run import CANDIDATE, CHECKPOINTS, HELD_OUT, read_json, read_metrics
from finetuned.files.spec import TrainingSpec
from finetuned.layout import CANARIES, Layout
from finetuned.tuning.folder import remove_weights, runs_of
from finetuned.tuning.giving_way import GivingWay
from finetuned.tuning.outcome import Outcome, read_outcome, write_outcome
from finetuned.tuning.rows import StudyRows
from finetuned.tuning.start import Start
from finetuned.tuning.workers import Order, RunEnd, StudyWorkers, failure, wait_until_left

JOB: Final = "tune"
"""The order of the rows is drawn from it: the same in every trial."""

_NEVER_STOPS: Final = 10**9
"""training.patience: the held-out loss is looked at, and never ends a trial by itself."""

_MOST_ENDS: Final = 3
"""Ends of a worker that nobody asked for, after which a trial has failed."""

_OF_THE_SETTINGS: Final = ("Diverged", "OutOfMemory")
"""Errors that the settings of a trial are to blame for: other settings are tried then."""

HUGE: Final = 1e9
"""What counts as the held-out loss of a look at which it was no finite number."""

_TRIAL: Final = "trial.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """
    How far one training is.
    """

    step: int
    steps: int
    """Of the whole plan; 0 before it is known."""
    seconds_left: float | None


OnLook = Callable[[int, float], bool]
"""Is told stage and held-out loss of a look; returns whether the trial ends here."""


@dataclass(frozen=True, slots=True)
class Trainer:
    """
    Trains settings on the rows of one study.
    """

    layout: Layout
    config: Config
    """Of today."""
    start: Start
    rows: StudyRows
    workers: StudyWorkers
    giving_way: GivingWay
    on_progress: Callable[[Progress], None]
    on_wait: Callable[[str], None]

    def train(
        self,
        folder: Path,
        settings: Settings,
        *,
        seed: int,
        on_look: OnLook = lambda stage, loss: False,
        keep_candidate: bool = True,
    ) -> Outcome:
        """
        Train and return the outcome; one that is there is returned as it is.

        Args:
            folder: Of the trial; what an earlier process left there is continued.
            settings: Of the trial.
            seed: ``training.seed``.
            on_look: Decides at each look whether the trial ends.
            keep_candidate: Whether the weights stay until somebody removes them.

        Raises:
            ConfigError: Device or method cannot be used here.
            Unavailable, OSError: The file system refused.
            KeyboardInterrupt: The run was stopped with a checkpoint.
        """
        identity = self._identity(settings, seed)
        if (known := read_outcome(folder, identity)) is not None:
            return known
        self._begin(folder, identity)
        outcome = self._finish(folder, settings, seed, identity, on_look)
        write_outcome(folder, outcome)
        kept = keep_candidate and outcome.state is TrialState.DONE
        remove_weights(folder, keep_candidate=kept)
        return outcome

    def _identity(self, settings: Settings, seed: int) -> str:
        facts = {
            "training": to_json(with_settings(self.config, settings).as_dict()["training"]),
            "model": to_json(self.config.as_dict()["model"]),
            "rows": self.rows.dataset.dataset_id,
            "start": [self.start.name, self.start.sha256],
            "seed": seed,
        }
        return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _begin(self, folder: Path, identity: str) -> None:
        """Clear the folder of what belongs to another trial, and wait for its last worker."""
        known = read_json(folder / _TRIAL)
        for run in runs_of(folder):
            wait_until_left(run, patience=self.config.supervisor.worker_stop_seconds)
        if known is not None and known.get("identity") != identity:
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if known is None or known.get("identity") != identity:
            write_atomic(folder / _TRIAL, orjson.dumps({"identity": identity}))

    def _finish(
        self, folder: Path, settings: Settings, seed: int, identity: str, on_look: OnLook
    ) -> Outcome:
        told: set[int] = set()
        for look_stage, loss in self._looks(folder):  # of earlier runs: the pruner is told again
            told.add(look_stage)
            on_look(look_stage, loss)
        ends = 0
        while True:
            if (made := self._made(folder)) is not None:
                return self._scored(folder, made, identity)
            self._give_way()
            run = folder / f"run-{len(runs_of(folder)) + 1}"
            spec = self._spec(run, folder, settings, seed)
            end = self.workers.run(run, spec, self._watch(run, folder, told, on_look))
            if end.ordered is Order.END:
                return self._cut(folder, identity, TrialState.PRUNED, f"at stage {max(told)}")
            if end.ordered is Order.STOP or end.status == EXIT_OK:
                continue
            ends += 1
            if (failed := self._failed(run, end, ends)) is not None:
                return self._cut(folder, identity, *failed)

    def _give_way(self) -> None:
        if self.giving_way.reason() is not None:
            self.workers.rest()  # its memory is the daemon's now
            self.giving_way.wait(self.on_wait)

    def _failed(self, run: Path, end: RunEnd, ends: int) -> tuple[TrialState, str] | None:
        """Return what an end that nobody asked for means for the trial; None to try again."""
        error = end.error
        if error is not None and error.error_type in _OF_THE_SETTINGS:
            return TrialState.PRUNED, error.error_message
        if error is not None and error.reason is not None:
            raise Unavailable(error.reason, error.error_message)
        if end.status == EXIT_CONFIG:
            raise ConfigError(error.error_message if error else f"{run}: status {end.status}")
        if ends < _MOST_ENDS and (end.status == EXIT_TEMPFAIL or end.status < 0):
            return None
        return TrialState.FAILED, str(failure("its worker failed", run, end))

    def _watch(
        self, run: Path, folder: Path, told: set[int], on_look: OnLook
    ) -> Callable[[Beat | None], Order]:
        seen = -1

        def watch(beat: Beat | None) -> Order:
            nonlocal seen
            if self.giving_way.reason() is not None:
                return Order.STOP
            if beat is not None and beat.batch_step is not None:
                steps = beat.batch_total_steps or 0
                self.on_progress(Progress(beat.batch_step, steps, beat.eta_seconds))
            size = _size(run / HELD_OUT)
            if size == seen:
                return Order.GO_ON
            seen = size
            for look_stage, loss in self._looks(folder):
                if look_stage not in told:
                    told.add(look_stage)
                    if on_look(look_stage, loss):
                        return Order.END
            return Order.GO_ON

        return watch

    def _looks(self, folder: Path) -> list[tuple[int, float]]:
        """Return stage and loss of every look so far; a loss that is not finite counts as huge."""
        found: dict[int, float] = {}
        for run in runs_of(folder):
            steps = _planned_steps(run)
            for look in read_metrics(run, HELD_OUT) if steps else ():
                found[stage(int(look["step"]), steps)] = _finite(look.get("loss"))
        return sorted((s, loss) for s, loss in found.items() if s > 0)

    def _spec(self, run: Path, folder: Path, settings: Settings, seed: int) -> TrainingSpec:
        config = with_settings(self.config, {**settings, "seed": seed, "accelerate_config": ""})
        training = config.training
        rows_of_a_step = training.per_device_train_batch_size * training.gradient_accumulation_steps
        looks = steps_between_looks(self.rows.n_train, training.num_train_epochs, rows_of_a_step)
        config = replace(
            config,
            training=replace(training, patience=_NEVER_STOPS, keep_checkpoints=1),
            evaluation=replace(config.evaluation, eval_steps=looks),
        )
        start, canaries = self.start, self.layout.benchmarks / f"{CANARIES}.jsonl"
        earlier_runs = runs_of(folder)
        return TrainingSpec(
            kind=RunKind.TRAINING,
            run_id=f"{folder.parent.parent.name}-{folder.name}-{run.name}",
            worker_growth=self.workers.growth,
            job_id=JOB,
            job_kind=JobKind.TRAINING,
            attempt=len(earlier_runs) + 1,
            config=config,
            base=start.weights.base,
            base_version=start.weights.base_version,
            base_name=start.base_name,
            parent=start.parent,
            datasets=(self.rows.dataset,),
            canaries=canaries if canaries.is_file() else None,
            earlier=tuple(rows.dir for rows in start.earlier),
            resume_from=tuple(r / CHECKPOINTS for r in earlier_runs),
            rolled_back=start.rolled_back,
            live_evals=False,
            held_out_losses=True,
        )

    def _made(self, folder: Path) -> Path | None:
        """Return the run that has a whole candidate, None if none has."""
        return next((r for r in runs_of(folder) if (r / CANDIDATE).is_dir()), None)

    def _scored(self, folder: Path, run: Path, identity: str) -> Outcome:
        facts = read_manifest(run / CANDIDATE)
        losses = facts.get(HELD_OUT_LOSSES)
        if not isinstance(losses, dict):
            raise ModelError(f"{run / CANDIDATE}: its manifest has no {HELD_OUT_LOSSES}")
        before, after = losses["before"], losses["after"]
        loss = after["new"]
        if loss is None or not math.isfinite(loss):
            note = "its held-out loss is not a finite number"
            return self._cut(folder, identity, TrialState.PRUNED, note)
        return replace(
            self._cut(folder, identity, TrialState.DONE, ""),
            loss=loss,
            loss_before=before["new"],
            old_loss=after["old"],
            old_loss_before=before["old"],
        )

    def _cut(self, folder: Path, identity: str, state: TrialState, note: str) -> Outcome:
        """Return the outcome of a trial without its losses: steps, time and looks."""
        seconds: dict[int, float] = {}
        planned = 0
        for run in runs_of(folder):
            planned = _planned_steps(run) or planned
            seconds |= {int(s["step"]): float(s.get("seconds", 0)) for s in read_metrics(run)}
        return Outcome(
            identity=identity,
            state=state,
            steps=max(seconds, default=0),
            planned_steps=planned,
            seconds=round(sum(seconds.values()), 3),
            looks=tuple(self._looks(folder)),
            note=note,
        )


def _planned_steps(run: Path) -> int:
    heartbeat: dict[str, Any] = read_json(run / HEARTBEAT) or {}
    steps = heartbeat.get("batch_total_steps")
    return steps if isinstance(steps, int) else 0


def _finite(loss: object) -> float:
    return loss if isinstance(loss, float) and math.isfinite(loss) else HUGE


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
