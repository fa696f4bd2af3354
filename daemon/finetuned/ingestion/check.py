"""
A file looked at as ingestion would, and nothing written: what would become of it, and why.

The first pass is ingestion's own, with the same reader and renderer; so are the split and the
reasons for which a whole file is set aside. Knows one file and the datasets of a root, if there
is one; does not know the daemon.
"""

from __future__ import annotations

import os
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from finetuned.config import DataConfig
from finetuned.data.file_shape import FileShape
from finetuned.data.holdout import HELD_OUT, RESERVED, TRAIN, Hashes, Holdout, choose_holdout
from finetuned.data.reader import UnknownKeys
from finetuned.data.render import Renderer
from finetuned.data.suite import suite_files, suite_prompts
from finetuned.errors import SuiteError
from finetuned.files.dataset_result import DatasetOutcome
from finetuned.ingestion.history import History
from finetuned.ingestion.ingest import NOTHING_TO_TRAIN, published_as
from finetuned.ingestion.report import RejectedLine, Report
from finetuned.ingestion.row_log import AcceptedRow, Repeats, RowLog
from finetuned.ingestion.source import Tick, open_regular, require_unchanged, shape_of
from finetuned.ingestion.validate import FirstPass

_LINES_OF_A_CODE: Final = 5


@dataclass(slots=True)
class RejectedKind:
    """
    Rejected lines with one code.
    """

    reason: str
    """Of the first of them."""
    rows: int = 0
    lines: list[int] = field(default_factory=list)
    """The numbers of the first few."""


@dataclass(frozen=True, slots=True)
class Seen:
    """
    Rows whose prompts are known already.
    """

    trained: int = 0
    """Rows whose prompt earlier datasets trained."""
    held_out: int = 0
    """Rows whose prompt earlier datasets hold out."""
    suites: dict[str, int] = field(default_factory=dict)
    """Suite of benchmarks/ -> rows whose prompt it asks; suites without any are left out."""
    unreadable_suites: tuple[str, ...] = ()
    """Why a suite could not be compared, one sentence each."""


@dataclass(frozen=True, slots=True)
class Checked:
    """
    What a check found.
    """

    outcome: DatasetOutcome
    """What ingestion would say."""
    reason: str | None
    """Why the file would not be accepted."""
    shape: FileShape
    report: Report
    rejected: dict[str, RejectedKind]
    """Code -> the lines rejected with it, the most frequent first."""
    rows_of: tuple[int, int, int] = (0, 0, 0)
    """Rows to train, held out, and neither because they are held out elsewhere."""
    no_heldout_because: str | None = None
    longest: tuple[int, int] | None = None
    """Tokens and line of the longest sequence."""
    repeats: Repeats = field(default_factory=lambda: Repeats(0, (), 0))
    seen: Seen = field(default_factory=Seen)
    shown: tuple[AcceptedRow, ...] = ()
    asked: tuple[RejectedLine, ...] = ()
    """The lines that were asked for and are rejected."""

    @property
    def every_row_is_used(self) -> bool:
        """Whether all rows would be trained or held out."""
        accepted = self.outcome is DatasetOutcome.ACCEPTED
        return accepted and not self.rejected and not self.rows_of[RESERVED]


class _Kinds:
    """Sorts rejected lines by their codes."""

    def __init__(self, lines: Container[int]) -> None:
        self._kinds: dict[str, RejectedKind] = {}
        self._lines = lines
        self.asked: list[RejectedLine] = []
        """Those of the given lines."""

    def add(self, rejected: RejectedLine) -> None:
        """Count one rejected line."""
        kind = self._kinds.setdefault(rejected.code, RejectedKind(rejected.reason))
        kind.rows += 1
        if len(kind.lines) < _LINES_OF_A_CODE:
            kind.lines.append(rejected.line)
        if rejected.line in self._lines:
            self.asked.append(rejected)

    def by_frequency(self) -> dict[str, RejectedKind]:
        return dict(sorted(self._kinds.items(), key=lambda item: -item[1].rows))


@dataclass(frozen=True, slots=True)
class Known:
    """
    What a root knows already, to compare a file with.
    """

    datasets: Path | None = None
    """Folder of the published datasets; None if there is none."""
    history: History = field(default_factory=History)
    suites: dict[str, Hashes] = field(default_factory=dict)
    """Suite -> the hashes of its prompts, sorted."""
    unreadable_suites: tuple[str, ...] = ()

    @classmethod
    def load(cls, datasets: Path, benchmarks: Path) -> Known:
        """
        Read the hashes of the datasets in one folder and of the suites in another, if they exist.
        """
        exists = datasets.is_dir()
        history = History.load(datasets) if exists else History()
        suites, unreadable = {}, []
        for path in suite_files(benchmarks):
            try:
                prompts = np.unique(np.array(list(suite_prompts(path)), dtype="<u8"))
            except SuiteError as error:
                unreadable.append(str(error))
                continue
            suites[path.stem] = prompts
        return cls(datasets if exists else None, history, suites, tuple(unreadable))


def check(
    path: Path,
    renderer: Renderer,
    config: DataConfig,
    known: Known,
    *,
    n_shown: int,
    lines: Container[int] = (),
    tick: Tick,
) -> Checked:
    """
    Return what ingestion would make of a file.

    Args:
        path: A regular file; not a link.
        renderer: Of the base model that will be trained.
        config: The root's section.
        known: What the root has seen.
        n_shown: How many of the first accepted rows to return as the model will see them.
        lines: Numbers of lines to return as well, accepted or not.
        tick: Called between batches with phase, rows and bytes so far.

    Raises:
        OSError: It cannot be opened.
        SourceUnreadable: The disk refused.
        UnstableDataset: It changed while it was read.
    """
    fd = open_regular(path)
    try:
        before = os.fstat(fd)
        shape = shape_of(fd)
        report = Report(path.name, "", before.st_size, renderer.max_length)
        if shape is not FileShape.LINES:
            return Checked(DatasetOutcome.QUARANTINED, None, shape, report, {})
        kinds = _Kinds(lines)
        with RowLog(n_shown=n_shown, lines=lines) as rows:
            unknown_keys = UnknownKeys(config.unknown_keys)
            first = FirstPass(renderer, config.max_line_bytes, unknown_keys, rows, report, kinds)
            digest = first.run(fd, tick)
            require_unchanged(path, fd, before, digest, digest)
            outcome, reason = _verdict_of_file(digest, report, renderer, config, known)
            rows_of, no_heldout_because = (0, 0, 0), None
            if outcome is DatasetOutcome.ACCEPTED:
                holdout = _holdout(rows, config, known)
                rows_of, no_heldout_because = _rows_of(rows, holdout, report), holdout.reason
                if rows_of[TRAIN] == 0:
                    outcome, reason = DatasetOutcome.QUARANTINED, NOTHING_TO_TRAIN
            return Checked(
                outcome,
                reason,
                shape,
                report,
                kinds.by_frequency(),
                rows_of,
                no_heldout_because,
                rows.longest,
                rows.repeats(),
                _seen(rows, known),
                tuple(rows.shown),
                tuple(kinds.asked),
            )
    finally:
        os.close(fd)


def _verdict_of_file(
    digest: str, report: Report, renderer: Renderer, config: DataConfig, known: Known
) -> tuple[DatasetOutcome, str | None]:
    dataset_id = digest[:16]
    if known.datasets is not None and published_as(known.datasets / dataset_id, renderer):
        return DatasetOutcome.DUPLICATE, f"the same bytes are dataset {dataset_id} already"
    refusal = report.refusal(config.max_rejected_fraction)
    return (DatasetOutcome.ACCEPTED if refusal is None else DatasetOutcome.QUARANTINED), refusal


def _holdout(rows: RowLog, config: DataConfig, known: Known) -> Holdout:
    held_out = known.history.held_out.copy()
    for prompts in known.suites.values():
        held_out.add(prompts)
    return choose_holdout(
        rows.originals,
        rows.n_originals,
        fraction=config.holdout_fraction,
        min_rows=config.holdout_min_rows,
        max_rows=config.holdout_max_rows,
        trained=known.history.trained,
        held_out=held_out,
    )


def _rows_of(rows: RowLog, holdout: Holdout, report: Report) -> tuple[int, int, int]:
    """Return the rows of each split, and tell the report of them."""
    counts = [0, 0, 0]
    n_train_sequences = 0
    for prompts, families, n_sequences in rows.families_and_sequences():
        split = holdout.split(prompts, families)
        n_train_sequences += int(n_sequences[split == TRAIN].sum())
        for value in (TRAIN, HELD_OUT, RESERVED):
            counts[value] += int((split == value).sum())
    report.set_split(counts, holdout, n_train_sequences)
    return counts[TRAIN], counts[HELD_OUT], counts[RESERVED]


def _seen(rows: RowLog, known: Known) -> Seen:
    trained = held_out = 0
    suites = dict.fromkeys(known.suites, 0)
    for prompts in rows.prompts():
        trained += int(known.history.trained.contains(prompts).sum())
        held_out += int(known.history.held_out.contains(prompts).sum())
        for name, asked in known.suites.items():
            suites[name] += int(np.isin(prompts, asked).sum())
    return Seen(
        trained,
        held_out,
        {name: n for name, n in suites.items() if n},
        known.unreadable_suites,
    )
