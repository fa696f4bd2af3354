"""
results/<dataset_key>.json in an ingestion's run folder: what became of one claimed file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from finetuned.core.books import RowCounts
from finetuned.core.dataset_state import DatasetState
from finetuned.core.record import from_json, to_json
from finetuned.files.atomic import write_atomic
from finetuned.files.inbox_names import safe_stem
from finetuned.files.rows import DatasetRow
from finetuned.files.run import read_json
from finetuned.layout import Layout

RESULTS = "results"

DATASET_REPORT = "report.json"
"""In the folder of a dataset: what the validation counted."""


class DatasetOutcome(StrEnum):
    ACCEPTED = "accepted"  # it is a dataset now
    DUPLICATE = "duplicate"  # the same bytes are a dataset already
    QUARANTINED = "quarantined"  # too much of it cannot be trained on
    UNREADABLE = "unreadable"
    UNSTABLE = "unstable"  # it changed while it was read; it goes back to the inbox


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetResult:
    """
    What the ingestion worker found out about one file.
    """

    result: DatasetOutcome
    dataset_id: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    reason: str | None = None
    """Why it is not accepted."""
    report: dict[str, Any] | None = None
    """report.json of the dataset."""


def counts_of_report(report: Mapping[str, object] | None) -> RowCounts | None:
    """
    Return how a dataset's report.json divides the rows of its file, None if it does not say.
    """
    if report is None:
        return None
    split = report.get("split")
    if not isinstance(split, dict):  # null for a file that was refused before it was split
        split = {}
    numbers = [
        report.get("rows_read"),
        report.get("rows_rejected"),
        split.get("heldout_rows", 0),
        split.get("reserved_rows", 0),
        split.get("train_rows", 0),
    ]
    known = [number for number in numbers if isinstance(number, int)]
    return RowCounts(*known) if len(known) == len(numbers) else None


def report_of(layout: Layout, row: DatasetRow) -> Mapping[str, object] | None:
    """
    Return what the validation counted in one file, None if that is not on disk.
    """
    if row.state is DatasetState.QUARANTINED:
        aside = read_json(layout.quarantine / f"{aside_stem(row)}.reason.json") or {}
        report = aside.get("report")
        return report if isinstance(report, dict) else None
    if row.dataset_id is None:
        return None
    return read_json(layout.datasets / row.dataset_id / DATASET_REPORT)


def aside_stem(row: DatasetRow) -> str:
    """
    Return how the names of files about one dropped file begin, in inbox/rejected/ and inbox/done/.
    """
    return f"{safe_stem(row.inbox_path)}.{row.key}"


def result_path(run_dir: Path, dataset_key: str) -> Path:
    """
    Return where the result of one file is written.
    """
    return run_dir / RESULTS / f"{dataset_key}.json"


def write_result(run_dir: Path, dataset_key: str, result: DatasetResult) -> None:
    """
    Write one result.

    No fsync: after a power cut the file is read again, and the published dataset, which is
    durable, gives the same result.

    Raises:
        OSError: The file system refused.
    """
    write_atomic(result_path(run_dir, dataset_key), orjson.dumps(to_json(result)), durable=False)


def read_result(run_dir: Path, dataset_key: str) -> DatasetResult | None:
    """
    Return one result, None if there is none yet.

    Raises:
        RecordError: It has other keys or types than DatasetResult.
    """
    path = result_path(run_dir, dataset_key)
    value = read_json(path)
    return None if value is None else from_json(DatasetResult, value, source=path)
