"""
What every trial of a study goes on from, and what has been learnt so far.

Reads journal and links; changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetuned.config import Config
from finetuned.core.promotion import HeadCause
from finetuned.files.base_model import BaseName, portable_name
from finetuned.files.journal_view import JournalView
from finetuned.files.spec import HeldOutRows, SubjectSpec
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.current_model import incumbent
from finetuned.registry.head import linked_head
from finetuned.registry.weights import Weights, weights_of

BASE = "base"
"""The name of a start from the base model."""


@dataclass(frozen=True, slots=True)
class Start:
    """
    The model before a trial, and the rows behind it.
    """

    name: str
    """A version, or BASE."""
    sha256: str
    """Of the version's manifest; empty for the base model."""
    parent: Path | None
    """Folder of the version; None for the base model."""
    weights: Weights
    base_name: BaseName | None
    release: SubjectSpec
    """The version in use, with which the gate compares; the base model if there is none."""
    earlier: tuple[HeldOutRows, ...]
    """Datasets that the start has learnt, oldest first."""
    released: tuple[HeldOutRows, ...]
    """Those that the release has learnt."""
    rolled_back: bool
    """Whether a person made the version the head."""

    @property
    def new_adapter(self) -> bool:
        """Whether a trial begins an adapter of its own, so that its rank can be chosen."""
        return self.weights.folder is None

    @property
    def head(self) -> SubjectSpec | None:
        """The start as a model to ask; None if it is the release."""
        version = None if self.parent is None else self.name
        if version == self.release.version:
            return None
        return SubjectSpec(base=self.weights.base, folder=self.weights.folder, version=version)


def find_start(layout: Layout, config: Config, *, from_base: bool) -> Start:
    """
    Return the head of the root as the start of trials, or the base model.

    Args:
        layout: The root.
        config: Its configuration.
        from_base: Start from the base model, whatever the head is.

    Raises:
        BaseModelMissing: The base model is missing.
        RegistryError, ModelError: A link or a version is out of order.
        ConfigError: The journal is of another version of the program.
    """
    release = incumbent(layout)
    head = None if from_base else linked_head(layout) or release
    weights = weights_of(layout, head, config.model.base)
    parent = None if head is None else layout.versions / head
    earlier, released, rolled_back = _learnt(layout, head, release)
    return Start(
        name=head or BASE,
        sha256="" if parent is None else _sha256(parent / MANIFEST),
        parent=parent,
        weights=weights,
        base_name=portable_name(layout, config.model.base, weights.base_version),
        release=_subject(layout, release, config),
        earlier=earlier,
        released=released,
        rolled_back=rolled_back,
    )


def _subject(layout: Layout, version: str | None, config: Config) -> SubjectSpec:
    weights = weights_of(layout, version, config.model.base)
    return SubjectSpec(base=weights.base, folder=weights.folder, version=version)


def _learnt(
    layout: Layout, head: str | None, release: str | None
) -> tuple[tuple[HeldOutRows, ...], tuple[HeldOutRows, ...], bool]:
    """Return the datasets of head and release, and whether a person chose the head."""
    if not layout.journal.is_file():
        return (), (), False
    journal = JournalView(layout.journal)
    try:
        last = journal.heads.last()
        verdicts = (HeadCause.HELD, HeadCause.PROMOTED)
        chosen = last is not None and last.version == head and last.cause not in verdicts
        return (
            _rows(layout, journal, journal.versions.lineage(head)),
            _rows(layout, journal, journal.versions.lineage(release)),
            chosen,
        )
    finally:
        journal.close()


def _rows(layout: Layout, journal: JournalView, lineage: Sequence[str]) -> tuple[HeldOutRows, ...]:
    return tuple(
        HeldOutRows(dir=layout.datasets / found.dataset_id, name=found.name)
        for found in journal.datasets.learnt_by(lineage)
        if (layout.datasets / found.dataset_id).is_dir()
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
