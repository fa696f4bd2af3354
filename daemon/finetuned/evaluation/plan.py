"""
What an evaluation has time for: how fast the candidate answers, and which items are asked.

A few new rows and canaries are asked of the candidate first. How long they take tells how long
all of it will; if that is more than evaluation.max_minutes, every model is asked the same
sample of each suite (core/sample.py). If it is more than evaluation.max_training_share, so it
is with older suites and benchmarks, as far as the gate can do without. Does not know which
model is better.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Final, NamedTuple

from finetuned.config import GateConfig, parse_gates
from finetuned.core.sample import LEAST_ASKED, growing_sizes, sample_order, sizes_within
from finetuned.core.scoring.scorer import CHOICE
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.suite import Question, Suite
from finetuned.evaluation.asked import Asked
from finetuned.evaluation.examiner import Examiner, freely
from finetuned.evaluation.selected_suites import PickedSuite, spread
from finetuned.inference.outcome import Raw
from finetuned.inference.prepared import longest_answer

PLANNED_SHARE: Final = 0.7
"""Share of the time that is planned: answers may be longer than the first ones."""

PROBE_SHARE: Final = 0.25
"""Most of the time that the first items may take."""

WORTH_GROWING: Final = 1.1
"""A sample is asked again larger if it grows by at least a tenth."""

_ALWAYS_ANSWERED: Final = (SuiteOrigin.NEW, SuiteOrigin.CANARY)
"""Suites that a first look asks whole, so that no first item is asked in vain."""

_CHARACTERS_PER_TOKEN: Final = 4


class TimeLimit(NamedTuple):
    """
    When an evaluation ends, on the clock of time.monotonic.
    """

    must: float
    """Later nothing is asked."""
    should: float | None
    """Later only what the gate cannot do without is asked; None sets no such limit."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The suites as they are asked, and how long that is expected to take.
    """

    suites: tuple[PickedSuite, ...]
    pace: Pace | None
    """None if nothing is known of how fast the candidate answers."""
    seconds: float | None
    """Of everything that is not known yet; None without a pace."""

    @property
    def n_items(self) -> int:
        """Items that each model is asked."""
        return sum(len(s.suite.questions) for s in self.suites)

    @property
    def n_left_out(self) -> int:
        """Items beside these for which there is no time."""
        return sum(s.n_left_out for s in self.suites)

    def record(self) -> dict[str, float | None]:
        """
        Return the plan in numbers, for heartbeat and log.
        """
        speed = None if self.pace is None else round(self.pace.tokens_per_second, 1)
        return {
            "items": self.n_items,
            "left_out": self.n_left_out,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "tokens_per_second": speed,
        }


@dataclass(frozen=True, slots=True)
class Pace:
    """
    How fast the candidate answers.
    """

    seconds_per_token: float
    """Wall time by generated tokens; each item counts one token more, for its prompt."""
    tokens: Mapping[str, float]
    """Mean tokens of an answer by suite."""
    tokens_per_second: float
    """Generated tokens by wall time, over all answers of a batch together."""
    mean_tokens: float
    """Of an answer, over all suites."""
    changed: Mapping[str, float] = field(default_factory=dict)
    """Share of the answers of a suite that their format changed, 0 to 1, where one is known."""
    mean_changed: float = 0.0
    """The same, over all suites."""

    def seconds(self, picked: PickedSuite, question: Question, *, own: bool, limit: int) -> float:
        """
        Return about how long one item takes.

        Args:
            picked: Its suite.
            question: The item.
            own: Whether the candidate is asked. Another model may not know when to stop:
                its answer is taken to be as long as it may get.
            limit: The longest answer in tokens, if the scorer does not make it shorter.
        """
        if not question.generated or question.scorer.name == CHOICE:
            return self.seconds_per_token
        golden = len(question.golden or "") / _CHARACTERS_PER_TOKEN
        expected = self.tokens.get(picked.suite.name, max(golden, self.mean_tokens))
        longest = longest_answer(question, round(golden), limit)
        return self.seconds_per_token * (1 + (expected if own else max(expected, longest)))


def make_plan(
    examiner: Examiner,
    suites: Sequence[PickedSuite],
    candidate: Asked,
    others: Sequence[Asked],
    *,
    limit: Callable[[], TimeLimit],
    gate: GateConfig,
) -> Plan:
    """
    Ask the candidate a few items, and return what there is time for.

    Args:
        examiner: Asks; what was answered is in its store then.
        suites: Whole.
        candidate: Asked first.
        others: The models that it is compared with, each of other weights.
        limit: Returns when the evaluation ends, once the candidate is loaded.
        gate: Says which suites a version must reach a share of right answers on.

    Raises:
        Interrupted, ModelError: As the examiner's.
    """
    usable = [s for s in suites if s.problem is None and s.suite.questions]
    ordered = {s.suite.name: in_sample_order(s.suite.questions) for s in usable}
    likely = [s.suite for s in usable if s.suite.origin in _ALWAYS_ANSWERED]
    found = {s.suite.name: list(examiner.known(candidate, s.suite).values()) for s in usable}
    found |= examiner.probe(
        candidate,
        [
            replace(suite, questions=ordered[suite.name])
            for suite in likely or [s.suite for s in usable]
        ],
        share=PROBE_SHARE,
        deadline=limit().must,
    )
    if (pace := _pace(found)) is None:
        return Plan(tuple(suites), None, None)
    costs = {
        s.suite.name: _costs(examiner, pace, s, ordered[s.suite.name], candidate, others)
        for s in usable
    }
    least = dict(zip(costs, least_sizes([s.suite for s in usable], gate), strict=True))
    sizes = _sizes(costs, least, limit())
    seconds = sum(sum(found[: sizes[name]]) for name, found in costs.items())
    made = tuple(
        _sampled(s, ordered[s.suite.name][: sizes[s.suite.name]]) if s in usable else s
        for s in suites
    )
    return Plan(made, pace, seconds)


def _sizes(
    costs: Mapping[str, Sequence[float]], least: Mapping[str, int], limit: TimeLimit
) -> dict[str, int]:
    """Return how many items of each suite there is time for."""
    all_costs, now = list(costs.values()), time.monotonic()
    sizes = sizes_within(all_costs, PLANNED_SHARE * (limit.must - now))
    if limit.should is not None:
        left = PLANNED_SHARE * (limit.should - now)
        smaller = sizes_within(all_costs, left, list(least.values()))
        sizes = [min(pair) for pair in zip(sizes, smaller, strict=True)]
    return dict(zip(costs, sizes, strict=True))


def least_sizes(suites: Sequence[Suite], gate: GateConfig) -> list[int]:
    """
    Return how many items of each suite are asked however little time its job took.

    New rows, canaries, and suites that a version must reach a share of right answers on, or
    of answers without an invented value: all. Of each other benchmark, and of all older files
    together: as many as stand for it.

    Args:
        suites: Whole.
        gate: Says which suites have such shares.
    """
    named = {name for name, _ in (*parse_gates(gate.ship_gates), *parse_gates(gate.quality_gates))}
    if gate.max_invented < 1:
        named.add("overall")
    older = [len(s.questions) for s in suites if s.origin is SuiteOrigin.OLD]
    shares = iter(spread(older, LEAST_ASKED))
    found = []
    for suite in suites:
        share = next(shares) if suite.origin is SuiteOrigin.OLD else LEAST_ASKED
        whole = suite.origin in _ALWAYS_ANSWERED or named & {suite.name, "overall"}
        found.append(len(suite.questions) if whole else share)
    return found


def growing_parts(suites: Sequence[PickedSuite]) -> Iterator[list[PickedSuite]]:
    """
    Yield the suites as they are asked one after another, before all of them are.

    New rows and canaries are whole. Of each benchmark, and of all older files together, 32
    items are asked first, then 4 times as many, each time with those before.

    Args:
        suites: As they are planned.
    """
    counts = {
        origin: {s.suite.name: len(s.suite.questions) for s in suites if s.suite.origin is origin}
        for origin in (SuiteOrigin.OLD, SuiteOrigin.BENCHMARK)
    }
    old, benchmarks = counts.values()
    for n in growing_sizes(max([sum(old.values()), *benchmarks.values()])):
        kept = dict.fromkeys(benchmarks, n)
        kept |= zip(old, spread(list(old.values()), n), strict=True)
        yield [_first(picked, kept.get(picked.suite.name)) for picked in suites]


def _first(picked: PickedSuite, n: int | None) -> PickedSuite:
    """Return the first *n* questions of a suite, in its own order; None for all."""
    questions = picked.suite.questions
    if n is None or n >= len(questions):
        return picked
    names = {q.id for q in in_sample_order(questions)[:n]}
    return replace(picked, suite=_only(picked.suite, names), n_unasked=len(questions) - n)


def is_larger(plan: Sequence[PickedSuite], before: Sequence[PickedSuite]) -> bool:
    """
    Return whether a plan asks everything, or so many more questions that it is worth it.
    """
    now, then = (sum(len(s.suite.questions) for s in suites) for suites in (plan, before))
    return now > then and (
        now >= WORTH_GROWING * then or not any(picked.n_left_out for picked in plan)
    )


def in_sample_order(questions: Sequence[Question]) -> tuple[Question, ...]:
    """
    Return *questions* in the order in which they join a sample.
    """
    texts = [f"{q.scorer.name}\0{q.prompt or q.example.text}" for q in questions]
    return tuple(questions[i] for i in sample_order(texts))


def _sampled(picked: PickedSuite, kept: Sequence[Question]) -> PickedSuite:
    """Return a suite with the questions that are kept, in its own order."""
    questions, names = picked.suite.questions, {q.id for q in kept}
    if len(kept) == len(questions):
        return picked
    suite, control = _only(picked.suite, names), picked.swapped
    return replace(
        picked,
        suite=suite,
        n_left_out=len(questions) - len(kept),
        swapped=None if control is None else _only(control, names),
    )


def _only(suite: Suite, names: Collection[str]) -> Suite:
    return replace(suite, questions=tuple(q for q in suite.questions if q.id in names))


def _pace(found: Mapping[str, Sequence[Raw]]) -> Pace | None:
    """Return how fast answers came, by suite; None if no time was measured."""
    raws = [raw for of_suite in found.values() for raw in of_suite]
    seconds = sum(raw.seconds for raw in raws)
    if seconds <= 0:
        return None
    tokens = sum(raw.answer_tokens for raw in raws)
    return Pace(
        seconds_per_token=seconds / (tokens + len(raws)),
        tokens={
            name: fmean(raw.answer_tokens for raw in whole)
            for name, of_suite in found.items()
            if (whole := [raw for raw in of_suite if not raw.timed_out])
        },
        tokens_per_second=tokens / seconds,
        mean_tokens=tokens / len(raws),
        changed={
            name: fmean(raw.n_refused > 0 for raw in of_suite)
            for name, of_suite in found.items()
            if of_suite
        },
        mean_changed=fmean(raw.n_refused > 0 for raw in raws),
    )


def _costs(
    examiner: Examiner,
    pace: Pace,
    picked: PickedSuite,
    questions: Sequence[Question],
    candidate: Asked,
    others: Sequence[Asked],
) -> list[float]:
    """
    Return about how long each of *questions* takes, for all models that have to be asked.

    With evaluation.format_mode = "both" answers that their format changes are given freely as
    well: how many that will be is foreseen from the first answers.
    """
    limit, suite = examiner.config.max_new_tokens, picked.suite
    costs = [0.0] * len(questions)
    held = [q for q in questions if q.held_to is not None] if examiner.asks_freely else []
    names, likely = {q.id for q in held}, pace.changed.get(suite.name, pace.mean_changed)
    for asked in (candidate, *others):
        known = examiner.known(asked, suite)
        known_free = examiner.known(asked, freely(suite, held)) if held else {}
        for i, question in enumerate(questions):
            cost = pace.seconds(picked, question, own=asked is candidate, limit=limit)
            if question.id not in known:
                costs[i] += cost
            if question.id in names and question.id not in known_free:
                before = known.get(question.id)
                costs[i] += cost * (likely if before is None else bool(before.n_refused))
    return costs
