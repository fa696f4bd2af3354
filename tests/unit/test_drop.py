"""
Rows that a source drops: JSON lines, whole, under a name that the daemon claims.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.files.drop import drop, to_jsonl

ROWS = [{"prompt": "ä\n", "response": "1"}, {"messages": []}]


@settings(max_examples=25)
@given(st.lists(st.dictionaries(st.text(), st.text(), max_size=3), max_size=5))
def test_every_row_is_one_line(rows):
    """
    Whatever the text holds: a line break inside a value does not begin a new row.
    """
    data = to_jsonl(rows)

    assert len(rows) == data.count(b"\n")
    assert rows == [json.loads(line) for line in data.split(b"\n")[:-1]]
    assert not data or data.endswith(b"\n")


def test_the_text_is_utf_8_and_not_escaped():
    """
    A person who opens the file reads what was meant.
    """
    assert '{"a":"äß"}\n'.encode() == to_jsonl([{"a": "äß"}])


def test_a_dropped_file_is_whole_and_alone(tmp_path):
    """
    No draft is left beside it, and what is returned is its path.
    """
    path = drop(ROWS, tmp_path, "a.jsonl")

    assert tmp_path / "a.jsonl" == path
    assert ["a.jsonl"] == [p.name for p in tmp_path.iterdir()]
    assert to_jsonl(ROWS) == path.read_bytes()


@pytest.mark.parametrize("name", ["a.json", ".a.jsonl", "b/a.jsonl", "../a.jsonl", "", "a.JSONL"])
def test_a_name_that_the_daemon_would_ignore_is_refused(tmp_path, name):
    """
    Otherwise the file would lie there for ever, or outside of the inbox.
    """
    inbox = tmp_path / "inbox"
    (inbox / "b").mkdir(parents=True)
    with pytest.raises(ValueError, match="is not the name of a dataset"):
        drop(ROWS, inbox, name)

    assert [inbox] == list(tmp_path.iterdir())
    assert ["b"] == [p.name for p in inbox.iterdir()]


def test_rows_that_end_in_an_error_leave_nothing(tmp_path):
    """
    The source broke off: half a file must never be trained on.
    """

    def broken():
        yield ROWS[0]
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        drop(broken(), tmp_path, "a.jsonl")

    assert [] == list(tmp_path.iterdir())
