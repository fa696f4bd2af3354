"""
``finetuned review``: letters typed, answers edited, and what may reach a terminal.
"""

from __future__ import annotations

import io
from pathlib import Path

import orjson
import pytest

from finetuned.cli.program import main
from finetuned.core.review import Feedback
from finetuned.files.feedback import FeedbackFile, review_counts
from finetuned.layout import Layout
from support.feedback import USER, exchange, make_root

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202eabc\r\nline two"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = make_root(tmp_path)
    file = FeedbackFile(found.feedback)
    file.record([exchange(n) for n in (1, 2, 3)], threshold=0.9)
    file.close()
    return found


def typed(layout: Layout, monkeypatch: pytest.MonkeyPatch, *letters: str) -> int:
    """
    Run the command with these lines typed; return its exit status.
    """
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{letter}\n" for letter in letters)))
    return main(["review", "--root", str(layout.root)])


def rows(layout: Layout) -> list[dict[str, object]]:
    return [
        orjson.loads(line)
        for path in sorted(layout.inbox.glob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def answers(layout: Layout) -> list[object]:
    return [row["messages"][-1]["content"] for row in rows(layout)]  # type: ignore[index]


def editor(path: Path, script: str) -> str:
    """
    Return an $EDITOR that runs *script* on the file, whose name is $1.
    """
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_accept_edit_and_skip(
    layout: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Accepted answers are one file, a skipped one waits for the next time.
    """
    monkeypatch.setenv("VISUAL", editor(tmp_path / "ed", 'echo better > "$1"'))

    assert 0 == typed(layout, monkeypatch, "a", "s", "e", "y")

    assert ["answer 1", "better"] == answers(layout)
    found = review_counts(layout.feedback)
    assert found is not None
    assert (1, 2) == (found.waiting, found.delivered)
    assert "2 rows put into inbox/review-" in capsys.readouterr().out
    assert not list(layout.serving.glob(".review-*"))


def test_reject_and_quit_leave_the_rest_waiting(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    And the end of the input is a quit.
    """
    assert 0 == typed(layout, monkeypatch, "r", "q")
    assert 0 == typed(layout, monkeypatch)
    found = review_counts(layout.feedback)
    assert found is not None
    assert (2, 1, []) == (found.waiting, found.rejected, rows(layout))


def test_accepting_takes_the_users_correction(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With a password in it, which neither the file for inbox/ nor the question keeps.
    """
    file = FeedbackFile(layout.feedback)
    said = Feedback(request_id="chatcmpl-2", key_id="k1", correction=orjson.dumps(USER).decode())
    file.say(said, threshold=0.9, clean=lambda entry: entry)
    file.close()

    assert 0 == typed(layout, monkeypatch, "a", "q")
    clean = '{"action":"user_add","username":"ann","password_ref":"secret://ann"}'
    assert [clean] == answers(layout)
    file = FeedbackFile(layout.feedback)
    entry = file.get("chatcmpl-2")
    file.close()
    assert entry is not None
    assert (clean, clean) == (entry.approved, entry.correction)


def test_an_answer_that_training_would_refuse_is_not_accepted(
    layout: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    The reason is said, and the answer still waits.
    """
    wrong = '{"action": "user_add", "password": "x"}'
    monkeypatch.setenv("VISUAL", editor(tmp_path / "ed", f"echo '{wrong}' > \"$1\""))

    assert 0 == typed(layout, monkeypatch, "e", "y", "q")
    assert "not accepted, since training would refuse the row" in capsys.readouterr().out
    assert [] == rows(layout)


@pytest.mark.parametrize(
    "script", ['echo " " > "$1"', "exit 3", r'printf "\377" > "$1"', 'rm "$1"; echo x > "$1"']
)
def test_an_editor_that_fails_records_nothing(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """
    Empty, given up, not UTF-8, and not agreed to.
    """
    monkeypatch.setenv("VISUAL", editor(tmp_path / "ed", script))
    assert 0 == typed(layout, monkeypatch, "e", "n", "q")
    found = review_counts(layout.feedback)
    assert found is not None
    assert (3, []) == (found.waiting, rows(layout))


def test_nothing_that_strangers_wrote_controls_the_terminal(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Question, answer, comment and correction are shown with control characters spelled out.
    """
    file = FeedbackFile(layout.feedback)
    asked = orjson.dumps([{"role": "user", "content": HOSTILE}]).decode()
    file.record([exchange(9, messages=asked, answer=HOSTILE, model=HOSTILE)], threshold=0.9)
    said = Feedback(request_id="chatcmpl-9", key_id="k1", correction=HOSTILE, comment=HOSTILE)
    file.say(said, threshold=0.9, clean=lambda entry: entry)
    file.close()

    assert 0 == main(["review", "--json", "--root", str(layout.root)])
    listed = capsys.readouterr().out
    assert listed.isascii()
    assert listed.rstrip("\n").isprintable()
    assert 0 == typed(layout, monkeypatch, "q")
    out = capsys.readouterr().out
    assert 5 == out.count("owned")
    assert not {c for c in out if not c.isprintable()} - {"\n"}


def test_counts_and_list(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """
    For people, and as JSON for programs.
    """
    assert 0 == main(["review", "--count", "--root", str(layout.root)])
    assert capsys.readouterr().out.startswith("3 wait for review, 0 approved")
    assert 0 == main(["review", "--json", "--root", str(layout.root)])
    found = orjson.loads(capsys.readouterr().out)
    assert (3, 3, "answer 1") == (
        len(found["waiting"]),
        found["counts"]["waiting"],
        found["waiting"][0]["answer"],
    )


def test_without_a_service_nothing_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And no file is made.
    """
    assert 0 == main(["review", "--root", str(tmp_path)])
    assert capsys.readouterr().out.startswith("0 wait for review")
    assert [] == list(tmp_path.iterdir())


def test_the_place_of_an_invented_value_is_shown(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    And it comes before answers that are merely unsure.
    """
    file = FeedbackFile(layout.feedback)
    file.record([exchange(9, confidence=1.0, invented=("$.zone",))], threshold=0.9)
    file.close()

    assert 0 == typed(layout, monkeypatch, "q")
    shown = capsys.readouterr().out
    assert "confidence 1.00   key k1   invented" in shown
    assert "not in the question, so invented:\n  $.zone" in shown
