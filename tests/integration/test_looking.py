"""
What is asked of a candidate, one part after another, and what ends the questions.

The answers are made by hand; what is asked, and what the gate says of it, is real.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from finetuned.config import Config
from finetuned.core.job import JobKind
from finetuned.core.promotion import VersionVerdict
from finetuned.core.run import RunKind
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.suite import Suite
from finetuned.evaluation.asking import Asking
from finetuned.evaluation.looking import Looking
from finetuned.evaluation.measured import Measured, MeasuredSubject
from finetuned.evaluation.selected_suites import PickedSuite
from finetuned.evaluation.subjects import BASE, CANDIDATE, INCUMBENT, Subject
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.spec import EvaluationSpec, JobQuestions, SubjectSpec, TrainedDataset
from finetuned.inference.outcome import mark
from support.outcomes import RAW, make_suite

HERE = Path("/nowhere")
WORDS = ("add", "stop", "show", "move", "list", "open", "find", "read")


def spec(look: int) -> EvaluationSpec:
    job = JobQuestions(
        job_id="j1",
        job_kind=JobKind.TRAINING,
        base=SubjectSpec(base=HERE),
        datasets=(TrainedDataset(dataset_id="new", name="new", n_examples=3),),
        new=(),
        old=(),
        also=(),
        look=look,
    )
    return EvaluationSpec(
        kind=RunKind.EVALUATION,
        run_id="r1",
        config=Config(),
        candidate=SubjectSpec(base=HERE),
        benchmarks=HERE,
        answers=HERE,
        job=job,
    )


def unlike(name: str, n: int, origin: SuiteOrigin) -> Suite:
    """
    Return a suite of items that share few words, so that each counts.
    """
    suite = make_suite(name, n, origin)
    return replace(
        suite,
        questions=tuple(
            replace(
                q, prompt=" ".join(f"{w}{chr(97 + (i * k) % 26)}x" for k, w in enumerate(WORDS))
            )
            for i, q in enumerate(suite.questions)
        ),
    )


@dataclass(slots=True)
class Answers(Asking):
    """
    Asks nobody: who is right on which suite is said beforehand.
    """

    right: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of each suite the subjects that answer it."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Of each look: losses and answers that were asked of the older suite."""

    def planned(
        self, subjects: Mapping[str, Subject], suites: Sequence[PickedSuite]
    ) -> list[PickedSuite]:
        return list(suites)

    def measure(
        self,
        subjects: Mapping[str, Subject],
        suites: Sequence[PickedSuite],
        *,
        known_base: bool = False,
    ) -> dict[str, MeasuredSubject]:
        old = next(s.suite for s in suites if s.suite.name == "old")
        answers = sum(q.generated for q in old.questions)
        self.sizes.append((len(old.questions) - answers, answers))
        return {
            name: MeasuredSubject(
                None, 1.0, 0.0, {s.suite.name: self._measured(name, s.suite) for s in suites}
            )
            for name in subjects
        }

    def _measured(self, subject: str, suite: Suite) -> Measured:
        knows = subject in self.right[suite.name]
        outcomes = {
            q.id: mark(q, replace(RAW, text=("yes" if knows else "no") if q.generated else None))
            for q in suite.questions
        }
        return Measured(suite, outcomes, n_cached=0, seconds=1.0)


def looking(right: Mapping[str, Sequence[str]], look: int = 1) -> tuple[Looking, Answers]:
    renderer: Any = SimpleNamespace(template=SimpleNamespace(origin="base"))
    unused: Any = None
    asking = Answers(spec(look), renderer, unused, unused, unused, unused, 0.0, right=right)
    subjects = {
        name: Subject(name, HERE, None if name == BASE else HERE / name)
        for name in (BASE, INCUMBENT, CANDIDATE)
    }
    suites = [
        PickedSuite(unlike("new", 24, SuiteOrigin.NEW)),
        PickedSuite(unlike("old", 200, SuiteOrigin.BENCHMARK)),
    ]
    return Looking(asking, HERE, subjects, suites), asking


def test_harm_that_is_shown_ends_the_questions() -> None:
    """
    32 answers show it: the other 168 are not asked, and the verdict says how many and why.
    """
    made, asking = looking({"new": [CANDIDATE], "old": [INCUMBENT]})
    found = made.look()

    assert VersionVerdict.REJECTED is found.verdict.outcome
    assert [(32, 0), (0, 32)] == asking.sizes
    assert [0, 168] == [s.n_unasked for s in found.builder.suites]
    (rule,) = [r for r in found.verdict.rules if r.name == "asked_whole"]
    assert "168 items of old.jsonl were not asked; what was asked shows harm" == rule.detail


def test_everything_is_asked_before_a_promotion() -> None:
    """
    Each part holds the one before, and the last look leaves nothing out.
    """
    made, asking = looking({"new": [CANDIDATE], "old": [INCUMBENT, CANDIDATE]})
    found = made.look()

    assert found.verdict.promote
    assert [(32, 0), (0, 32), (0, 128), (0, 200)] == asking.sizes
    assert not any(s.n_unasked for s in found.builder.suites)


@pytest.mark.parametrize(("look", "sizes"), [(1, [(32, 0)]), (8, [(0, 200)])])
def test_without_a_gain_a_part_is_enough_but_not_at_each_eighth_look(
    look: int, sizes: list[tuple[int, int]]
) -> None:
    """
    So that harm which the parts do not show is found.
    """
    made, asking = looking({"new": [], "old": [INCUMBENT, CANDIDATE]}, look)
    found = made.look()

    assert VersionVerdict.HELD is found.verdict.outcome
    assert sizes == asking.sizes


def test_the_time_of_a_subject_is_that_of_all_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The last part finds the answers of those before it kept; their time is in the report too.
    """
    unused: Any = None
    clock = [0.0]
    monkeypatch.setattr("finetuned.evaluation.asking.time.monotonic", lambda: clock[0])
    models = SimpleNamespace(seconds=0.0)
    whole = spec(1)
    asking = Asking(whole, unused, models, unused, Heartbeat(tmp_path), unused, 0.0)  # type: ignore[arg-type]

    def measure(asked: Any, suite: Suite, **how: Any) -> Measured:
        clock[0] += 10.0  # 3 of them load the model
        models.seconds += 3.0
        return Measured(suite, {}, n_cached=0, seconds=7.0)

    asking.examiner = SimpleNamespace(  # type: ignore[assignment]
        measure=measure, measure_free=lambda asked, found, deadline: found
    )
    monkeypatch.setattr(Asking, "digest", lambda self, subject: subject.name)
    suites = [PickedSuite(unlike("new", 4, SuiteOrigin.NEW))]
    candidate = {CANDIDATE: Subject(CANDIDATE, HERE, HERE / CANDIDATE)}
    found = [asking.measure(candidate, suites)[CANDIDATE] for _ in range(3)]

    assert [7.0, 14.0, 21.0] == [one.seconds for one in found]
    assert [3.0, 6.0, 9.0] == [one.load_seconds for one in found]
