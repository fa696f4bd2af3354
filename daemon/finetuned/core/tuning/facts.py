"""
What the trials of a study have in common, and what changed since they were made.

Trials of other rows, another head or another space cannot be compared, so a study that finds
one of these changed is not continued.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetuned.core.tuning.space import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyFacts:
    """
    What must not change in a study.
    """

    file: str
    """Name of the dataset's file, for people."""
    sha256: str
    """Of the file."""
    n_train: int
    """Training sequences."""
    n_held_out: int
    split: dict[str, Value]
    """The section [data], which decides how the rows are read and split."""
    base: str
    """``model.base``."""
    start: str
    """What every trial goes on from: a version, or "base"."""
    start_sha256: str
    """Of that version's manifest; empty for the base model."""
    space: tuple[str, ...]
    """Each searched setting as text."""
    training: dict[str, Value]
    """The section [training] of today: what is not searched is as it says."""
    model: dict[str, Value]
    """Device, precision and template of all trials."""


def differences(was: StudyFacts, now: StudyFacts) -> list[str]:
    """
    Return a phrase for each thing that is not as it was, in the order of importance.
    """
    found = []
    if was.sha256 != now.sha256:
        found.append(
            f"the dataset: {now.file} has sha256 {now.sha256[:12]}, the study was made on "
            f"{was.file} with {was.sha256[:12]}"
        )
    if (was.start, was.start_sha256) != (now.start, now.start_sha256):
        other = "" if was.start != now.start else ", which was made again"
        found.append(f"the start: trials went on from {was.start}, now from {now.start}{other}")
    if was.base != now.base:
        found.append(f"the base model: it was {was.base}, now it is {now.base}")
    if was.space != now.space:
        found.append(f"the space: it was {' '.join(was.space)}, now it is {' '.join(now.space)}")
    for section, old, new in (
        ("data", was.split, now.split),
        ("training", was.training, now.training),
        ("model", was.model, now.model),
    ):
        found += [
            f"{section}.{key}: it was {old.get(key)!r}, now it is {new.get(key)!r}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
        ]
    same_rows = was.sha256 == now.sha256 and was.split == now.split
    if same_rows and (was.n_train, was.n_held_out) != (now.n_train, now.n_held_out):
        found.append(
            f"the split: {was.n_train} rows to train and {was.n_held_out} held out, now "
            f"{now.n_train} and {now.n_held_out}"
        )
    return found
