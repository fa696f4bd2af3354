"""
The folder of one study: models/tuning/<name>/.

    study.sqlite3        the trials, as Optuna keeps them (not if --storage names another place)
    datasets/            the rows, validated and split once
    trials/0007/         one trial: its runs, and outcome.json once it is over
    seeds/today-1/       the settings of today and the found ones, with other seeds
    result.json          what the study found
    report.html          the page with the plots

Candidates are removed once they are scored, except those of the finalists. Does not know trials.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from finetuned.errors import ConfigError
from finetuned.files.run import CANDIDATE, CHECKPOINTS
from finetuned.layout import Layout

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

RUNS = "run-*"
"""The runs of one trial: the second goes on with what the first left when it had to stop."""


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """
    The paths of one study.
    """

    path: Path

    @property
    def storage(self) -> Path:
        return self.path / "study.sqlite3"

    @property
    def datasets(self) -> Path:
        return self.path / "datasets"

    @property
    def trials(self) -> Path:
        return self.path / "trials"

    @property
    def seeds(self) -> Path:
        return self.path / "seeds"

    @property
    def answers(self) -> Path:
        """Answers of the finalists and of what they are compared with, in SQLite."""
        return self.path / "answers.sqlite3"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    def trial(self, number: int) -> Path:
        """
        Return the folder of one trial.
        """
        return self.trials / f"{number:04d}"


def study_folder(layout: Layout, name: str) -> StudyFolder:
    """
    Return the folder of the study *name*, which need not exist.

    Raises:
        ConfigError: The name cannot be that of a folder.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a study: up to 100 letters, digits, dots, dashes and "
            "underscores, the first a letter or a digit"
        )
    return StudyFolder(layout.tuning / name)


def name_of(dataset: Path) -> str:
    """
    Return the name of a study of *dataset* that is given none.
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", dataset.stem).strip("._-")[:100] or "study"


def put_aside(folder: StudyFolder) -> Path:
    """
    Rename a study that is started over, and return its new place.

    Raises:
        OSError: The file system refused.
    """
    number = 1
    while (aside := folder.path.with_name(f"{folder.path.name}.old{number}")).exists():
        number += 1
    folder.path.rename(aside)
    return aside


def runs_of(trial: Path) -> list[Path]:
    """
    Return the run folders of a trial, in the order in which they ran.
    """
    return sorted(trial.glob(RUNS), key=lambda run: int(run.name.rpartition("-")[2]))


def candidate_of(trial: Path) -> Path | None:
    """
    Return the candidate of a trial, None if it has none or it was removed.
    """
    found = [run / CANDIDATE for run in runs_of(trial) if (run / CANDIDATE).is_dir()]
    return found[-1] if found else None


def remove_weights(trial: Path, *, keep_candidate: bool = False) -> None:
    """
    Remove the checkpoints of a trial that is over, and its candidate; its figures stay.
    """
    for run in runs_of(trial):
        shutil.rmtree(run / CHECKPOINTS, ignore_errors=True)
        shutil.rmtree(run / "trainer", ignore_errors=True)
        if not keep_candidate:
            shutil.rmtree(run / CANDIDATE, ignore_errors=True)
