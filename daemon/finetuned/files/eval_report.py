"""
The eval report: what one evaluation saw, as the evaluation worker writes it.

The fields and their order are those of docs/reference/eval_report.schema.json. After the
verdict the supervisor adds to the file; readers of published reports take older ones too
and read JSON (core/evidence.py, reports/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.core.confidence.calibration import Calibration
from finetuned.core.confidence.likelihood import Likelihood
from finetuned.core.job import JobKind
from finetuned.core.record import to_json
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.files.atomic import write_atomic
from finetuned.files.run import REPORT
from finetuned.files.spec import TrainedDataset

SCHEMA_VERSION: Final = 2
"""Raised when a reader of the version before could misread a report."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteRecord:
    """
    A suite: where its questions come from, and whether they could be asked.
    """

    name: str
    """Unique in the report."""
    origin: SuiteOrigin
    title: str
    """For people: the name of the file."""
    dataset_id: str | None
    """The dataset that it was held out from; None for a file of benchmarks/."""
    sha256: str
    """Digest of its file or its dataset: equal digests are the same questions."""
    n_items: int
    required: bool = True
    """Whether the gate fails without it."""
    problem: str | None = None
    """Why it could not be asked; None if it could."""
    n_unasked: int = 0
    """Items beside n_items that were left out: a first look settled the verdict."""
    n_left_out: int = 0
    """Items beside n_items for which there was no time: n_items are a sample of the suite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonCounts:
    """
    Counts over the asked items whose scorer is ``json``.
    """

    n_valid: int
    """Answers that are JSON."""
    n_schema_valid: int
    """Answers of these that fit the schema of their item."""
    fields_right: int
    fields: int
    """Top-level fields of all expected answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FreeCounts:
    """
    Counts over the answers to questions that have an answer format.
    """

    n_asked: int
    n_correct: int
    """Answers that their scorer accepted."""
    n_fit: int
    """Answers that are of their format."""
    n_checked: int
    """Answers of these whose values were looked for in the prompt."""
    n_invented: int
    """Answers of these with a value that does not stand in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FormatCounts(FreeCounts):
    """
    The same with what the formats did.
    """

    n_held: int
    """Answers that were held to their format."""
    n_changed: int
    """Answers of these that the model would have given otherwise."""
    free: FreeCounts | None
    """The held ones, asked freely; None if they were not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteScore:
    """
    One model on one suite. Shares are 0 to 1; None if nothing was asked, scored or generated.
    """

    n_items: int
    n_asked: int
    """Items that an answer was asked for, 0 to n_items."""
    n_correct: int
    """Answers that their scorer accepted."""
    accuracy: float | None
    """n_correct / n_asked."""
    interval_95: tuple[float, float] | None
    """Wilson interval of accuracy."""
    n_exact: int
    """Answers that ended by themselves and equal the expected one, whatever the scorer."""
    mean_score: float | None
    loss: float | None
    """Nats per supervised token."""
    loss_tokens: int
    stop_rate: float | None
    """Share of generated answers that ended by themselves."""
    mean_answer_tokens: float | None
    tokens_per_second: float | None
    n_timed_out: int
    n_cached: int
    """Answers taken from the answer store."""
    complete: bool
    """Whether every item was asked before the deadline."""
    json: JsonCounts | None
    """None if no item has the scorer ``json``."""
    format: FormatCounts | None = None
    """None if no item has an answer format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectScores:
    """
    One model on all suites.
    """

    version: str | None
    """None for the configured base model, and for a candidate."""
    same_as: str | None
    """The subject with the same weights whose numbers these are; None if it was asked itself."""
    seconds: float
    """Wall time without loading."""
    load_seconds: float
    suites: Mapping[str, SuiteScore]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeRecord:
    """
    What one model did with one item; marks are None if nothing was asked.
    """

    answer: str | None
    correct: bool | None
    score: float | None
    """0 to 1."""
    exact: bool | None
    loss: float
    """Summed over n_tokens, in nats."""
    n_tokens: int
    """Supervised tokens of the item."""
    answer_tokens: int
    stopped: bool
    timed_out: bool
    likelihood: Likelihood | None = None
    """Of the generated tokens; None if there are none, or if an earlier release asked."""
    detail: Mapping[str, Any]
    """The details of the scorer; keys depend on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemRecord:
    """
    One question, and what each model did with it.
    """

    suite: str
    id: str
    """Unique in its suite."""
    scorer: str
    system: str
    prompt: str
    golden: str | None
    """The expected answer; None for a text, which is only scored."""
    cluster: str | None = None
    """Items of one template or near-duplicates have the same; None outside a job's report."""
    swapped_loss: float | None = None
    """
    The candidate's loss of the expected answer after the question of another row, summed over
    the same tokens, in nats; None if it was not taken.
    """
    outcomes: Mapping[str, OutcomeRecord]
    """By subject; without those that have the numbers of another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareTrial:
    """
    Weights between the incumbent's and the candidate's, measured.
    """

    a: float
    """Share of the candidate, 0 to 1."""
    passes: bool
    """Whether the gate would promote or hold them."""
    accuracy_new: float | None
    accuracy_old: float | None
    """Shares of right answers on new and on older suites; None if nothing was asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpolation:
    """
    The trials of weights between the incumbent's and the candidate's.
    """

    tried: tuple[ShareTrial, ...]
    chosen: float | None
    """The share that became the candidate; None if no trial passed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvalReport:
    """
    One evaluation of base, release, head and candidate on the same items.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    job_id: str | None
    """None in a watch."""
    job_kind: JobKind
    created_at: str
    """RFC 3339, UTC."""
    base: str
    """``model.base``."""
    chat_template: str
    """Whose it is: base, or fallback if the base model has none."""
    incumbent: str | None
    """The release; None if that is the base model."""
    head: str | None = None
    """The version that the candidate was trained on, if that is not the release."""
    version: str | None = None
    """The version that the candidate became; the worker does not know it."""
    datasets: tuple[TrainedDataset, ...]
    suites: tuple[SuiteRecord, ...]
    subjects: Mapping[str, SubjectScores]
    items: tuple[ItemRecord, ...]
    interpolation: Interpolation | None
    confidence: Calibration | None = None
    """How sure the candidate's answers are to be right; None in a watch."""


def write_eval_report(folder: Path, report: EvalReport) -> None:
    """
    Write *report* into a run folder, durably.

    Raises:
        OSError: The file system refused; there is no report, or the one before.
    """
    write_atomic(folder / REPORT, orjson.dumps(to_json(report), option=orjson.OPT_INDENT_2))
