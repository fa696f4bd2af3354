"""
A chat: what is remembered, what a command does, and that Ctrl-C ends the answer only.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from finetuned.cli.chat_input import history_file, private_file
from finetuned.cli.chat_session import ChatSession
from finetuned.cli.chat_templates import BUILT_IN, load_templates
from finetuned.core.question import Question
from finetuned.errors import ConfigError
from finetuned.layout import Layout
from support.paper_service import STREAM, ending, interrupted, paper_service, refusal, text

SYSTEM = {"role": "system", "content": "be short"}


def session(layout: Layout) -> ChatSession:
    """
    Return a chat with the base model of the service of *layout*.
    """
    first = Question(messages=(SYSTEM,))
    return ChatSession(layout, "base", first, load=False, templates=BUILT_IN)


def contents(body: dict[str, object]) -> list[str]:
    """
    Return what the messages of a request say.
    """
    messages = body["messages"]
    assert isinstance(messages, list)
    return [message["content"] for message in messages]


def test_what_was_answered_is_remembered_and_nothing_else(tmp_path: Path) -> None:
    """
    Not what Ctrl-C ended, not what the service refused; nothing after /reset.
    """
    answers = [
        STREAM + text("one") + ending(),
        interrupted,
        refusal(503, "the queue is full"),
        STREAM + text("four") + ending(),
        STREAM + text("five") + ending(),
    ]
    with paper_service(Layout(tmp_path), answers) as service:
        chat = session(Layout(tmp_path))
        for line in ("first", "second", "third", "//fourth", "/reset", "fifth"):
            chat.take(line)

    assert [
        ["be short", "first"],
        ["be short", "first", "one", "second"],
        ["be short", "first", "one", "third"],
        ["be short", "first", "one", "/fourth"],
        ["be short", "fifth"],
    ] == [contents(body) for _, body in service.requests]


def test_a_terminal_is_told_nothing_by_an_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What would clear the screen is spelled out.
    """
    with paper_service(Layout(tmp_path), [STREAM + text("\x1b[2J\u202e") + ending()]):
        session(Layout(tmp_path)).take("hi")

    assert "\\u001b[2J\\u202e" in capsys.readouterr().out


def test_a_saved_chat_is_a_row_for_its_owner_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It can be dropped into inbox/ as it is.
    """
    saved = tmp_path / "chat.jsonl"
    with paper_service(Layout(tmp_path), [STREAM + text("one") + ending()]):
        chat = session(Layout(tmp_path))
        chat.take(f"/save {saved}")
        assert not saved.exists()
        chat.take("first")
        chat.take("/save")
        chat.take(f"/save {saved}")
    row = saved.read_bytes()
    chat.take(f"/save {saved}")
    chat.take(f"/save {tmp_path}/gone/chat.jsonl")

    assert {
        "messages": [
            SYSTEM,
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "one"},
        ]
    } == json.loads(row)
    assert row == saved.read_bytes()
    assert 0o600 == stat.S_IMODE(saved.stat().st_mode)
    err = capsys.readouterr().err
    for said in (
        "nothing was said yet",
        "name of a file is missing",
        "is there already",
        "No such",
    ):
        assert said in err


def test_a_model_that_cannot_be_had_leaves_the_one_that_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A typing error does not end a conversation.
    """
    with paper_service(Layout(tmp_path), [STREAM + text("one") + ending()]) as service:
        chat = session(Layout(tmp_path))
        for line in ("/model nowhere", "/model", "/nope", "first"):
            chat.take(line)
    found = capsys.readouterr()

    assert "finetuned@base" == service.requests[0][1]["model"]
    assert "base model 'nowhere' not found" in found.err
    assert "there is no command /nope" in found.err
    assert f"finetuned@base ({service.url}); /model NAME takes another" in found.out


def test_templates_of_a_root_are_added_and_mistakes_in_them_named(tmp_path: Path) -> None:
    """
    The file is of people.
    """
    file = tmp_path / "templates.toml"
    file.write_text('dns = "add HOST"\nmail = "add a mailbox for NAME"\n')
    found = load_templates(Layout(tmp_path))
    assert ("add HOST", BUILT_IN["user"]) == (found["dns"], found["user"])
    assert {*BUILT_IN, "mail"} == set(found)
    for wrong, said in (("dns = 3", "dns must be a text"), ("dns", "cannot be read")):
        file.write_text(wrong)
        with pytest.raises(ConfigError, match=said):
            load_templates(Layout(tmp_path))


def test_the_history_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Also if it was readable before; a link to elsewhere is not followed.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = history_file()
    path.parent.mkdir()
    path.write_text("kept")
    path.chmod(0o644)
    assert private_file(path)
    assert ("kept", 0o600) == (path.read_text(), stat.S_IMODE(path.stat().st_mode))
    path.unlink()
    os.symlink(tmp_path / "elsewhere", path)
    assert not private_file(path)
    assert not (tmp_path / "elsewhere").exists()
