"""
result.json of a study: what finetuned tune found, as table, page and --json show it.

Written after each trial, so that a study can be looked at while it goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import orjson

from finetuned.core.promotion import VersionVerdict
from finetuned.core.record import from_json, to_json
from finetuned.core.tuning.comparison import Comparison
from finetuned.core.tuning.facts import StudyFacts
from finetuned.core.tuning.space import Value
from finetuned.core.tuning.trial import Trial
from finetuned.errors import RecordError
from finetuned.files.atomic import write_atomic
from finetuned.files.run import read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteScore:
    """
    One suite, the finalist beside the model in use.
    """

    title: str
    origin: str
    """new, old, benchmark or canary."""
    asked: int
    right: int
    right_before: int | None
    """Of the version in use, or of the base model if there is none; None if it was not asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GateEvidence:
    """
    What the gate would say of a finalist.
    """

    verdict: VersionVerdict
    reason: str
    harm: tuple[str, ...]
    """Each rule of harm that failed, with what was seen."""
    suites: tuple[SuiteScore, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finalist:
    """
    A finalist and what the gate would say of it.
    """

    number: int
    evidence: GateEvidence


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyResult:
    """
    A study as far as it has come.
    """

    study: str
    facts: StudyFacts
    today: dict[str, Value]
    """Values of the searched settings in config.toml."""
    trials: tuple[Trial, ...]
    front: tuple[int, ...]
    """Numbers of the trials on the Pareto front of held-out loss and forgetting."""
    importance: dict[str, float] = field(default_factory=dict)
    """Share of the difference between trials that each setting explains."""
    loss_before: float | None = None
    """Held-out loss of the start, in nats per token."""
    finalists: tuple[Finalist, ...] = ()
    winner: int | None = None
    """Number of the trial with the found settings; None before the finals, or if all do harm."""
    comparison: Comparison | None = None
    """None before the seeds, or if the settings of today won."""
    advice: str = ""
    """What to do now, in a sentence."""

    @property
    def recommended(self) -> dict[str, Value] | None:
        """The settings to use from now on, None if those of today should stay."""
        if self.winner is None or self.comparison is None or not self.comparison.recommended:
            return None
        return dict(next(t.settings for t in self.trials if t.number == self.winner))


def write_result(path: Path, result: StudyResult) -> None:
    """
    Write it, durably.

    Raises:
        OSError: The file system refused.
    """
    write_atomic(path, orjson.dumps(to_json(result), option=orjson.OPT_INDENT_2))


def read_result(path: Path) -> StudyResult | None:
    """
    Return what a study found, None if it has not come so far, or the file is damaged.
    """
    value = read_json(path)
    if value is None:
        return None
    try:
        return from_json(StudyResult, value, source=path)
    except RecordError:
        return None
