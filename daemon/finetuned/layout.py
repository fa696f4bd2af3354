"""
The one file that spells folder names.

Knows the place of each file under a root; does not know the contents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Priority(StrEnum):
    """
    The sub-folders of inbox/, best first; a file directly in inbox/ is normal.
    """

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


CANARIES = "canaries"
"""The name of the suite of canaries: items that no version may get wrong again."""

MANIFEST = "manifest.json"
"""Written last in every finished folder: a folder without it is ignored."""

FAMILIES = "families"
"""Folder in a version: the adapters of the families that its own job did not train."""

FAMILY_LIST = "families.json"
"""In a version with an adapter for each family of files: which families there are."""


@dataclass(frozen=True, slots=True)
class Layout:
    """
    The paths of one root.
    """

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def lock(self) -> Path:
        """Held (flock) by the one supervisor of this root."""
        return self.root / "models" / ".supervisor.lock"

    @property
    def journal(self) -> Path:
        """The state of all jobs and datasets, in SQLite."""
        return self.root / "models" / "journal.sqlite3"

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def processing(self) -> Path:
        """Claimed files, one folder each, until their job has ended."""
        return self.inbox / "processing"

    @property
    def done(self) -> Path:
        return self.inbox / "done"

    @property
    def quarantine(self) -> Path:
        """Refused files with their reasons, and the rejected lines of accepted ones."""
        return self.inbox / "rejected"

    @property
    def status_file(self) -> Path:
        return self.root / "status" / "training_status.json"

    @property
    def control(self) -> Path:
        return self.root / "control"

    @property
    def acks(self) -> Path:
        return self.control / "ack"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def bases(self) -> Path:
        return self.models / "base"

    @property
    def fetch_lock(self) -> Path:
        """Held (flock) while a base model is fetched."""
        return self.models / ".fetch.lock"

    @property
    def datasets(self) -> Path:
        """Validated, tokenised datasets; author: the ingestion worker."""
        return self.models / "datasets"

    @property
    def runs(self) -> Path:
        """One folder per run; author: that run's worker."""
        return self.models / "runs"

    @property
    def versions(self) -> Path:
        return self.models / "versions"

    @property
    def reports(self) -> Path:
        """One page per version, made from its eval report; can be made again at any time."""
        return self.models / "reports"

    @property
    def daily_reports(self) -> Path:
        """Daily reports, by the last day that they cover; can be made again at any time."""
        return self.reports / "daily"

    @property
    def report_lock(self) -> Path:
        """Held (flock) by the one process that makes daily reports and sends messages."""
        return self.models / ".report.lock"

    @property
    def answers(self) -> Path:
        """The answers of models, in SQLite; author: evaluation. A cache, and a table to query."""
        return self.models / "answers.sqlite3"

    @property
    def benchmarks(self) -> Path:
        """Suites that people add; their prompts are never trained on."""
        return self.root / "benchmarks"

    @property
    def incidents(self) -> Path:
        """One report per version that the watch took back."""
        return self.logs / "incidents"

    @property
    def exports(self) -> Path:
        """Versions exported for other programs, a folder each; author: finetuned export."""
        return self.models / "exports"

    @property
    def export_lock(self) -> Path:
        """Held (flock) by the one process that exports."""
        return self.models / ".export.lock"

    @property
    def backups(self) -> Path:
        return self.models / "backups"

    @property
    def trash(self) -> Path:
        return self.models / "trash"

    @property
    def deleted(self) -> Path:
        """Manifests of versions that were deleted for good, a folder each."""
        return self.models / "deleted"

    @property
    def head(self) -> Path:
        """A link to the version that the next job starts from; none is the base model."""
        return self.models / "head"

    @property
    def tuning(self) -> Path:
        """One folder per study of finetuned tune, by its name; author: finetuned tune."""
        return self.models / "tuning"

    @property
    def tuning_lock(self) -> Path:
        """Held (flock) by the one finetuned tune of this root."""
        return self.models / ".tuning.lock"

    @property
    def serving(self) -> Path:
        """What belongs to the service, mode 0700; made by its first start or its first key."""
        return self.models / "serving"

    @property
    def keys(self) -> Path:
        """Salted hashes of the service's keys; author: finetuned keys."""
        return self.serving / "keys.json"

    @property
    def feedback(self) -> Path:
        """What users said of answers, and the review queue, in SQLite; author: the gateway."""
        return self.serving / "feedback.sqlite3"

    @property
    def imported(self) -> Path:
        """Rows from elsewhere that wait for review, in SQLite; author: finetuned import."""
        return self.serving / "imported.sqlite3"

    @property
    def serving_state(self) -> Path:
        """Process, address and held versions of a running service; author: the gateway."""
        return self.serving / "state.json"

    @property
    def current_model(self) -> Path:
        return self.root / "current_model"

    def folders(self) -> tuple[Path, ...]:
        """
        Return every folder that must exist before the daemon can work.
        """
        return (
            self.inbox,
            *(self.inbox / p for p in Priority),
            self.processing,
            self.done,
            self.quarantine,
            self.status_file.parent,
            self.control,
            self.acks,
            self.benchmarks,
            self.logs,
            self.datasets,
            self.runs,
            self.versions,
            self.backups,
            self.trash,
        )
