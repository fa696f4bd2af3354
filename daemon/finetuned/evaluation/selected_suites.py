"""
Which questions one evaluation asks: held-out rows by a budget, and the suites of benchmarks/.

A suite that cannot be read gets a problem and no questions, so that the gate sees that it
is missing. Does not know models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

from finetuned.config import EvaluationConfig
from finetuned.core.answer_format import AnswerFormat
from finetuned.core.job import JobKind
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.answer_formats import configured_format
from finetuned.data.render import Renderer
from finetuned.data.store import TokenisedDataset
from finetuned.data.suite import (
    Question,
    Suite,
    held_out_suite,
    load_suite,
    questions_of,
    suite_files,
    with_format,
)
from finetuned.data.swapped import with_swapped_questions
from finetuned.errors import MalformedExample, SuiteError
from finetuned.files.eval_report import SuiteRecord
from finetuned.files.spec import EvaluationSpec, HeldOutRows
from finetuned.layout import CANARIES

FREE_MODE = "free"
BOTH_MODES = "both"
"""In evaluation.format_mode."""

EVERY = "*"
"""In evaluation.suites: every suite of the folder."""


@dataclass(frozen=True, slots=True)
class PickedSuite:
    """
    A suite as it is asked, or the reason why it cannot be.
    """

    suite: Suite
    problem: str | None = None
    """Why it cannot be asked; None if it can."""
    n_unasked: int = 0
    """Questions that the model did not have to answer; see first_part()."""
    n_left_out: int = 0
    """Questions beside these for which there is no time; see evaluation/plan.py."""
    swapped: Suite | None = None
    """Its answers after the questions of other rows, which the candidate's loss is taken of."""

    def record(self) -> SuiteRecord:
        """
        Return what a report gives for the suite.
        """
        suite = self.suite
        return SuiteRecord(
            name=suite.name,
            origin=suite.origin,
            title=suite.title,
            dataset_id=suite.dataset_id,
            sha256=suite.sha256,
            n_items=len(suite.questions),
            required=bool(suite.questions) or not self.n_unasked,
            problem=self.problem,
            n_unasked=self.n_unasked,
            n_left_out=self.n_left_out,
        )


def spread(counts: Sequence[int], limit: int) -> list[int]:
    """
    Share *limit* questions over sets of the given sizes, as evenly as they allow.

    Args:
        counts: Number of questions of each set, >= 0.
        limit: Most questions in all, >= 0.

    Returns:
        How many to take of each: at most as many as it has, together min(limit, sum).
    """
    taken = [0] * len(counts)
    left = min(limit, sum(counts))
    while left:
        open_sets = [i for i, n in enumerate(counts) if taken[i] < n]
        share = max(1, left // len(open_sets))
        for i in open_sets:
            more = min(share, counts[i] - taken[i], left)
            taken[i] += more
            left -= more
    return taken


def first_part(suites: Sequence[PickedSuite], limit: int) -> list[PickedSuite]:
    """
    Return the suites as a first look asks them: all new rows and canaries, and some of the rest.

    Of the rest only the loss of the expected answer is taken: it costs a small part of an
    answer, and a change shows in it sooner. Such questions count as not asked.

    A larger limit keeps what a smaller one asks, so that models which were asked before know
    most losses.

    Args:
        suites: Whole.
        limit: Most questions of each benchmark, and of all older datasets together, >= 1.
    """
    older = [s for s in suites if s.suite.origin is SuiteOrigin.OLD]
    shares = spread([len(s.suite.questions) for s in older], limit)
    share_of = dict(zip([s.suite.name for s in older], shares, strict=True))
    return [
        _part(s, share_of.get(s.suite.name, limit))
        if s.suite.origin in (SuiteOrigin.OLD, SuiteOrigin.BENCHMARK)
        else s
        for s in suites
    ]


def _part(picked: PickedSuite, n: int) -> PickedSuite:
    """Return some questions of a suite, always the same ones, of which only the loss is taken."""
    questions = picked.suite.questions
    ranked = sorted(questions, key=lambda q: (crc32(q.id.encode()), q.id))
    kept = {q.id for q in ranked[:n] if q.scored}
    part = tuple(replace(q, generated=False) for q in questions if q.id in kept)
    return replace(picked, suite=replace(picked.suite, questions=part), n_unasked=len(questions))


def pick_suites(spec: EvaluationSpec) -> list[PickedSuite]:
    """
    Return all suites that an evaluation is about; in a watch the canaries alone.
    """
    job, config = spec.job, spec.config.evaluation
    if job is None:
        return pick_benchmarks(spec.benchmarks, CANARIES)
    return [
        *pick_held_out(job.new, job.old, config.final_max_rows),
        *pick_benchmarks(spec.benchmarks, config.suites, also=job.also),
    ]


def asked_suites(spec: EvaluationSpec, renderer: Renderer) -> list[PickedSuite]:
    """
    Return all suites that an evaluation is about, as the candidate is asked them.

    Raises:
        ConfigError: The format of ``model.answer_format`` cannot be used.
    """
    default = configured_format(spec.answer_format, Path("/"))
    return [
        with_control(
            formatted(renderable(picked, renderer), default, spec.config.evaluation), spec, renderer
        )
        for picked in pick_suites(spec)
    ]


def with_control(picked: PickedSuite, spec: EvaluationSpec, renderer: Renderer) -> PickedSuite:
    """
    Return a suite of the job's own files with its answers after other questions.
    """
    job, suite = spec.job, picked.suite
    if job is None or job.job_kind is not JobKind.TRAINING or picked.problem is not None:
        return picked
    own = {dataset.dataset_id for dataset in job.datasets}
    if not spec.config.gate.answers_follow or suite.dataset_id not in own:
        return picked
    return replace(picked, swapped=with_swapped_questions(suite, renderer.render))


def pick_held_out(
    new: Sequence[HeldOutRows], old: Sequence[HeldOutRows], limit: int
) -> list[PickedSuite]:
    """
    Return the held-out suites: half the rows from the new datasets, half spread over old ones.

    Args:
        new: Datasets that the candidate has learnt and the release has not.
        old: Datasets that the release has learnt.
        limit: Most rows in all, >= 2.
    """
    pools = {
        origin: [(TokenisedDataset.open(d.dir), d.name) for d in datasets]
        for origin, datasets in ((SuiteOrigin.NEW, new), (SuiteOrigin.OLD, old))
    }
    counts = {o: [len(questions_of(d)) for d, _ in pool] for o, pool in pools.items()}
    limits = {SuiteOrigin.OLD: min(sum(counts[SuiteOrigin.OLD]), limit // 2)}
    limits[SuiteOrigin.NEW] = limit - limits[SuiteOrigin.OLD]
    return [
        PickedSuite(held_out_suite(dataset, origin, name, n))
        for origin in (SuiteOrigin.NEW, SuiteOrigin.OLD)
        for (dataset, name), n in zip(
            pools[origin], spread(counts[origin], limits[origin]), strict=True
        )
        if n
    ]


def pick_benchmarks(folder: Path, wanted: str, *, also: Sequence[str] = ()) -> list[PickedSuite]:
    """
    Return the suites of *folder* that are wanted; a missing suite has a problem.

    Args:
        folder: Holds a JSON Lines file per suite.
        wanted: ``evaluation.suites``.
        also: Suites that the release was asked; with "*" they are wanted as well.
    """
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if EVERY in names:
        found = [path.stem for path in suite_files(folder)]
        names = found + [name for name in also if name not in found]
    return [_load(folder / f"{name}.jsonl") for name in dict.fromkeys(names)]


def _load(path: Path) -> PickedSuite:
    try:
        return PickedSuite(load_suite(path))
    except SuiteError as error:
        origin = SuiteOrigin.CANARY if path.stem == CANARIES else SuiteOrigin.BENCHMARK
        return PickedSuite(Suite(path.stem, origin, path.name, "", ()), str(error))


def formatted(
    picked: PickedSuite, default: AnswerFormat | None, config: EvaluationConfig
) -> PickedSuite:
    """
    Return a suite with the formats that its questions are asked under.

    Args:
        picked: Renderable, so that expected answers are as the model has to write them.
        default: ``model.answer_format``; None if there is none.
        config: How questions with a format are asked.
    """
    held = config.format_mode != FREE_MODE
    questions = tuple(with_format(q, default, held=held) for q in picked.suite.questions)
    return replace(picked, suite=replace(picked.suite, questions=questions))


def renderable(picked: PickedSuite, renderer: Renderer) -> PickedSuite:
    """
    Return the suite with expected answers as the model has to write them.

    If a question cannot be rendered for the model, the suite has that as its problem.
    """
    questions: list[Question] = []
    for question in picked.suite.questions:
        try:
            renderer.render(question.example)
            golden = question.golden
            if question.scored and golden is not None:
                golden = renderer.golden(question.example)
            questions.append(replace(question, golden=golden))
        except MalformedExample as error:
            return replace(picked, problem=f"item {question.id!r}: {error}")
    return replace(picked, suite=replace(picked.suite, questions=tuple(questions)))
