"""
spec.json: what the supervisor asks of one run.

The supervisor writes it before the worker is told of the run; the worker reads
it once. One dataclass per kind of worker; an unknown or missing key is an error.
Does not know what a worker does with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import orjson

from finetuned.config import Config, DataConfig
from finetuned.core.job import JobKind
from finetuned.core.record import from_json, to_json
from finetuned.core.run import RunKind
from finetuned.errors import RecordError, Unavailable
from finetuned.files.atomic import write_atomic
from finetuned.files.base_model import BaseName
from finetuned.files.line_mark import LineRange

SPEC = "spec.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """
    What every run is told.
    """

    kind: RunKind
    run_id: str
    worker_growth: float | None = None
    """
    The worker stays for another run unless it then holds more than so many times the memory
    that it held after its first run, > 0. None: it leaves after this run.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedFile:
    """
    A file to validate.
    """

    dataset_key: str
    """The claim's name: letters, digits, dots, dashes and underscores."""
    path: Path
    name: str
    """What people called the file."""
    bytes: int | None = None
    """Its size when it was claimed; another size later means that it is still written."""
    stuck: tuple[LineRange, ...] = ()
    """
    Lines in which earlier runs made no progress until they were killed: one line is rejected,
    several are read one at a time.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestionSpec(RunSpec):
    """
    Validate these files and make a dataset of each.
    """

    files: tuple[ClaimedFile, ...]
    datasets_dir: Path
    base: Path
    """The base model, of which only the tokenizer is read."""
    data: DataConfig
    enable_thinking: bool
    model_max_length: int | None
    """Positions that the model can read, in tokens; None if it does not say."""
    benchmarks: Path | None = None
    """Folder of suites whose prompts must not be trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingDataset:
    """
    A dataset to train on.
    """

    dir: Path
    dataset_id: str
    sha256: str | None
    """Of the file that was dropped."""
    name: str
    lines: str | None = None
    """``LineSet.as_text`` of the lines to train, which the parent has not learnt; None for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpec(RunSpec):
    """
    Train a job's datasets, or merge an adapter (job_kind consolidation), into a candidate.
    """

    job_id: str
    job_kind: JobKind = JobKind.TRAINING
    attempt: int = 1
    """1 for the first training run of the job."""
    config: Config
    base: Path
    """The full model that is trained, or that the parent's adapter sits on."""
    base_version: str | None = None
    """The version that the base is; None if it is the configured base model."""
    base_name: BaseName | None = None
    """How a published adapter names the base; None for the name that is configured."""
    parent: Path | None = None
    """The version to go on from, with its optimizer state; None is the base alone."""
    datasets: tuple[TrainingDataset, ...] = ()
    canaries: Path | None = None
    """The canary suite, for the distance from the incumbent."""
    earlier: tuple[Path, ...] = ()
    """Datasets that the parent has learnt."""
    replay_weights: Mapping[str, float] = field(default_factory=dict)
    """
    By dataset id, times training.replay_presentations; 1 for one that is not named. Above 1
    for a dataset on which the lineage lost ground, below 1 for one that held it.
    """
    resume_from: tuple[Path, ...] = ()
    """Checkpoint folders of earlier runs of the job."""
    rolled_back: bool = False
    """Whether somebody other than the gate made the parent current."""
    live_evals: bool = True
    held_out_losses: bool = False
    """Whether the manifest tells the held-out losses before and after: for a trial of a search."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectSpec:
    """
    A model to ask.
    """

    base: Path
    folder: Path | None = None
    """The adapter, or the full weights, on top of the base; None is the base alone."""
    version: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutRows:
    """
    A dataset whose held-out rows are asked.
    """

    dir: Path
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedDataset:
    """
    A dataset that the candidate was trained on.
    """

    dataset_id: str
    name: str
    n_examples: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JobQuestions:
    """
    What is asked of the candidate of a job, besides the benchmarks.
    """

    job_id: str
    job_kind: JobKind
    base: SubjectSpec
    datasets: tuple[TrainedDataset, ...]
    new: tuple[HeldOutRows, ...]
    """Held-out rows of every dataset that the candidate has learnt and the release has not."""
    old: tuple[HeldOutRows, ...]
    """Held-out rows of the datasets that the release has learnt."""
    also: tuple[str, ...]
    """Suites that the release was asked, which must not be left out."""
    look: int = 1
    """Number of this judgement among those against the release, from 1."""
    training_seconds: float | None = None
    """How long the training of the candidate took, > 0; None if nothing was trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedFile:
    """
    A file whose trained rows are asked again.
    """

    dataset: Path
    """Folder of its dataset."""
    path: Path
    """Where the file is."""
    name: str
    unseen: str
    """``LineSet.as_text`` of lines that no step had."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorrectionSpec:
    """
    Make rows of what the candidate answers wrong of what it was trained on.
    """

    files: tuple[TrainedFile, ...]
    datasets: Path
    """Folder of all datasets, whose held-out rows are not asked."""
    max_examples: int
    """Most rows that are made."""
    seconds: float
    """Longest time for it."""
    seed: int
    """Of the rows that are drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSpec(RunSpec):
    """
    Ask base, release, head and candidate the same items; or ask the version in use its canaries.
    """

    config: Config
    candidate: SubjectSpec
    """In a watch: what current_model names."""
    incumbent: SubjectSpec | None = None
    """The release. In a watch: the version before; None if it is damaged."""
    head: SubjectSpec | None = None
    """The version that the candidate was trained on; None if that is the release."""
    benchmarks: Path
    answers: Path
    """The answer cache."""
    answer_format: str = ""
    """``model.answer_format``: "", the name of a shipped format, or the whole path of a file."""
    job: JobQuestions | None = None
    """None in a watch, which asks the canaries alone."""
    corrections: CorrectionSpec | None = None
    """None makes none."""


S = TypeVar("S", bound=RunSpec)


def create_run(folder: Path, spec: RunSpec) -> None:
    """
    Make a run folder with its spec, durably.

    Raises:
        OSError: The file system refused; at worst an empty folder is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / SPEC, orjson.dumps(to_json(spec), option=orjson.OPT_INDENT_2))


def read_spec(folder: Path, kind: type[S]) -> S:
    """
    Return what the supervisor asks of this run.

    Raises:
        Unavailable: The file is missing or cannot be read.
        RecordError: It is not JSON, or has other keys or types than *kind*.
    """
    path = folder / SPEC
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Unavailable("spec_missing", f"{path}: {error.strerror}") from error
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise RecordError(str(path), "", f"not JSON: {error}") from None
    return from_json(kind, value, source=path)
