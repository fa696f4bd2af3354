"""
The counts of an ingestion add up, and its refusal says what to do.
"""

from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.set_aside import halves
from finetuned.core.unused_keys import unused_keys
from finetuned.data.training_sequence import TrainingSequence
from finetuned.ingestion.report import MAX_UNUSED_KEYS, RejectedLine, Report


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
        assert "too_long (the first is line 1: reason 1)" in refusal
        assert "drop the file again" in refusal


def test_a_file_without_a_good_line_is_refused_whatever_is_allowed():
    """
    There is nothing to train.
    """
    refusal = counted([], ["not_json"]).refusal(1.0)
    assert "1 of 1 lines are rejected" in refusal
    assert "No line is left to train; correct or remove" in refusal
    assert "max_rejected_fraction" not in refusal
    assert "no lines" in Report("a", "d", 0, 50).refusal(1.0)
    assert "blank" in Report("a", "d", 3, 50).refusal(1.0)


def test_each_reason_is_named_with_its_first_line():
    """
    The limit that decided stands in the reason of its own code, not only in the first one.
    """
    codes = ["not_json", "too_long", "too_long", "bad_role", "no_prompt"]
    refusal = counted([3] * 5, codes).refusal(0.05)

    assert "2 too_long (the first is line 2: reason 2)" in refusal
    assert "1 not_json (the first is line 1: reason 1)" in refusal
    assert "1 more reasons" in refusal
    found, remedy = halves(refusal)
    assert "1 more reasons" in found
    assert remedy.startswith("correct or remove the rejected lines and drop the file again, or")
    assert "to train the other 5 lines" in remedy


def test_rows_marked_not_to_train_do_not_count_against_their_file():
    """
    They are listed, and are no mistakes; a file of nothing else has nothing to train.
    """
    assert counted([3], ["not_to_train"] * 50).refusal(0.0) is None
    assert "all 2 rows are marked" in counted([], ["not_to_train"] * 2).refusal(1.0)
    mixed = counted([3], ["not_to_train", "not_json"]).refusal(0.05)
    assert "1 of 3 lines are rejected" in mixed
    assert "not_to_train" not in mixed


def test_unused_keys_are_counted_by_row():
    """
    "context in 2 of 3 rows"; a file with another key in each row lists the most frequent.
    """
    report = Report("a.jsonl", "d1", 100, max_length=50)
    for unused in (("context",), ("context", "mood"), ()):
        report.count_accepted("text", [], unused)

    assert {"context": 2, "mood": 1} == report.as_dict()["unused_keys"]
    assert "context in 2 of 3 rows, mood in 1 of 3 rows" == unused_keys(report.unused_keys, 3)
    for n in range(1000):
        report.count_accepted("text", [], (f"key{n}",))
    assert MAX_UNUSED_KEYS == len(report.unused_keys)
    assert "and 15 more keys" in unused_keys(report.unused_keys, 1003)
