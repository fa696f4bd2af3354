"""
What a person asks of a search, and what follows from it before the first trial.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from finetuned.config import Config
from finetuned.core.tuning.comparison import LEAST_SEEDS
from finetuned.core.tuning.space import Knob, Value, default_space, parse_space, without_effect
from finetuned.core.tuning.trial import done
from finetuned.files.study_result import read_result
from finetuned.layout import Layout
from finetuned.tuning.folder import StudyFolder
from finetuned.tuning.start import Start

_WARM_STARTS = 3
"""Most settings of earlier studies that are tried first."""

OTHERWISE = "begin another study with --study NAME, or start this one over with --fresh"


@dataclass(frozen=True, kw_only=True, slots=True)
class TuneRequest:
    """
    What a person asks for.
    """

    dataset: Path
    study: str | None = None
    """Its name; None for one made from the file's."""
    trials: int = 20
    seeds: int = LEAST_SEEDS
    finalists: int = 3
    space: tuple[str, ...] = ()
    """Settings to search, as parse_knob reads them; empty for the usual ones."""
    from_base: bool = False
    pruner: str = "halving"
    sampler: str = "tpe"
    storage: str | None = None
    """Address of a database that several machines share; None for the study's own file."""
    fresh: bool = False
    gives_way: bool = True
    """Whether trials have the lowest priority for processor and disk."""
    finals: bool = True
    """Whether finalists and seeds follow; False on machines that only help with trials."""


@dataclass(frozen=True, slots=True)
class Show:
    """
    How a person follows it.
    """

    line: Callable[[str], None]
    """Something that stays on the screen."""
    status: Callable[[str], None]
    """What is going on; the next one replaces it."""


def search_space(config: Config, start: Start, texts: tuple[str, ...]) -> tuple[Knob, ...]:
    """
    Return what is searched: what *texts* say, else the usual settings.

    Raises:
        ConfigError: A setting cannot be searched, or has no effect from this start.
    """
    if not texts:
        return default_space(
            config.training, new_adapter=start.new_adapter, replays=bool(start.earlier)
        )
    knobs = parse_space(texts)
    if not start.new_adapter:
        without_effect(knobs, start.name)
    return knobs


def found_before(
    layout: Layout, config: Config, own: StudyFolder
) -> list[tuple[str, dict[str, Value]]]:
    """
    Return what other studies of the same base found, the newest first, each with its name.
    """
    found = []
    files = sorted(layout.tuning.glob("*/result.json"), key=lambda f: -f.stat().st_mtime)
    for file in files:
        result = read_result(file)
        if result is None or file.parent == own.path or result.facts.base != config.model.base:
            continue
        best = next(iter(done(result.trials)), None)
        if best is not None:
            found.append((result.study, dict(best.settings)))
    return found[:_WARM_STARTS]
