"""
The rows of a study: a file validated, tokenised and split once, as the daemon does it.

The dataset lies in the study's own folder, so that the daemon and its journal know nothing of it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from finetuned.config import Config
from finetuned.core.run import RunKind
from finetuned.errors import DatasetError
from finetuned.files.base_model import position_limit
from finetuned.files.dataset_result import DatasetOutcome, read_result
from finetuned.files.heartbeat import Beat
from finetuned.files.manifest import read_manifest
from finetuned.files.spec import ClaimedFile, IngestionSpec, TrainingDataset
from finetuned.layout import MANIFEST, Layout
from finetuned.tuning.folder import StudyFolder
from finetuned.tuning.workers import Order, StudyWorkers, failure

_KEY = "dataset"


@dataclass(frozen=True, slots=True)
class StudyRows:
    """
    The dataset of a study.
    """

    dataset: TrainingDataset
    sha256: str
    n_train: int
    """Training sequences."""
    n_held_out: int
    """Held-out rows, > 0."""


def file_sha256(file: Path) -> str:
    """
    Return the sha256 of a file that a person named.

    Raises:
        DatasetError: There is no such file, or it cannot be read.
    """
    try:
        with file.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()
    except FileNotFoundError:
        raise DatasetError(f"{file}: there is no such file; put it back, or name another") from None
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read: {error.strerror}") from None


def validate_rows(
    layout: Layout,
    study: StudyFolder,
    file: Path,
    base: Path,
    config: Config,
    workers: StudyWorkers,
    on_progress: Callable[[Beat], None],
) -> StudyRows:
    """
    Return the dataset made of *file*; it is made if it is not there.

    Raises:
        DatasetError: The file is missing or refused, or nothing is held out of it.
        Interrupted: The worker failed.
        OSError: The file system refused.
    """
    sha256 = file_sha256(file)
    run = study.path / "validation"
    shutil.rmtree(run, ignore_errors=True)  # of an earlier start; datasets are found again below
    study.datasets.mkdir(parents=True, exist_ok=True)
    spec = IngestionSpec(
        kind=RunKind.INGESTION,
        run_id=run.name,
        files=(ClaimedFile(dataset_key=_KEY, path=file.resolve(), name=file.name),),
        datasets_dir=study.datasets,
        base=base,
        data=config.data,
        enable_thinking=config.model.enable_thinking,
        model_max_length=position_limit(base),
        benchmarks=layout.benchmarks if layout.benchmarks.is_dir() else None,
    )

    def watch(beat: Beat | None) -> Order:
        if beat is not None:
            on_progress(beat)
        return Order.GO_ON

    end = workers.run(run, spec, watch)
    result = read_result(run, _KEY)
    if result is None:
        raise failure(f"{file.name} could not be validated", run, end)
    if result.result not in (DatasetOutcome.ACCEPTED, DatasetOutcome.DUPLICATE):
        raise DatasetError(f"{file}: {result.reason or result.result}; see: finetuned check {file}")
    dataset_id = str(result.dataset_id)
    folder = study.datasets / dataset_id
    facts = read_manifest(folder)
    n_held_out = int(facts.get("n_heldout", 0))
    if not n_held_out:
        raise DatasetError(
            f"{file}: no row is held out, so trials cannot be compared; set data.holdout_fraction "
            "above 0, or add rows"
        )
    _remove_others(study, keep=dataset_id)
    return StudyRows(
        TrainingDataset(dir=folder, dataset_id=dataset_id, sha256=sha256, name=file.name),
        sha256,
        int(facts.get("n_train_sequences", 0)),
        n_held_out,
    )


def _remove_others(study: StudyFolder, keep: str) -> None:
    """Remove what a study has no use for: datasets of another split, and half-made ones."""
    for folder in study.datasets.iterdir():
        if folder.name != keep and (folder / MANIFEST).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def known_rows(study: StudyFolder, sha256: str, name: str) -> StudyRows | None:
    """
    Return the dataset that a study has made already, None if it is not there.
    """
    folder = next((f for f in study.datasets.glob("*") if (f / MANIFEST).is_file()), None)
    if folder is None:
        return None
    facts = read_manifest(folder)
    return StudyRows(
        TrainingDataset(dir=folder, dataset_id=folder.name, sha256=sha256, name=name),
        sha256,
        int(facts.get("n_train_sequences", 0)),
        int(facts.get("n_heldout", 0)),
    )
