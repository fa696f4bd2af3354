"""
One study from its request to its result: rows, trials, finals, page.

The place to read what finetuned tune does, and in which order. Every part is continued if the
process ends in the middle, and what is there is not done again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from finetuned.config import Config, load_config
from finetuned.core.remaining_time import RemainingTime
from finetuned.core.tuning.comparison import advice_of
from finetuned.core.tuning.facts import StudyFacts, differences
from finetuned.core.tuning.space import (
    NOT_SEARCHED,
    settings_of,
)
from finetuned.core.tuning.trial import Trial, done, pareto_front
from finetuned.core.tuning.winner import changed, short
from finetuned.errors import ConfigError, DatasetError, LockHeld
from finetuned.files.heartbeat import Beat
from finetuned.files.lock import FileLock
from finetuned.files.study_result import StudyResult, write_result
from finetuned.layout import Layout
from finetuned.reports.activity import duration
from finetuned.tuning.evidence import Examiner
from finetuned.tuning.finals import Finals, chosen
from finetuned.tuning.folder import name_of, put_aside, study_folder
from finetuned.tuning.giving_way import GivingWay
from finetuned.tuning.outcome import read_outcome
from finetuned.tuning.request import (
    OTHERWISE,
    Show,
    TuneRequest,
    found_before,
    search_space,
)
from finetuned.tuning.rows import StudyRows, file_sha256, known_rows, validate_rows
from finetuned.tuning.search import folder_number, search
from finetuned.tuning.start import Start, find_start
from finetuned.tuning.study import RunningTrial, Study, finished, require_optuna
from finetuned.tuning.trainer import Progress, Trainer
from finetuned.tuning.workers import StudyWorkers


def tune(layout: Layout, request: TuneRequest, show: Show) -> StudyResult:
    """
    Begin or continue a study, and return what it found.

    Raises:
        ConfigError: The configuration, the space or the storage is wrong, or Optuna is missing.
        DatasetError: The file is missing or refused, or the study was made on other rows.
        ModelError, RegistryError: The start, or the database of trials, cannot be used.
        LockHeld: Another finetuned tune works on this root.
        Unavailable, Interrupted, OSError: It can be continued later.
    """
    require_optuna()
    layout.tuning.mkdir(parents=True, exist_ok=True)
    lock = FileLock(layout.tuning_lock)
    try:
        lock.acquire()
    except LockHeld as error:
        raise LockHeld(
            error.path, f"{error.owner}: another finetuned tune works on this root; wait for it"
        ) from None
    try:
        return _Tuning(layout, request, show).run()
    finally:
        lock.release()


class _Tuning:
    """
    One run of finetuned tune.
    """

    def __init__(self, layout: Layout, request: TuneRequest, show: Show) -> None:
        self._layout, self._request, self._show = layout, request, show
        self._config: Config = load_config(layout.config)
        self._folder = study_folder(layout, request.study or name_of(request.dataset))
        self._start: Start = find_start(layout, self._config, from_base=request.from_base)
        self._knobs = search_space(self._config, self._start, request.space)
        self._today = settings_of(self._config.training, self._knobs)
        self._giving_way = GivingWay(layout)
        self._remaining = RemainingTime()
        self._trials: list[Trial] = []
        self._running: RunningTrial | None = None
        self._facts_now: StudyFacts | None = None

    def run(self) -> StudyResult:
        """Do it all."""
        self._prepare_folder()
        sha256 = self._dataset_sha256()
        study = self._open()
        known = study.facts
        facts = self._facts(sha256, known)
        self._refuse_changes(known, facts)
        workers = StudyWorkers(
            self._layout,
            self._config.supervisor,
            self._folder.path / "workers.log",
            gives_way=self._request.gives_way,
        )
        try:
            rows = self._rows(workers, facts if known is not None else None)
            facts = replace(facts, n_train=rows.n_train, n_held_out=rows.n_held_out)
            self._refuse_changes(known, facts)
            if known is None:
                study.facts = facts
            self._facts_now = facts
            self._suggest(study)
            trainer = Trainer(
                self._layout, self._config, self._start, rows, workers, self._giving_way,
                self._training, self._waits,
            )  # fmt: skip
            trials = self._search(study, trainer)
            result = self._result(study, facts, trials)
            if self._request.finals:
                result = self._finals(result, trainer, rows, workers)
            write_result(self._folder.result, result)
            return result
        finally:
            workers.rest()

    # -- before the first trial ---------------------------------------------------

    def _prepare_folder(self) -> None:
        path = self._folder.path
        if self._request.fresh and self._request.storage is not None:
            raise ConfigError(
                "--fresh starts a study of this root over, not one of a shared database; "
                "begin another with --study NAME"
            )
        if self._request.fresh and path.exists():
            aside = put_aside(self._folder)
            self._show.line(f"the study as it was is kept in {aside}")
        path.mkdir(parents=True, exist_ok=True)

    def _dataset_sha256(self) -> str:
        try:
            return file_sha256(self._request.dataset)
        except DatasetError as error:
            if not self._folder.storage.exists():
                if not any(self._folder.path.iterdir()):
                    self._folder.path.rmdir()
                raise
            raise DatasetError(
                f"{error}; the study {self._folder.path.name} was made on its rows, and "
                f"finetuned tune --show --study {self._folder.path.name} shows what it found so far"
            ) from None

    def _open(self) -> Study:
        request = self._request
        return Study(
            self._folder.path.name,
            request.storage or f"sqlite:///{self._folder.storage}",
            self._knobs,
            pruner=request.pruner,
            sampler=request.sampler,
            seed=self._config.training.seed,
            root=str(self._layout.root),
        )

    def _facts(self, sha256: str, known: StudyFacts | None) -> StudyFacts:
        """Return what the trials will have in common; the counts are those that are known."""
        config = self._config.as_dict()
        searched = {knob.name for knob in self._knobs}
        left_out = (NOT_SEARCHED.keys() - {"seed"}) | searched
        return StudyFacts(
            file=self._request.dataset.name,
            sha256=sha256,
            n_train=known.n_train if known else 0,
            n_held_out=known.n_held_out if known else 0,
            split=config["data"],
            base=self._config.model.base,
            start=self._start.name,
            start_sha256=self._start.sha256,
            space=tuple(map(str, self._knobs)),
            training={k: v for k, v in config["training"].items() if k not in left_out},
            model={k: v for k, v in config["model"].items() if k not in ("base", "answer_format")},
        )

    def _refuse_changes(self, known: StudyFacts | None, now: StudyFacts) -> None:
        found = [] if known is None else differences(known, now)
        if found:
            raise DatasetError(
                f"the study {self._folder.path.name} cannot go on, since trials of now and then "
                f"could not be compared; changed: {'; '.join(found)}. Change it back, {OTHERWISE}"
            )

    def _rows(self, workers: StudyWorkers, facts: StudyFacts | None) -> StudyRows:
        if facts is not None and (rows := known_rows(self._folder, facts.sha256, facts.file)):
            return rows
        self._show.status("validating the rows")
        self._giving_way.wait(self._waits)
        return validate_rows(
            self._layout,
            self._folder,
            self._request.dataset,
            self._start.weights.base,
            self._config,
            workers,
            lambda beat: self._show.status(f"validating the rows: {beat.rows or 0}"),
        )

    def _suggest(self, study: Study) -> None:
        """Have the settings of today, and what earlier studies found, tried first."""
        if study.trials():
            return
        if not study.suggest(self._today, "today"):
            self._show.line("the settings of today are no point of the space: not tried as a trial")
        for name, settings in found_before(self._layout, self._config, self._folder):
            study.suggest({**self._today, **settings}, f"study {name}")

    # -- trials -------------------------------------------------------------------

    def _search(self, study: Study, trainer: Trainer) -> list[Trial]:
        self._trials = study.trials()
        return search(
            study,
            self._folder,
            trainer,
            trials=self._request.trials,
            keep=self._request.finalists,
            shared=self._request.storage is not None,
            on_trial=self._after_trial,
            on_begin=self._before_trial,
        )

    def _before_trial(self, trial: RunningTrial) -> None:
        self._running = trial
        self._show.status(f"trial {trial.number}: its worker starts")

    def _after_trial(self, trials: Sequence[Trial]) -> None:
        self._trials, self._running = list(trials), None
        if self._facts_now is not None:
            write_result(self._folder.result, self._plain_result(self._facts_now, trials))
        last = max(finished(trials), key=lambda trial: trial.number)
        loss = "-" if last.loss is None else f"{last.loss:.4f}"
        note = f" {last.note}" if last.note else ""
        settings = " ".join(f"{k}={short(v)}" for k, v in sorted(last.settings.items()))
        self._show.line(
            f"trial {last.number:>3}  {last.state:<7} {last.steps:>6} steps  loss {loss:<8}"
            f"{settings}{note}"
        )

    def _training(self, progress: Progress) -> None:
        over, asked = len(finished(self._trials)), self._request.trials
        best = next((f", best {t.loss:.4f}" for t in done(self._trials)), "")
        left = self._remaining.observe(over, asked, time.monotonic())
        trials_run = left is not None and self._running is not None
        eta = f", about {duration(left)} left" if trials_run and left is not None else ""
        where = f"trial {self._running.number}" if self._running else "training"
        self._show.status(
            f"{where} ({over} of {asked} over): step {progress.step} of {progress.steps}{best}{eta}"
        )

    def _waits(self, why: str) -> None:
        self._show.status(f"waits: {why}")

    # -- after the trials ---------------------------------------------------------

    def _result(self, study: Study, facts: StudyFacts, trials: list[Trial]) -> StudyResult:
        result = replace(self._plain_result(facts, trials), importance=study.importance())
        if not done(trials):
            advice = f"no trial was trained to its end; raise --trials, or {OTHERWISE}"
            return replace(result, advice=advice)
        return replace(result, advice="the finals are left: run it again without --no-finals")

    def _plain_result(self, facts: StudyFacts, trials: Sequence[Trial]) -> StudyResult:
        outcomes = (read_outcome(self._folder.trial(folder_number(t))) for t in trials)
        before = next((o.loss_before for o in outcomes if o and o.loss_before is not None), None)
        return StudyResult(
            study=self._folder.path.name,
            facts=facts,
            today=self._today,
            trials=tuple(trials),
            front=tuple(trial.number for trial in pareto_front(trials)),
            loss_before=before,
            advice="the trials are not over: the same command goes on with them",
        )

    def _finals(
        self, result: StudyResult, trainer: Trainer, rows: StudyRows, workers: StudyWorkers
    ) -> StudyResult:
        if not result.front:
            return result
        write_result(self._folder.result, result)
        finals = Finals(
            self._folder,
            trainer,
            Examiner(
                self._layout, self._config, self._start, rows, self._folder, workers,
                self._giving_way, self._asking, self._waits,
            ),
            self._show.line,
        )  # fmt: skip
        asked = finals.evidence(result.trials, self._request.finalists)
        found = chosen(result.trials, asked)
        result = replace(
            result, finalists=tuple(asked), winner=None if found is None else found.number
        )
        if found is None:
            advice = "the gate finds harm in every finalist: keep the settings of today"
            return replace(result, advice=advice)
        if not changed(found.settings, self._today):
            return replace(result, advice="the settings of today are the best that were found")
        write_result(self._folder.result, result)
        compared = finals.seeds(found.settings, self._today, self._request.seeds)
        if isinstance(compared, str):
            return replace(result, advice=f"{compared}; keep the settings of today")
        return replace(result, comparison=compared, advice=advice_of(compared))

    def _asking(self, beat: Beat) -> None:
        if beat.evaluation_total:
            self._show.status(
                f"asking: {beat.evaluation_done or 0} of {beat.evaluation_total} questions"
            )
