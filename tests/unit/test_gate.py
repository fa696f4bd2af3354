import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.config import GateConfig
from finetuned.core.gate import Evidence, Score, judge

GOOD = Evidence(
    candidate_new=Score(100, 100, 95, 0.1),
    incumbent_new=Score(100, 100, 10, 0.9),
    candidate_old=Score(50, 50, 48, 0.2),
    incumbent_old=Score(50, 50, 49, 0.2),
    old_rows_expected=50,
)
MEASURED = ("candidate_new", "incumbent_new", "candidate_old", "incumbent_old")


def scores(n_rows: int = 50) -> st.SearchStrategy[Score]:
    return st.builds(
        lambda exact, loss: Score(n_rows, n_rows, exact, loss),
        st.integers(0, n_rows),
        st.floats(0, 20),
    )


def test_a_better_candidate_is_promoted():
    """
    Lower loss, more exact answers, old rows kept: that is what better means.
    """
    assert judge(GOOD, GateConfig()).promote


@pytest.mark.parametrize("name", MEASURED)
def test_missing_evidence_is_a_failure(name):
    """
    A measurement that does not exist never passes.
    """
    assert not judge(replace(GOOD, **{name: None}), GateConfig()).promote


@pytest.mark.parametrize("name", MEASURED)
@pytest.mark.parametrize(
    "change",
    [{"complete": False}, {"loss": None}, {"loss": math.nan}, {"loss": math.inf}, {"n_rows": 0}],
    ids=str,
)
def test_partial_evidence_is_a_failure(name, change):
    """
    Rows cut by the deadline, or a loss that is no number, count as not measured.
    """
    partial = replace(getattr(GOOD, name), **change)

    assert not judge(replace(GOOD, **{name: partial}), GateConfig()).promote


@given(scores(), scores())
def test_an_equal_or_worse_candidate_is_never_promoted(score, other):
    """
    Without a lower loss on the new rows there is no promotion, whatever else is said.
    """
    worse = replace(score, loss=max(score.loss, other.loss))
    better = replace(other, loss=min(score.loss, other.loss))
    evidence = Evidence(worse, better, None, None, 0)

    assert not judge(evidence, GateConfig()).promote


@given(scores(), scores(), scores(), scores())
def test_a_promotion_keeps_the_old_rows_within_the_margins(new, was, old, old_was):
    """
    Whatever the numbers, a promoted candidate is better on the new and not much worse on the old.
    """
    config = GateConfig()
    verdict = judge(Evidence(new, was, old, old_was, 50), config)

    if verdict.promote:
        assert new.loss < was.loss
        assert new.n_exact >= was.n_exact
        assert old.accuracy >= old_was.accuracy - config.max_old_accuracy_drop - 1e-6
        assert old.loss <= old_was.loss + config.max_old_loss_rise


def test_fewer_old_rows_than_expected_is_a_failure():
    """
    A suite that shrank is not a suite that passed.
    """
    few = Score(10, 10, 10, 0.1)

    assert not judge(replace(GOOD, candidate_old=few, incumbent_old=few), GateConfig()).promote


def test_the_first_failed_rule_is_the_reason():
    """
    A person reads why, with the numbers.
    """
    worse = replace(GOOD, candidate_old=Score(50, 50, 20, 0.2))

    assert "old_accuracy: exact match 49 -> 20 of 50" == judge(worse, GateConfig()).reason
