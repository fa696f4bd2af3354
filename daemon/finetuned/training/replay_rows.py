"""
The rows of a job: its own, and those of earlier jobs of its lineage that it presents again.

Which rows those are is a function of the job, the lineage's sample and the configuration:
every run of the job draws the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high
from typing import Final

import numpy as np
import numpy.typing as npt

from finetuned.core.line_set import LineSet
from finetuned.core.replay_quota import Family, Quota, quotas
from finetuned.data.families import MAX_ROWS, Look, families, look, of_one_kind
from finetuned.data.replay import Reservoir, file_of
from finetuned.files.spec import TrainingSpec
from finetuned.training.rows import JobRows

MOST_TOLD: Final = 10
"""Families that the heartbeat and the log name; of the others they say how many there are."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """
    What a job presents of one family of earlier files.
    """

    files: tuple[str, ...]
    """Dataset ids."""
    quota: Quota
    numbers: npt.NDArray[np.int64]
    """Rows of the reservoir, repeats counted, shape (quota.presentations,)."""


def job_rows(
    spec: TrainingSpec, seed: int, reservoir: Reservoir | None
) -> tuple[JobRows, list[Drawn]]:
    """
    Return the rows of a job, and what of them is presented again.

    Args:
        spec: Names the datasets, training.replay_presentations and spec.replay_weights.
        seed: Seed of the job, from which the rows are drawn.
        reservoir: Sample of the rows that the lineage has learnt; None for a first job.
    """
    training = spec.config.training
    folders, names = [d.dir for d in spec.datasets], [d.name for d in spec.datasets]
    lines = [None if d.lines is None else LineSet.from_text(d.lines) for d in spec.datasets]
    rows = JobRows(folders, names, lines=lines)
    if not training.replay_presentations or reservoir is None or not len(reservoir):
        return rows, []
    drawn = draw(
        reservoir,
        own=own_looks(rows),
        presentations=training.replay_presentations,
        new=len(rows.chosen) * training.num_train_epochs,
        weights=dict(spec.replay_weights),
        seed=seed,
    )
    numbers = np.concatenate([np.empty(0, np.int64), *(d.numbers for d in drawn)])
    groups = np.repeat(np.arange(len(drawn)), [len(d.numbers) for d in drawn])
    order = np.argsort(numbers, kind="stable")  # as picked returns them
    return JobRows(folders, names, reservoir.picked(numbers), lines, groups[order]), drawn


def told(drawn: Sequence[Drawn]) -> tuple[str, ...]:
    """
    Return what is said of *drawn* in the heartbeat and the log: the MOST_TOLD largest families.

    One sentence each, such as "300 rows of 1 file (c6ec8fc30476317b): as configured", and one
    about those that are not named.
    """
    ordered = sorted(drawn, key=lambda d: (-len(d.numbers), d.files))
    shown, rest = ordered[:MOST_TOLD], ordered[MOST_TOLD:]
    n_rows = sum(d.quota.presentations for d in rest)
    more = (f"{n_rows} rows of {len(rest)} more families",) if rest else ()
    named = tuple(
        f"{d.quota.presentations} rows of {len(d.files)} file{'s' * (len(d.files) > 1)} "
        f"({d.files[0]}{', ...' * (len(d.files) > 1)}): {d.quota.because}"
        for d in shown
    )
    return named + more


def own_looks(rows: JobRows) -> list[Look]:
    """
    Return what the job's own files look like, each by rows that are spread over it.
    """
    index = np.array([rows.locate(int(n))[0] for n in _spread(rows.chosen, 64 * MAX_ROWS)])
    found = []
    for part in np.unique(index):
        start = sum(len(d) for d in rows.datasets[:part])
        own = rows.chosen[(rows.chosen >= start) & (rows.chosen < start + len(rows.datasets[part]))]
        inner = _spread(own, MAX_ROWS) - start
        found.append(look([rows.datasets[part][int(i)] for i in inner]))
    return found


def _spread(numbers: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    return numbers[:: max(1, -(-len(numbers) // most))]


def draw(
    reservoir: Reservoir,
    *,
    own: Sequence[Look],
    presentations: int,
    new: int,
    weights: Mapping[str, float],
    seed: int,
) -> list[Drawn]:
    """
    Draw the rows that a job presents again: of each family of files, equally often.

    Args:
        reservoir: The rows to draw from, at least one.
        own: The job's own files.
        presentations: Wanted of each family.
        new: Presentations of the job's own rows.
        weights: By dataset id, as Family.weight; 1 for a file that is not named.
        seed: Same seed, same rows.

    Returns:
        One for each family. In a family each file is presented equally often, and a row again
        only after all others of its file.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    of_file: dict[str, list[int]] = {}
    for i, name in enumerate(reservoir.example_ids):
        of_file.setdefault(file_of(name), []).append(i)
    files = sorted(of_file)
    looks = {f: look([reservoir[i] for i in of_file[f][:MAX_ROWS]]) for f in files}
    found = families(looks)
    found = [found[i] for i in rng.permutation(len(found))]  # what is left over goes to the first
    wanted = [
        Family(
            rows=sum(len(of_file[f]) for f in members),
            same_kind=any(of_one_kind(looks[members[0]], mine) for mine in own),
            weight=median_high(weights.get(f, 1.0) for f in members),
        )
        for members in found
    ]
    given = quotas(wanted, presentations=presentations, new=new)
    return [
        Drawn(tuple(members), quota, _rows([of_file[f] for f in members], quota.presentations, rng))
        for members, quota in zip(found, given, strict=True)
    ]


def _rows(files: list[list[int]], n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw *n* rows: of each file equally many, give or take one; a row again after all others."""
    share, more = divmod(n, len(files))
    extra = set(rng.permutation(len(files))[:more].tolist())
    drawn = [np.empty(0, np.int64)]
    for i, rows in enumerate(files):
        wanted = share + (i in extra)
        rounds = [rng.permutation(rows) for _ in range(-(-wanted // len(rows)))]
        drawn += [np.concatenate([np.empty(0, np.int64), *rounds])[:wanted].astype(np.int64)]
    return np.concatenate(drawn)
