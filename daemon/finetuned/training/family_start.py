"""
Which adapter a job goes on from if each family of files has one of its own.

With training.adapters = "families" a job whose rows are of a kind that the parent knows goes
on from the adapter of that family; other rows begin an adapter of their own, and forget
nothing. It is a function of the parent, the rows and the configuration: every run of a job
finds the same. Does not know weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from finetuned.core.family_choice import profile
from finetuned.core.line_set import LineSet
from finetuned.data.families import ALIKE, MAX_ROWS, MIN_ROWS, Look, Row, likeness, look
from finetuned.data.last_user_turn import LastUserTurn
from finetuned.data.render import Renderer
from finetuned.data.replay import Reservoir, file_of
from finetuned.errors import ConfigError
from finetuned.files.family_list import (
    OWN,
    Family,
    FamilyFile,
    choice_of,
    read_families,
)
from finetuned.files.manifest import verify_manifest
from finetuned.files.model_manifest import read_model_manifest
from finetuned.files.spec import TrainingSpec
from finetuned.layout import MANIFEST
from finetuned.training.parent_state import REPLAY, TRAINING_STATE
from finetuned.training.replay_rows import own_looks
from finetuned.training.rows import JobRows

MAX_PROMPTS: Final = 1000
"""As many prompts of a family are looked at for its profile, spread over its kept rows."""

_MAX_FILES: Final = 32
"""As many files of a family are compared with a job, beside all of its rows together."""

FAMILIES: Final = "families"
"""Value of training.adapters."""


@dataclass(frozen=True, slots=True)
class FamilyStart:
    """
    The family of a job, and where its adapter is.
    """

    name: str
    version: Path | None
    """The parent; None for a first job."""
    folder: Path | None
    """Of the adapter to go on from; None for a fresh one."""
    files: tuple[FamilyFile, ...]
    """What the family has learnt before."""
    others: tuple[Family, ...]
    """The other families of the parent, whose adapters stay as they are."""
    because: str
    """For people: how the family was told."""

    @property
    def is_new(self) -> bool:
        """Whether the job begins an adapter beside those of the parent."""
        return self.folder is None and self.version is not None

    def narrowed(self, spec: TrainingSpec) -> TrainingSpec:
        """
        Return *spec* as a job of this family alone: its parent, and what that has learnt.
        """
        ids = {file.dataset_id for file in self.files}
        earlier = tuple(folder for folder in spec.earlier if folder.name in ids)
        return replace(spec, parent=self.folder, earlier=earlier)


def find_start(spec: TrainingSpec, renderer: Renderer) -> FamilyStart | None:
    """
    Return the family of a job, None if one adapter learns everything.

    Raises:
        ConfigError: The parent has families and they are switched off, or it has kept no rows
            by which its family could be known again.
        CorruptFile: A file of the parent is not what it was.
        ModelError: The parent's list of families, or the rows that it kept, cannot be read.
    """
    known = read_families(spec.parent)
    if spec.config.training.adapters != FAMILIES:
        _refuse_one(spec.parent, known)
        return None
    if spec.parent is None:
        return _fresh(spec, (), "it is the first job")
    if spec.parent == spec.base:  # a merged model: its next adapter is of all that it knows
        plain = _plain(spec.parent, _kept_rows(spec.parent), LastUserTurn(renderer))
        return _continued(spec, plain, (), "the parent is one merged model")
    check_whole(spec.parent)
    turns = LastUserTurn(renderer)
    if not known:
        known = (_plain(spec.parent, _kept(spec.parent, spec.parent.name), turns),)
    kept = {f.name: _kept(f.path(spec.parent), f.name) for f in known}
    found, because = _find(spec, known, kept, turns)
    if found is None:
        return _fresh(spec, known, because)
    return _continued(spec, found, tuple(f for f in known if f is not found), because)


def check_whole(version: Path) -> None:
    """
    Check every file of *version*, those of all its families too.

    What a job carries along gets a new manifest: damage would look sound from then on.

    Raises:
        CorruptFile, ModelError: A file is not what it was.
    """
    if (version / MANIFEST).is_file():
        verify_manifest(version)


def _refuse_one(parent: Path | None, known: Sequence[Family]) -> None:
    if len(known) > 1 and parent is not None:
        raise ConfigError(
            f'training.adapters is "one", but {parent.name} has an adapter for each of '
            f'{len(known)} families of files; set it to "{FAMILIES}", or go back to a version '
            "with one adapter: finetuned versions rollback --head"
        )


def _fresh(spec: TrainingSpec, others: tuple[Family, ...], because: str) -> FamilyStart:
    taken = {family.name for family in others}
    ids = [d.dataset_id for d in spec.datasets]
    name = next((i for i in ids if i not in taken), f"{ids[0]}-{len(taken)}")
    return FamilyStart(name, spec.parent, None, (), others, because)


def _continued(
    spec: TrainingSpec, found: Family, others: tuple[Family, ...], because: str
) -> FamilyStart:
    folder = None if spec.parent is None else found.path(spec.parent)
    return FamilyStart(found.name, spec.parent, folder, found.files, others, because)


def _kept(folder: Path, name: str) -> Reservoir:
    """Return the rows that an adapter keeps of what it has learnt."""
    kept = _kept_rows(folder)
    if len(kept) == 0:
        raise ConfigError(
            f'training.adapters is "{FAMILIES}", but {name} keeps no rows of what it has learnt '
            "(it was trained with training.replay_rows = 0), so its family cannot be known "
            'again; set training.adapters = "one", or start without it: finetuned versions '
            "rollback --head"
        )
    return kept


def _kept_rows(folder: Path) -> Reservoir:
    place = folder / TRAINING_STATE / REPLAY
    return Reservoir.load(place) if place.is_dir() else Reservoir.empty()


def _plain(version: Path, kept: Reservoir, turns: LastUserTurn) -> Family:
    """Return a version with one adapter as the one family that it is."""
    manifest = read_model_manifest(version)
    names = {d.dataset_id: d.name for d in manifest.datasets}
    ids = sorted({*map(file_of, kept.example_ids), *names})
    files = tuple(FamilyFile(i, names.get(i, "")) for i in ids)
    name = ids[0] if ids else version.name
    return Family(name, OWN, files, profile(prompts_of(kept, turns)))


def prompts_of(kept: Reservoir, turns: LastUserTurn) -> Iterable[str]:
    """
    Return what users ask in rows that are kept, MAX_PROMPTS of them at most.
    """
    step = max(1, -(-len(kept) // MAX_PROMPTS))
    return (turns.of(kept[i]) for i in range(0, len(kept), step))


def _find(
    spec: TrainingSpec,
    known: Sequence[Family],
    kept: dict[str, Reservoir],
    turns: LastUserTurn,
) -> tuple[Family | None, str]:
    """Return the family of the job's rows, None if there is none, and how it was told."""
    rows = JobRows(
        [d.dir for d in spec.datasets],
        [d.name for d in spec.datasets],
        lines=[None if d.lines is None else LineSet.from_text(d.lines) for d in spec.datasets],
    )
    own = [one for one in own_looks(rows) if one.n_rows >= MIN_ROWS]
    if not own:
        return _by_words(known, [turns.of(_row(rows, int(n))) for n in rows.chosen[:MIN_ROWS]])
    alike = {
        family.name: max(
            (likeness(a, mine) for a in _looks(kept[family.name]) for mine in own), default=0.0
        )
        for family in known
    }
    best = max(known, key=lambda family: alike[family.name])
    said = (
        f"its rows and those of family {best.name} are {alike[best.name]:.2f} times as alike as "
        f"within each, {ALIKE:g} is one kind"
    )
    return (best if alike[best.name] >= ALIKE else None), said


def _by_words(known: Sequence[Family], prompts: Sequence[str]) -> tuple[Family, str]:
    """Return the family of a few rows: where most of their questions would go."""
    choice = choice_of(known)
    votes = Counter(choice.choose(prompt) for prompt in prompts)
    name = max(known, key=lambda f: votes[f.name]).name
    said = f"{len(prompts)} rows are too few to tell a family by; by its words it is {name}"
    return next(f for f in known if f.name == name), said


def _row(rows: JobRows, number: int) -> Row:
    ids, supervised = rows[number]
    return np.asarray(ids), np.asarray(supervised)


def _looks(kept: Reservoir) -> list[Look]:
    """Return what a family looks like: all of it together, and its files with rows enough."""
    of_file: dict[str, list[int]] = {}
    for i, name in enumerate(kept.example_ids):
        of_file.setdefault(file_of(name), []).append(i)
    step = max(1, -(-len(kept) // MAX_ROWS))
    found = [look([kept[i] for i in range(0, len(kept), step)])]
    largest = sorted(of_file.values(), key=len, reverse=True)[:_MAX_FILES]
    found += [look([kept[i] for i in rows[:MAX_ROWS]]) for rows in largest]
    return [one for one in found if one.n_rows >= MIN_ROWS]
