"""
The ways of training that experiments/replay_experiment.py compares, and what each trains.

An arm is named by its parts, joined by "+": what it rehearses, then what else differs.

    joint          one job of all files: what the model can learn of them at once
    all            each job trains every row of all earlier files along with its own
    none           each job trains its own rows alone
    p300           each job presents the rows of every earlier file 300 times
    p300+5e-4      the same, and files after the first are trained at that rate
    p300+measured  the same as p300, and after each file all files so far are asked, from which
                   follows what is presented more often or less, as in the daemon
    p300+average   the same as p300, and a job keeps the part of its change that loses least

Does not know how a job is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Arm:
    """
    One way of training.
    """

    name: str
    presentations: int = 0
    """training.replay_presentations."""
    later_rate: float | None = None
    """Learning rate of the files after the first; None for that of the first."""
    average: bool = False
    """training.average: whether a job may keep a part of its change, by held-out loss."""
    measured: bool = False
    """Whether the answers after each file decide how often a family is presented next."""
    joint: bool = False
    """Whether all files are one job."""
    all_rows: bool = False
    """Whether each job has all files before it as files of its own."""

    @classmethod
    def named(cls, name: str) -> Arm:
        """
        Return the arm of that name.

        Raises:
            ValueError: A part of the name is none.
        """
        what, *rest = name.split("+")
        found: dict[str, Any] = {"name": name}
        if what in ("joint", "all", "none"):
            found |= {"joint": what == "joint", "all_rows": what == "all"}
        elif match := re.fullmatch(r"p(\d+)", what):
            found["presentations"] = int(match[1])
        else:
            raise ValueError(f"{name}: {what!r} is no way to rehearse")
        for part in rest:
            if part in ("average", "measured"):
                found[part] = True
                continue
            if not re.fullmatch(r"[\d.]+e-\d+", part):
                raise ValueError(f"{name}: {part!r} is no part of an arm")
            found["later_rate"] = float(part)
        return cls(**found)

    def training(self, file: int) -> dict[str, Any]:
        """
        Return the settings of [training] in which file *file*, from 0, differs.
        """
        settings: dict[str, Any] = {
            "replay_presentations": self.presentations,
            "average": self.average,
        }
        if self.later_rate is not None and file > 0:
            settings["learning_rate"] = self.later_rate
        return settings


@dataclass(frozen=True, slots=True)
class Job:
    """
    What one job of an arm trains.
    """

    title: str
    datasets: tuple[Mapping[str, Any], ...]
    epochs: int
    earlier: tuple[str, ...] = ()
    """Folders of the datasets that the jobs before have learnt."""


def jobs(arm: Arm, datasets: Sequence[Mapping[str, Any]], epochs: Sequence[int]) -> list[Job]:
    """
    Return the jobs of *arm*, in order.

    Args:
        arm: The arm.
        datasets: One for each file, in order, with its ``name``.
        epochs: Passes over each file. In a joint job a file stands that often in the
            list, which is passed over once: it is presented as often as in a chain.
    """
    titles = [str(dataset["name"]).removesuffix(".jsonl") for dataset in datasets]
    if arm.joint:
        listed = [d for d, n in zip(datasets, epochs, strict=True) for _ in range(n)]
        return [Job("all at once", tuple(listed), 1)]
    return [
        Job(
            title,
            tuple(datasets[: i + 1]) if arm.all_rows else (datasets[i],),
            n,
            tuple(str(dataset["dir"]) for dataset in datasets[:i]),
        )
        for i, (title, n) in enumerate(zip(titles, epochs, strict=True))
    ]
