"""
The counts of an ingestion add up, and its refusal says what to do.
"""

from hypothesis import given
from hypothesis import strategies as st

from finetuned.data.training_sequence import TrainingSequence
from finetuned.ingestion.report import RejectedLine, Report


def counted(accepted, rejected):
    """
    Return the report of rows with these lengths and of lines rejected with these codes.
    """
    report = Report("a.jsonl", "d1", 100, max_length=50)
    for n in accepted:
        mask = [False] * (n - 1) + [True]
        report.count_accepted("messages", [TrainingSequence([1] * n, mask)])
    for i, code in enumerate(rejected, 1):
        report.count_rejected(RejectedLine(i, code, f"reason {i}", "{"))
    return report


@given(
    st.lists(st.integers(1, 50), max_size=30),
    st.lists(st.sampled_from(["too_long", "not_json"]), max_size=30),
)
def test_every_line_is_counted_once(accepted, rejected):
    """
    Read is accepted and rejected; codes, tokens and percentiles are of the same lines.
    """
    found = counted(accepted, rejected).as_dict()

    assert len(accepted) + len(rejected) == found["rows_read"]
    assert len(rejected) == sum(found["rejected"].values())
    assert sum(accepted) == found["tokens"]
    assert len(accepted) == found["supervised_tokens"] == found["sequences"]
    lengths = found["length_tokens"]
    assert lengths is None if not accepted else min(accepted) == lengths["min"]
    assert lengths is None if not accepted else max(accepted) == lengths["max"]
    assert list(range(1, 6))[: len(rejected)] == [r["line"] for r in found["first_rejects"]]


@given(st.integers(1, 40), st.integers(0, 40), st.floats(0, 1))
def test_a_file_is_refused_only_above_the_share_that_is_allowed(accepted, rejected, allowed):
    """
    At the share itself it is trained; above it the reason names both and the way out.
    """
    report = counted([3] * accepted, ["too_long"] * rejected)
    refusal = report.refusal(allowed)

    assert (refusal is not None) == (rejected / (accepted + rejected) > allowed)
    if refusal is not None:
        assert f"{rejected} of {accepted + rejected} lines are rejected" in refusal
        assert f"data.max_rejected_fraction = {allowed:g}" in refusal
        assert "the first is line 1: reason 1" in refusal
        assert "drop the file again" in refusal


def test_a_file_without_a_good_line_is_refused_whatever_is_allowed():
    """
    There is nothing to train.
    """
    assert counted([], ["not_json"]).refusal(1.0) is not None
    assert "no lines" in Report("a", "d", 0, 50).refusal(1.0)
    assert "blank" in Report("a", "d", 3, 50).refusal(1.0)
