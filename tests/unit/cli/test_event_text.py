"""
Log events and status files of any shape, as a person sees them.
"""

from __future__ import annotations

import string
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.cli.event_text import MAX_VALUE_CHARS, SENTENCES, event_line
from finetuned.cli.version_answer import Answer, chosen
from finetuned.errors import RegistryError
from finetuned.files.status_file import DaemonState, presence
from finetuned.layout import Layout

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=30)
FIELDS = sorted({f for s in SENTENCES.values() for _, f, _, _ in string.Formatter().parse(s) if f})
NOW = datetime(2200, 1, 1, tzinfo=UTC)


@settings(max_examples=50)
@given(
    st.sampled_from(sorted(SENTENCES)) | st.text(max_size=20),
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), SCALARS, max_size=6),
)
def test_any_event_is_one_line_that_drives_no_terminal(name: str, fields: dict) -> None:
    """
    With or without its fields, known or not: the watcher of a terminal sees every event.
    """
    line = event_line({**fields, "event": name, "level": "info", "timestamp": "never"})

    assert line.startswith("--:--:--  ")
    assert [] == [c for c in line if ord(c) < 32 or 127 <= ord(c) < 160]


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_every_field_of_a_sentence_is_shown(name: str) -> None:
    """
    And an event without fields has a question mark for each.
    """
    fields = [f for _, f, _, _ in string.Formatter().parse(SENTENCES[name]) if f]
    line = event_line({"event": name, **{field: f"<{field}>" for field in fields}})

    assert [] == [field for field in fields if f"<{field}>" not in line]
    assert len(fields) == event_line({"event": name}).count("?")


@pytest.mark.parametrize(
    ("level", "mark"), [("info", ""), ("warning", "warning: "), ("error", "error: ")]
)
def test_only_what_is_not_usual_is_marked(level: str, mark: str) -> None:
    """
    A line of every event would else begin with the same word.
    """
    assert f"--:--:--  {mark}x" == event_line({"event": "x", "level": level})


def test_a_long_value_is_cut_and_none_is_a_word() -> None:
    """
    A traceback in a field must not push the others off the screen.
    """
    line = event_line({"event": "x", "a": "y" * 1000, "b": None})

    assert line.endswith(f"x  a={'y' * MAX_VALUE_CHARS}... b=none")


@pytest.mark.parametrize("beat", ["2199-12-31T00:00:00Z", "2199-12-31T23:59:59", 7, None, "", []])
@pytest.mark.parametrize("pid", [0, -1, 2**80, "x", None, [], True])
def test_no_status_file_of_a_stranger_is_a_living_daemon(beat: object, pid: object) -> None:
    """
    Nor does it end a reader with a traceback: times without a zone, pids that no process has.
    """
    assert DaemonState.DIED is presence({"heartbeat_at": beat, "pid": pid}, NOW).state


def test_a_named_version_is_chosen_and_else_the_one_in_use(tmp_path: Path) -> None:
    """
    Without either the person is told to name one.
    """
    assert "v0007" == chosen(Layout(tmp_path), "v0007")
    with pytest.raises(RegistryError, match="name one"):
        chosen(Layout(tmp_path), None)


@pytest.mark.parametrize(("as_json", "shown"), [(True, '{"n":1}\n'), (False, "one\n")])
def test_an_answer_is_printed_once_and_its_status_returned(as_json, shown: str, capsys) -> None:
    """
    For a program or for a person, never both.
    """
    assert 3 == Answer({"n": 1}, "one", 3).print(as_json=as_json)
    assert shown == capsys.readouterr().out
