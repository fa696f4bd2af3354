"""
What each dropped file was worth: its share of the cost, and what its training changed.

Reads the journal, the eval reports that exist, and the datasets. Asks no model anything: the
rows that were right before a training are those that its evaluation asked of the model that
was trained on. What is gone (a deleted dataset, a version without its folder) is said and not
guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from finetuned.config import CostsConfig
from finetuned.core.cost import Cost, Prices, price_of_a_point, return_on, shares_by, total
from finetuned.core.dataset_state import DatasetState
from finetuned.core.evidence import evidence_of
from finetuned.core.job import JobState
from finetuned.core.set_aside import halves
from finetuned.core.suite_origin import HELD_OUT
from finetuned.core.worth import (
    Effect,
    Right,
    Worth,
    effect_of_counts,
    effect_of_pairs,
    worth_of,
)
from finetuned.files.dataset_result import report_of
from finetuned.files.journal_view import JournalView
from finetuned.files.rows import DatasetRow, JobRow
from finetuned.files.run import REPORT, read_json
from finetuned.files.tables.history import Answers
from finetuned.layout import Layout
from finetuned.reports.job_costs import JobCosts, job_costs

if TYPE_CHECKING:
    from finetuned.data.near_rows import NearRows
    from finetuned.reports.near_files import NearFiles

PARENTS = ("head", "incumbent", "base")
"""Subjects of an evaluation that the candidate may have been trained on, the likeliest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileWorth:
    """
    One dropped file. None is what is not known; ``notes`` say why.
    """

    key: str
    name: str
    dataset_id: str | None
    state: DatasetState
    jobs: tuple[str, ...]
    """Every job that it was given to."""
    version: str | None
    """What the last of them made."""
    verdict: JobState | None
    """The state of the last of them."""
    rows: int | None
    train_rows: int | None
    tokens: int | None
    """Of its sequences, prompts and answers."""
    trained_tokens: int
    """Tokens with loss in the steps of its trainings, repeats counted."""
    together: int
    """Other files in its last job."""
    share: float | None
    """Of the cost of its last job, 0 to 1."""
    cost: Cost
    """Its share of all runs of its jobs."""
    effects: tuple[Effect, ...]
    """What the last judged training changed, on every suite that both models were asked."""
    before: Right | None
    """Its held-out rows, as the model that was trained on answered them."""
    near: NearRows | None
    """Its rows that are near one that was learnt before, or is in an earlier file of its job."""
    price_of_a_point: float | None
    returned: float | None
    """(Value - cost) / cost; None without costs.value_per_point."""
    notes: tuple[str, ...]

    @property
    def own(self) -> Effect | None:
        """What changed on its own held-out rows."""
        suite = f"{HELD_OUT}{self.dataset_id}"
        return next((effect for effect in self.effects if effect.suite == suite), None)

    @property
    def worth(self) -> Worth | None:
        """Whether its training paid; None if it was not judged."""
        return None if self.own is None else worth_of(self.own, near=self.near_share)

    @property
    def near_share(self) -> float | None:
        """Share of near rows, 0 to 1; None if it is not known."""
        near = self.near
        return None if near is None or not near.looked else near.near / near.looked


def prices_of(config: CostsConfig) -> Prices:
    """
    Return the prices that the configuration names.
    """
    return Prices(
        kwh=config.price_per_kwh,
        device_hour=config.price_per_device_hour,
        cpu_core_watts=config.cpu_core_watts,
        gpu_watts=config.gpu_watts,
    )


class Worths:
    """
    The files of one root, each looked at when it is asked for.
    """

    def __init__(self, layout: Layout, view: JournalView, config: CostsConfig) -> None:
        """
        Raises:
            sqlite3.Error, CorruptRow: The journal cannot be read.
        """
        self._layout, self._view, self._config = layout, view, config
        history = view.history
        self.datasets = history.datasets()
        self.jobs: dict[str, JobRow] = {job.id: job for job in history.jobs()}
        self.costs: JobCosts = job_costs(history.runs(), view.usage.all(), prices_of(config))
        self._trained: dict[str, dict[str, int]] = {}
        for row in history.trained():
            self._trained.setdefault(row.job_id, {})[row.dataset_id] = row.n_supervised_tokens
        self._jobs_of: dict[str, list[str]] = {}
        self._keys_of: dict[str, list[str]] = {}
        for key, job_id in history.jobs_of_datasets():
            self._jobs_of.setdefault(key, []).append(job_id)
            self._keys_of.setdefault(job_id, []).append(key)
        self._by_key = {row.key: row for row in self.datasets}
        self._report = cache(self._read_report)
        self._learnt: dict[str | None, list[str]] = {}

    def of_job(self, job_id: str) -> list[DatasetRow]:
        """
        Return the files that a job was given.
        """
        return [self._by_key[key] for key in self._keys_of.get(job_id, ()) if key in self._by_key]

    def of(self, dataset: DatasetRow, near: NearFiles, *, whole: bool) -> FileWorth:
        """
        Return what one file was worth.

        Args:
            dataset: The file.
            near: Its rows and those of what was learnt before it: see look_for().
            whole: Whether to look at every suite, else at its own held-out rows alone.
        """
        job_ids = [j for j in self._jobs_of.get(dataset.key, ()) if j in self.jobs]
        notes: list[str] = []
        shares = {job_id: self._share(job_id, dataset) for job_id in job_ids}
        cost = total(self.costs.of(job_id).share(shares[job_id]) for job_id in job_ids)
        last = self.jobs[job_ids[-1]] if job_ids else None
        effects, before = self._changed(dataset, job_ids, whole=whole, notes=notes)
        own = next((e for e in effects if e.suite == f"{HELD_OUT}{dataset.dataset_id}"), None)
        tokens = self._tokens(dataset, notes)
        _note_costs(cost, notes)
        return FileWorth(
            key=dataset.key,
            name=dataset.name,
            dataset_id=dataset.dataset_id,
            state=dataset.state,
            jobs=tuple(job_ids),
            version=None if last is None else last.version,
            verdict=None if last is None else last.state,
            rows=dataset.n_rows,
            train_rows=dataset.n_train_rows,
            tokens=tokens,
            trained_tokens=sum(
                self._trained.get(j, {}).get(dataset.dataset_id or "", 0) for j in job_ids
            ),
            together=0 if last is None else max(0, len(self._keys_of[last.id]) - 1),
            share=None if last is None else shares[last.id],
            cost=cost,
            effects=effects,
            before=before,
            near=self._near(dataset, last, near, notes),
            price_of_a_point=None
            if own is None
            else price_of_a_point(cost.money, own.points, (own.low, own.high)),
            returned=None
            if own is None
            else return_on(cost.money, own.points, self._config.value_per_point),
            notes=tuple(notes),
        )

    def look_for(self, datasets: Sequence[DatasetRow]) -> NearFiles:
        """
        Read the rows of *datasets*, and of what was learnt before them.
        """
        found = {row.dataset_id for row in datasets if row.dataset_id is not None}
        for row in datasets:
            for job_id in self._jobs_of.get(row.key, ()):
                found.update(self._before(job_id, row.key))
        # numpy takes tenths of a second to load, which a page without this part need not wait for.
        from finetuned.reports.near_files import NearFiles

        return NearFiles(self._layout, sorted(found))

    # -- its share ---------------------------------------------------------------

    def _share(self, job_id: str, dataset: DatasetRow) -> float:
        """Return a file's part of a job: by trained tokens, by rows if nothing was trained."""
        files = self.of_job(job_id)
        tokens = self._trained.get(job_id)
        amounts: dict[str, float] = {}
        for row in files:
            known = None if tokens is None else tokens.get(row.dataset_id or "", 0)
            amounts[row.key] = float(row.n_train_rows or 0 if known is None else known)
        return shares_by(amounts).get(dataset.key, 0.0)

    def _tokens(self, dataset: DatasetRow, notes: list[str]) -> int | None:
        if dataset.dataset_id is None or dataset.state is DatasetState.QUARANTINED:
            return None
        found = (report_of(self._layout, dataset) or {}).get("tokens")
        if isinstance(found, int):
            return found
        notes.append("its dataset is deleted: tokens and near rows are not known")
        return None

    def _near(
        self, dataset: DatasetRow, last: JobRow | None, near: NearFiles, notes: list[str]
    ) -> NearRows | None:
        """Return how many of its rows are near a row that came before it."""
        if dataset.dataset_id is None or last is None or last.config is None:
            return None
        found, missing = near.near(dataset.dataset_id, self._before(last.id, dataset.key))
        if found is not None and missing:
            notes.append(f"earlier datasets that are deleted: {missing}; near rows may be more")
        return found

    def _before(self, job_id: str, key: str) -> list[str]:
        """Return the datasets that came before a file: learnt before its job, or earlier in it."""
        parent = self.jobs[job_id].parent if job_id in self.jobs else None
        if parent not in self._learnt:
            lineage = self._view.versions.lineage(parent)
            self._learnt[parent] = [e.dataset_id for e in self._view.datasets.learnt_by(lineage)]
        beside = [row.dataset_id for row in self.of_job(job_id) if row.key < key]
        return [*self._learnt[parent], *(d for d in beside if d is not None)]

    # -- what changed ------------------------------------------------------------

    def _changed(
        self, dataset: DatasetRow, job_ids: Sequence[str], *, whole: bool, notes: list[str]
    ) -> tuple[tuple[Effect, ...], Right | None]:
        judged = [self.jobs[j] for j in job_ids if self.jobs[j].version is not None]
        if not job_ids or self.jobs[job_ids[-1]] not in judged:
            state = None if not job_ids else self.jobs[job_ids[-1]].state
            notes.append(
                _why_no_job(dataset)
                if state is None
                else f"its job {job_ids[-1]} was not judged: it is {state}"
            )
        if not judged:
            return (), None
        job, suite = judged[-1], f"{HELD_OUT}{dataset.dataset_id}"
        answers = self._view.history.answers(job.id)
        wanted = None if whole else suite
        found = {e.suite: e for e in _effects_of_counts(answers) if wanted in (None, e.suite)}
        report = self._report(job.version or "")
        if report is not None:
            found |= {e.suite: e for e in _effects_of(report, wanted)}
        elif found:
            notes.append(f"{job.version} has no readable eval report: intervals are from counts")
        else:
            notes.append(f"nothing is known of what {job.version} was asked")
        return tuple(found.values()), _right_before(answers, suite)

    def _read_report(self, version: str) -> Mapping[str, Any] | None:
        return read_json(self._layout.versions / version / REPORT) if version else None


def _effects_of(report: Mapping[str, Any], wanted: str | None) -> list[Effect]:
    """Return the changes from the model that was trained on, by the same questions."""
    evidence = evidence_of(report)
    suites = evidence.head or evidence.suites
    found = (effect_of_pairs(s) for s in suites if wanted in (None, s.name))
    return [effect for effect in found if effect is not None]


def _effects_of_counts(answers: list[Answers]) -> list[Effect]:
    found = []
    for after in answers:
        before = _parent(answers, after.suite)
        if after.subject != "candidate" or before is None:
            continue
        effect = effect_of_counts(
            after.suite,
            after.title,
            after.origin,
            before=Right(before.right, before.asked),
            after=Right(after.right, after.asked),
        )
        found += [] if effect is None else [effect]
    return found


def _parent(answers: list[Answers], suite: str) -> Answers | None:
    """Return how the model that was trained on did; the same weights are asked under one name."""
    by_subject = {a.subject: a for a in answers if a.suite == suite}
    return next((by_subject[s] for s in PARENTS if s in by_subject), None)


def _right_before(answers: list[Answers], suite: str) -> Right | None:
    found = _parent(answers, suite)
    return None if found is None or not found.asked else Right(found.right, found.asked)


def _why_no_job(dataset: DatasetRow) -> str:
    if dataset.duplicate_of is not None:
        return f"it has the same bytes as {dataset.duplicate_of}"
    return f"no job was made of it: {halves(dataset.reason or str(dataset.state))[0]}"


def _note_costs(cost: Cost, notes: list[str]) -> None:
    if cost.untimed:
        notes.append(f"{cost.untimed} of {cost.runs} runs have no known end: not charged")
    if cost.unmetered:
        notes.append(f"the energy of {cost.unmetered} of {cost.runs} runs was not measured")
