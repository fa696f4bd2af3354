"""
A model that is slow is judged by what it was asked in time: a time-out is never a wrong answer.

A real tiny model answers; each of its passes takes a second of a clock that the test moves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetuned.config import EvaluationConfig, GateConfig, ModelConfig
from finetuned.core.scoring.scorer import Scorer
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.reader import to_example
from finetuned.data.render import Renderer
from finetuned.data.suite import Question, Suite
from finetuned.errors import Interrupted
from finetuned.evaluation import examiner as examiner_module
from finetuned.evaluation import plan as plan_module
from finetuned.evaluation.answers import AnswerStore
from finetuned.evaluation.asked import Asked
from finetuned.evaluation.examiner import Examiner
from finetuned.evaluation.identity import model_digest
from finetuned.evaluation.measured import score
from finetuned.evaluation.plan import Plan, TimeLimit, make_plan
from finetuned.evaluation.selected_suites import PickedSuite
from finetuned.evaluation.subjects import compute_signature
from finetuned.inference import ask, cached_answers, pending

N = 12


class SlowModel:
    """
    The tiny model, its clock, and the number of its passes.
    """

    def __init__(self, base: Path) -> None:
        from finetuned.model.load import load_version

        self.model = load_version(base, None, ModelConfig(device="cpu", dtype="float32"))
        self.model.register_forward_pre_hook(self._passed)
        self.renderer = Renderer.load(base, max_length=512)
        self.now = 0.0
        self.passes = 0

    def _passed(self, *_: Any) -> None:
        self.now += 1.0
        self.passes += 1


@pytest.fixture
def slow(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> SlowModel:
    made = SlowModel(tiny_base)
    clock = SimpleNamespace(monotonic=lambda: made.now, time=time.time)
    for room in (ask, cached_answers, pending, examiner_module, plan_module):
        monkeypatch.setattr(room, "time", clock)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnswerStore]:
    made = AnswerStore(tmp_path / "answers.sqlite3")
    yield made
    made.close()


def suite() -> Suite:
    rows = [{"prompt": f"say {i} {'more ' * i}", "completion": f"answer {i}"} for i in range(N)]
    scorer = Scorer("contains")  # by which an answer may have as many tokens as the limit says
    questions = [
        Question(str(i), to_example(r), "", f"say {i}", r["completion"], scorer, ["answer"])
        for i, r in enumerate(rows)
    ]
    return Suite("slow", SuiteOrigin.BENCHMARK, "slow.jsonl", "", tuple(questions))


def config(**changes: Any) -> EvaluationConfig:
    return EvaluationConfig(max_new_tokens=4, batch_size=4, **changes)


def test_what_was_not_reached_is_no_wrong_answer_and_is_asked_the_next_time(
    slow: SlowModel, store: AnswerStore
) -> None:
    """
    The deadline leaves some out: they are in no number, and the next evaluation asks just them.
    """
    asker = Examiner(slow.renderer, config(), store)
    first = asker.measure(Asked(lambda: slow.model, "m"), suite(), deadline=slow.now + 12)
    found = score(first)

    assert 0 < found.n_asked < N
    assert (N, N - found.n_asked, False) == (found.n_items, found.n_timed_out, found.complete)
    late = {i for i, o in first.outcomes.items() if o.timed_out}
    assert {(None, None)} == {(first.outcomes[i].correct, first.outcomes[i].grade) for i in late}

    again = asker.measure(Asked(lambda: slow.model, "m"), suite(), deadline=slow.now + 1000)
    whole = score(again)

    assert (found.n_asked, N, 0, True) == (
        *(whole.n_cached, whole.n_asked),
        *(whole.n_timed_out, whole.complete),
    )
    assert {again.outcomes[i].raw for i in first.outcomes if i not in late} == {
        o.raw for i, o in first.outcomes.items() if i not in late
    }


def test_a_batch_may_take_longer_than_one_of_its_answers(
    slow: SlowModel, store: AnswerStore
) -> None:
    """
    With the default limits 200 of 200 answers of a model of 135 M "timed out".
    """
    asker = Examiner(slow.renderer, config(item_timeout_seconds=2.5), store)
    found = score(asker.measure(Asked(lambda: slow.model, "m"), suite(), deadline=slow.now + 1000))

    assert slow.now > 4 * 2.5
    assert (N, 0, True) == (found.n_asked, found.n_timed_out, found.complete)


def test_a_stop_loses_no_answer_that_was_finished(slow: SlowModel, store: AnswerStore) -> None:
    """
    The evaluation that is begun again asks the rest.
    """

    def stop() -> None:
        if slow.passes > 12:
            raise Interrupted("evaluation stopped")

    asker = Examiner(slow.renderer, config(), store, on_progress=stop)
    with pytest.raises(Interrupted):
        asker.measure(Asked(lambda: slow.model, "m"), suite(), deadline=slow.now + 1000)
    slow.passes = -1000
    again = asker.measure(Asked(lambda: slow.model, "m"), suite(), deadline=slow.now + 1000)

    assert 4 <= again.n_cached < N
    assert again.complete


def long_suite(name: str, origin: SuiteOrigin, n: int) -> PickedSuite:
    scorer, expected = Scorer("contains"), ["answer"]
    questions = tuple(
        Question(str(i), to_example(row), "", row["prompt"], "answer", scorer, expected)
        for i in range(n)
        for row in ({"prompt": f"say {name} {i}", "completion": "answer"},)
    )
    return PickedSuite(Suite(name, origin, f"{name}.jsonl", "", questions))


def planned(
    asker: Examiner,
    suites: list[PickedSuite],
    asked: Asked,
    must: float,
    should: float | None = None,
) -> Plan:
    limit = TimeLimit(must, should)
    return make_plan(asker, suites, asked, [], limit=lambda: limit, gate=GateConfig())


def test_a_plan_fits_into_its_time_and_says_what_it_leaves_out(
    slow: SlowModel, store: AnswerStore
) -> None:
    """
    What it expects is what it takes; each suite has its share; what is known costs nothing.
    """
    suites = [long_suite("new", SuiteOrigin.NEW, 24), long_suite("old", SuiteOrigin.OLD, 200)]
    asker = Examiner(slow.renderer, config(), store)
    asked = Asked(lambda: slow.model, "candidate")
    end = slow.now + 150
    plan = planned(asker, suites, asked, end)

    sizes = [len(s.suite.questions) for s in plan.suites]
    assert 24 == sizes[0]
    assert 24 <= sizes[1] < 200
    assert [0, 200 - sizes[1]] == [s.n_left_out for s in plan.suites]
    assert (sum(sizes), 200 - sizes[1]) == (plan.n_items, plan.n_left_out)
    assert plan.seconds is not None

    began = slow.now
    for picked in plan.suites:
        assert asker.measure(asked, picked.suite, deadline=end).complete
    assert slow.now <= end
    assert 0.4 <= plan.seconds / (slow.now - began) <= 2.5

    again = planned(asker, suites, asked, slow.now + 150)
    assert len(again.suites[1].suite.questions) > sizes[1]
    names = [{q.id for q in p.suites[1].suite.questions} for p in (plan, again)]
    assert names[0] < names[1]


def test_with_time_enough_everything_is_asked(slow: SlowModel, store: AnswerStore) -> None:
    """
    As if there were no plan.
    """
    suites = [long_suite("new", SuiteOrigin.NEW, 8)]
    asker = Examiner(slow.renderer, config(), store)
    asked = Asked(lambda: slow.model, "candidate")
    plan = planned(asker, suites, asked, slow.now + 10_000)

    assert (suites[0],) == plan.suites
    assert 0 == plan.n_left_out


def test_a_short_training_leaves_what_the_gate_needs(slow: SlowModel, store: AnswerStore) -> None:
    """
    However little time a job's training took: new rows whole, and 32 items of each benchmark.
    """
    suites = [long_suite("new", SuiteOrigin.NEW, 40), long_suite("old", SuiteOrigin.BENCHMARK, 200)]
    asker = Examiner(slow.renderer, config(), store)
    asked = Asked(lambda: slow.model, "candidate")
    plan = planned(asker, suites, asked, slow.now + 10_000, slow.now + 1)
    longer = planned(asker, suites, asked, slow.now + 10_000, slow.now + 300)

    assert [40, 32] == [len(s.suite.questions) for s in plan.suites]
    assert [0, 168] == [s.n_left_out for s in plan.suites]
    assert 32 < len(longer.suites[1].suite.questions) < 200


def test_the_base_is_asked_a_suite_once_whoever_is_compared_with_it(
    slow: SlowModel, store: AnswerStore, tiny_base: Path
) -> None:
    """
    Evaluations of other jobs find its answers, and do not even load it.
    """

    def unneeded() -> Any:
        raise AssertionError("the base was loaded again")

    found = [
        Examiner(slow.renderer, config(), store).measure(
            Asked(load, model_digest(tiny_base, None, compute_signature(ModelConfig()))),
            suite(),
            deadline=slow.now + 1000,
        )
        for load in (lambda: slow.model, unneeded)
    ]

    assert [0, N] == [measured.n_cached for measured in found]
    assert [True, True] == [measured.complete for measured in found]
