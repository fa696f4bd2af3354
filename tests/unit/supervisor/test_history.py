"""
What is added to a worker's report: curves over all runs, what was forgotten, names.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.run import RunKind
from finetuned.files.run import EVALS, append_metrics
from finetuned.files.tables.scores import Score
from finetuned.supervisor.verdict.history import (
    CANDIDATE_ROW,
    CURVE_POINTS,
    _thinned,
    add_history,
    lineage_stages,
    named,
)
from support.journals import add_job, promote_job


@pytest.fixture
def job(context):
    return add_job(context.journal, "d00000009", "f" * 16)


def begun(context, job, parent=None):
    return context.journal.jobs.begin(job, config=context.config, parent=parent)


def run(context, job, run_id, kind=RunKind.TRAINING):
    folder = context.layout.runs / run_id
    folder.mkdir()
    context.journal.runs.add(run_id, kind, job_id=job)
    return folder


def history(context, row, **report):
    add_history(context, row, report)
    return report


def test_the_curve_of_a_job_goes_through_all_its_runs(context, job):
    """
    Steps that were done twice, after a crash, count as they were done last.
    """
    first, second = run(context, job, "r000001"), run(context, job, "r000002")
    other = run(context, job, "r000003", RunKind.EVALUATION)
    for folder, step, loss in ((first, 1, 3.0), (first, 2, 2.5), (second, 2, 2.0), (other, 3, 9.0)):
        append_metrics(folder, {"step": step, "loss": loss})
    append_metrics(first, {"step": 0, "loss": 4.0, "kl": 0.0}, EVALS)
    append_metrics(second, {"step": 2, "loss": 2.25, "kl": 0.5}, EVALS)

    assert {
        "train_loss": [[1, 3.0], [2, 2.0]],
        "held_out_loss": [[0, 4.0], [2, 2.25]],
        "kl": [[0, 0.0], [2, 0.5]],
    } == history(context, begun(context, job))["curves"]


def test_what_is_no_number_is_no_point(context, job):
    """
    A step without a finite loss, a record of another program, a line that a crash cut.
    """
    folder = run(context, job, "r000001")
    for record in ({"step": 1, "loss": None}, {"step": "2", "loss": 1.0}, {"loss": 1.0}):
        append_metrics(folder, record)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(
            b'[3, 1.0]\n{"step": 4, "loss": 1e999}\n{"step": 5, "loss": 1.5}\n{"step": 6, "lo'
        )

    assert [[5, 1.5]] == history(context, begun(context, job))["curves"]["train_loss"]


@settings(max_examples=25)
@given(st.integers(0, 5 * CURVE_POINTS))
def test_a_thinned_curve_keeps_its_ends_and_invents_nothing(n):
    """
    In order, and with about as many points as a picture can show.
    """
    points = {step: step / 2 for step in range(n, 0, -1)}
    found = _thinned(points)

    assert found == sorted(found)
    assert all(points[step] == value for step, value in found)
    assert len(found) <= CURVE_POINTS + 1
    assert [] == found or (1, n) == (found[0][0], found[-1][0])
    assert n == len(found) or n > CURVE_POINTS


def score(suite, origin, accuracy, title=None, n=100):
    right = round(accuracy * n)
    return Score(
        "candidate", None, suite, origin, title or suite, n, n, right, right, 1.0, True, 1.0, 0
    )


@pytest.fixture
def lineage(context):
    """
    v0001 learnt suite a, v0002 learnt suite b and forgot some of a.
    """
    journal = context.journal
    for n, scores in enumerate(
        (
            [score("a", "new", 0.9, "a.jsonl")],
            [score("b", "new", 0.8, "b.jsonl"), score("a", "old", 0.7, "a.jsonl")],
        ),
        1,
    ):
        job_id = promote_job(journal, f"d{n:08d}", str(n) * 16, f"v{n:04d}")
        journal.scores.add(job_id, f"r{n:06d}", scores)


def candidate_report(**accuracy):
    suites = {name: {"accuracy": value} for name, value in accuracy.items()}
    return {
        "suites": [{"name": "c", "origin": "new", "title": "c.jsonl"}],
        "subjects": {"candidate": {"suites": suites}},
        "datasets": [{"name": "c.jsonl"}],
    }


def test_the_stages_of_a_lineage_are_its_versions_oldest_first(context, lineage):
    """
    With what each was trained on, what it learnt, and the titles of its suites.
    """
    stages, titles = lineage_stages(context.journal, "v0002")

    assert ["v0001", "v0002"] == [stage.version for stage in stages]
    assert [{"a"}, {"b"}] == [set(stage.new) for stage in stages]
    assert [{"a": 0.9}, {"b": 0.8, "a": 0.7}] == [stage.accuracy for stage in stages]
    assert ("d00000001.jsonl",) == stages[0].titles
    assert {"a": "a.jsonl", "b": "b.jsonl"} == titles
    assert ([], {}) == lineage_stages(context.journal, None)
    assert ["v0001"] == [stage.version for stage in lineage_stages(context.journal, "v0001")[0]]


def test_what_the_lineage_forgot_is_measured_against_its_best(context, job, lineage):
    """
    In points: a fell from 0.9 to 0.6, b rose from 0.8 to 0.9.
    """
    found = history(
        context, begun(context, job, "v0002"), **candidate_report(a=0.6, b=0.9, c=1.0, d=None)
    )["forgetting"]

    assert -10.0 == found["backward_transfer"]
    assert {"suite": "a", "title": "a.jsonl", "best": 0.9, "now": 0.6, "drop": 30.0} == found[
        "worst_drop"
    ]
    assert ["a.jsonl", "b.jsonl", "c.jsonl"] == found["matrix"]["columns"]
    assert [[0.9, None, None], [0.7, 0.8, None], [0.6, 0.9, 1.0]] == found["matrix"]["accuracy"]
    assert {"version": CANDIDATE_ROW, "titles": ["c.jsonl"]} == found["matrix"]["rows"][-1]


def test_the_first_version_has_nothing_to_forget(context, job):
    """
    None, and not a zero that looks like a measurement.
    """
    found = history(context, begun(context, job), **candidate_report(c=1.0))["forgetting"]

    assert (None, None) == (found["backward_transfer"], found["worst_drop"])
    assert [[1.0]] == found["matrix"]["accuracy"]


def test_a_report_gets_its_versions_name_and_the_one_before_stays_as_it_was(context, job, lineage):
    """
    The name is known only when the version is committed, which may happen twice.
    """
    report = history(context, begun(context, job, "v0002"), **candidate_report(c=1.0))
    found = named(report, "v0003")

    assert "v0003" == found["version"]
    assert ["v0001", "v0002", "v0003"] == [
        row["version"] for row in found["forgetting"]["matrix"]["rows"]
    ]
    assert CANDIDATE_ROW == report["forgetting"]["matrix"]["rows"][-1]["version"]
    assert "version" not in report
