"""
What somebody asks an export for, and what comes of it, as values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetuned.core.export.card import CardFile
from finetuned.core.export.request import Request
from finetuned.registry.named_model import NamedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """
    What somebody asks for.
    """

    model: NamedModel
    request: Request
    out: Path | None = None
    """The folder of the export; None is one below models/exports/."""
    items: int = 200
    """Most items of each suite that are asked, >= 0; 0 compares nothing."""
    data_licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """
    What version and export could not be asked.
    """

    datasets_gone: tuple[str, ...] = ()
    """Names of the version's datasets whose held-out rows are no longer there."""
    items: int = 0
    """Items that the version's chat template does not take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """
    An export that is there.
    """

    folder: Path
    files: tuple[CardFile, ...]
    manifest: dict[str, object]
    left_out: LeftOut

    @property
    def passed(self) -> bool:
        """Whether every file was compared, and none is worse than allowed."""
        return all(f.parity is not None and f.parity.passed for f in self.files)
