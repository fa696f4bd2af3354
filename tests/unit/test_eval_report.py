"""
The eval report as the evaluation worker writes it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from finetuned.config import Config
from finetuned.core.confidence.calibration import Calibration
from finetuned.core.confidence.likelihood import Likelihood
from finetuned.core.evidence import evidence_of
from finetuned.core.job import JobKind
from finetuned.core.record import to_json
from finetuned.core.run import RunKind
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.data.reader import to_example
from finetuned.evaluation.measured import Measured, MeasuredSubject, score
from finetuned.evaluation.report import ReportBuilder, clusters_of, domain_of
from finetuned.evaluation.selected_suites import PickedSuite
from finetuned.files.eval_report import (
    SCHEMA_VERSION,
    EvalReport,
    Interpolation,
    ShareTrial,
    write_eval_report,
)
from finetuned.files.run import REPORT
from finetuned.files.spec import EvaluationSpec, JobQuestions, SubjectSpec, TrainedDataset
from support.outcomes import make_suite, measure

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "reference" / "eval_report.schema.json").read_text()
)
OF_THE_SUPERVISOR = {"version", "forgetting", "curves", "verdict"}
"""Added when the verdict is known."""
NEW = make_suite("heldout-1", 4, SuiteOrigin.NEW)
OBJECTS = make_suite("objects", 2, SuiteOrigin.BENCHMARK, scorer="json")
BROKEN = PickedSuite(make_suite("broken", 0, SuiteOrigin.BENCHMARK), "line 1: not JSON")


def spec() -> EvaluationSpec:
    base = SubjectSpec(base=Path("base"))
    return EvaluationSpec(
        kind=RunKind.EVALUATION,
        run_id="r000003",
        config=Config(),
        candidate=SubjectSpec(base=Path("base"), folder=Path("candidate")),
        incumbent=base,
        benchmarks=Path("benchmarks"),
        answers=Path("answers.sqlite"),
        job=JobQuestions(
            job_id="j000002",
            job_kind=JobKind.TRAINING,
            base=base,
            datasets=(TrainedDataset(dataset_id="d" * 16, name="a.jsonl", n_examples=40),),
            new=(),
            old=(),
            also=(),
        ),
    )


def subject(*measured: Measured, **facts: Any) -> MeasuredSubject:
    return MeasuredSubject(None, 1.23456, 0.5, {m.suite.name: m for m in measured}, **facts)


def builder_of(suites: list[PickedSuite]) -> ReportBuilder:
    return ReportBuilder(spec(), suites, clusters_of(suites))


def make(
    interpolation: Interpolation | None = None, confidence: Calibration | None = None
) -> EvalReport:
    base = subject(measure(NEW, ["yes", "no", "no", "no"]), measure(OBJECTS, ["no", "{}"]))
    candidate = subject(measure(NEW, ["yes"] * 3 + ["no"]), measure(OBJECTS, ['"yes"', "{}"]))
    incumbent = MeasuredSubject(None, base.seconds, base.load_seconds, base.suites, same_as="base")
    builder = builder_of([PickedSuite(NEW), PickedSuite(OBJECTS), BROKEN])
    return builder.report(
        {"base": base, "incumbent": incumbent, "candidate": candidate},
        created_at="2026-11-28T12:00:00Z",
        interpolation=interpolation,
        confidence=confidence,
    )


TRIALS = Interpolation(
    tried=(ShareTrial(a=0.5, passes=True, accuracy_new=0.75, accuracy_old=None),), chosen=0.5
)


def sure_candidate() -> tuple[ReportBuilder, MeasuredSubject]:
    """
    A candidate with 60 answers: likely ones that are right, and unlikely ones that are wrong.
    """
    suites = [make_suite(f"s{i}", 6, SuiteOrigin.BENCHMARK) for i in range(10)]
    likely, unlikely = Likelihood(4, -0.01, -0.04, 3.0), Likelihood(4, -0.7, -1.0, -0.2)
    found = [
        measure(suite, ["yes"] * 6, likelihood=likely)
        if i % 3
        else measure(suite, ["no"] * 6, likelihood=unlikely)
        for i, suite in enumerate(suites)
    ]
    return builder_of([PickedSuite(suite) for suite in suites]), subject(*found)


def test_the_calibration_is_of_generated_answers_with_a_mark() -> None:
    """
    Neither one that time cut, nor one whose likelihood nobody kept, says how sure the model is.
    """
    builder, candidate = sure_candidate()
    found = builder.calibration(candidate)
    assert (60, 36) == (found.n, found.n_right)
    assert found.map is not None
    assert {"all", "s0.jsonl", "s9.jsonl"} <= set(found.calibrated)

    suites = dict(candidate.suites)
    late = Likelihood(4, -0.7, -1.0, -0.2)
    suites["s0"] = measure(suites["s0"].suite, ["no"] * 6, timed_out=True, likelihood=late)
    suites["s1"] = measure(suites["s1"].suite, ["yes"] * 6)
    assert 48 == builder.calibration(subject(*suites.values())).n


def test_a_domain_is_the_class_of_a_row_and_else_its_file() -> None:
    """
    So that commands about users are told from commands about shares in one file.
    """
    question = make_suite("s", 1, SuiteOrigin.NEW).questions[0]
    row = {"prompt": "q", "completion": "yes", "metadata": {"class": "users"}}
    assert "users" == domain_of(replace(question, example=to_example(row)), "s.jsonl")
    assert "s.jsonl" == domain_of(question, "s.jsonl")


@pytest.mark.parametrize("confidence", [None, sure_candidate()])
@pytest.mark.parametrize("interpolation", [None, TRIALS], ids=["whole", "tried"])
def test_a_report_fits_its_schema(
    interpolation: Interpolation | None,
    confidence: tuple[ReportBuilder, MeasuredSubject] | None,
) -> None:
    """
    But for what the supervisor adds; no field is missing and none is unknown.
    """
    required = [name for name in SCHEMA["required"] if name not in OF_THE_SUPERVISOR]

    found = None if confidence is None else confidence[0].calibration(confidence[1])
    report = orjson.loads(orjson.dumps(to_json(make(interpolation, found))))

    assert report.pop("version") is None
    jsonschema.validate(report, {**SCHEMA, "required": required})
    assert set(report) == set(required)


def test_the_schema_version_of_the_program_is_that_of_the_schema() -> None:
    """
    One number, in one place of the program.
    """
    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION


@pytest.mark.parametrize("name", ["suite", "subject", "score", "item", "outcome"])
def test_fields_are_written_in_the_order_of_the_schema(name: str) -> None:
    """
    A report is read by people, too.
    """
    report = to_json(make())
    parts = {
        "suite": report["suites"][0],
        "subject": report["subjects"]["base"],
        "score": report["subjects"]["base"]["suites"]["objects"],
        "item": report["items"][0],
        "outcome": report["items"][0]["outcomes"]["base"],
    }

    assert SCHEMA["$defs"][name]["required"] == list(parts[name])


def test_a_subject_with_the_weights_of_another_has_its_numbers_and_no_outcomes() -> None:
    """
    The gate reads the outcomes of the other.
    """
    report = make()

    assert report.subjects["incumbent"].suites == report.subjects["base"].suites
    assert "base" == report.subjects["incumbent"].same_as
    assert {"base", "candidate"} == set(report.items[0].outcomes)
    evidence = evidence_of(to_json(report))
    assert [4, 2, 0] == [len(suite.pairs) for suite in evidence.suites]


def test_a_suite_with_a_problem_is_in_the_report_without_items() -> None:
    """
    So that the gate sees that it is missing.
    """
    report = make()

    assert ("line 1: not JSON", 0) == (report.suites[2].problem, report.suites[2].n_items)
    assert "broken" not in report.subjects["candidate"].suites
    assert {"heldout-1", "objects"} == {item.suite for item in report.items}


def test_a_loss_that_is_no_number_is_written_as_null(tmp_path: Path) -> None:
    """
    JSON has no NaN; readers take null as missing.
    """
    broken = subject(measure(NEW, ["yes"] * 4, loss_sum=float("nan")))
    report = builder_of([PickedSuite(NEW)]).report({"candidate": broken}, created_at="")

    write_eval_report(tmp_path, report)

    written = orjson.loads((tmp_path / REPORT).read_bytes())
    assert written["items"][0]["outcomes"]["candidate"]["loss"] is None


# -- scores ------------------------------------------------------------------------


def test_scores_count_what_was_asked() -> None:
    """
    Shares are of asked items; an item that was not reached makes the suite incomplete.
    """
    found = score(measure(NEW, ["yes", "no", "yes", None]))

    assert (4, 3, 2) == (found.n_items, found.n_asked, found.n_correct)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.loss == pytest.approx(0.5)
    assert found.loss_tokens == 9
    assert found.tokens_per_second == pytest.approx(20.0)
    assert not found.complete


def test_nothing_asked_has_no_shares() -> None:
    """
    None, not zero: nobody was wrong.
    """
    found = score(measure(NEW, [None] * 4))

    assert found.accuracy is found.interval_95 is found.loss is found.stop_rate is None
    assert (0, 0) == (found.n_asked, found.loss_tokens)


def test_answers_that_are_json_are_counted() -> None:
    """
    Only for items whose scorer reads JSON.
    """
    found = score(measure(OBJECTS, ["no", "{}"])).json

    assert found is not None
    assert (1, 1) == (found.n_valid, found.n_schema_valid)
    assert score(measure(NEW, ["{}"] * 4)).json is None


@pytest.mark.parametrize("text", ["yes", "no"])
def test_an_answer_that_time_cut_is_in_no_share(text: str) -> None:
    """
    Whatever it says so far: it was not asked, and the suite is not complete.
    """
    asked = measure(NEW, ["yes", "no", "yes", "yes"])
    late = measure(NEW, [text] * 4, timed_out=True, stopped=False)
    outcomes = {**asked.outcomes, "3": late.outcomes["3"]}
    found, nothing = score(replace(asked, outcomes=outcomes)), score(late)

    assert (1, 3, 2, 2 / 3) == (
        *(found.n_timed_out, found.n_asked),
        *(found.n_correct, found.accuracy),
    )
    assert (4, 0, None, None, None) == (
        *(nothing.n_timed_out, nothing.n_asked, nothing.accuracy),
        *(nothing.stop_rate, nothing.loss),
    )
    assert (4, False, False) == (found.n_items, found.complete, nothing.complete)


def test_accuracy_over_suites_weighs_items_not_suites() -> None:
    """
    Of the suites of some origins; None if they have nothing to answer.
    """
    old = make_suite("old", 1, SuiteOrigin.OLD)
    found = subject(measure(NEW, ["yes", "no", "no", "no"]), measure(old, ["yes"]))

    assert found.accuracy((SuiteOrigin.NEW, SuiteOrigin.OLD)) == pytest.approx(2 / 5)
    assert found.accuracy((SuiteOrigin.CANARY,)) is None
    assert 2 == found.n_correct()
