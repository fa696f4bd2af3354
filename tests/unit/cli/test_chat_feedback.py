"""
/good, /bad and /correct of a chat: what reaches the review queue, and what a person is told.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetuned.cli.asked import Asked
from finetuned.cli.chat_session import ChatSession
from finetuned.cli.chat_templates import BUILT_IN
from finetuned.config import ServingConfig
from finetuned.core.generation import FinishReason
from finetuned.core.question import Answer, AnswerEnd, Question
from finetuned.files.lock import FileLock
from finetuned.files.review import ReviewQueue
from finetuned.layout import Layout
from support.feedback import make_root
from support.gateway import free_port, running_gateway
from support.paper_service import STREAM, ending, interrupted, paper_service, text

RECORDED = b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"review": "none"}).encode()


def session(layout: Layout) -> ChatSession:
    """
    Return a chat with the base model of the service of *layout*.
    """
    return ChatSession(layout, "base", Question(messages=()), load=False, templates=BUILT_IN)


def test_what_is_said_in_a_chat_waits_for_review(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Through a real service: a disliked answer with its comment, then its correction, and a good
    one that nobody need look at.
    """
    layout = make_root(tmp_path)
    config = ServingConfig(port=free_port(), chat_port=0, review_confidence=0.5)
    with running_gateway(tmp_path, config), FileLock(layout.serving / ".lock"):
        chat = session(layout)
        for line in ("first", "/bad too long", "/correct shorter", "second", "/good"):
            chat.take(line)
        queue = ReviewQueue(layout.feedback)
        (entry,) = queue.waiting()
        queue.close()
    found = capsys.readouterr()

    assert ("shorter", "too long") == (entry.correction, entry.comment)
    assert ["disliked", "corrected"] == sorted(map(str, entry.reasons), reverse=True)
    assert "base says: first" == entry.exchange.answer
    said = [line for line in found.err.splitlines() if not line.startswith("{")]  # less the log
    assert (2, []) == (found.out.count("it waits for finetuned review"), said)


def test_a_conversation_goes_on_with_the_corrected_answer(tmp_path: Path) -> None:
    """
    The next question is asked, and /save writes it, as if the model had been right.
    """
    answers = [STREAM + text("one") + ending(), RECORDED, STREAM + text("two") + ending()]
    saved = tmp_path / "chat.jsonl"
    with paper_service(Layout(tmp_path), answers) as service:
        chat = session(Layout(tmp_path))
        for line in ("first", "/correct uno", "second", f"/save {saved}"):
            chat.take(line)
        _, (_, feedback), (_, asked) = service.requests

    assert {"request_id": "chatcmpl-1", "correct_answer": "uno"} == feedback
    said = ["first", "uno", "second"]
    assert said == [turn["content"] for turn in asked["messages"]]  # type: ignore[attr-defined]
    assert [*said, "two"] == [
        turn["content"] for turn in json.loads(saved.read_bytes())["messages"]
    ]


@pytest.mark.parametrize("line", ["/good", "/bad no", "/correct yes"])
def test_nothing_is_said_of_an_answer_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    """
    Before the first, after one that Ctrl-C ended, and after /reset: never of an earlier one.
    """
    answers = [STREAM + text("one") + ending(), interrupted, STREAM + text("three") + ending()]
    with paper_service(Layout(tmp_path), answers) as service:
        chat = session(Layout(tmp_path))
        for each in (line, "first", "second", line, "third", "/reset", line):
            chat.take(each)
        requests = len(service.requests)

    assert (3, 3) == (requests, capsys.readouterr().err.count("there is no whole answer yet"))


def test_correct_alone_puts_the_answer_on_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It is mended there; sent as it was, it says nothing and is refused.
    """
    begun: list[str] = []
    lines = iter(["first", "/correct", "/correct one", "/quit"])

    def read(text_on_the_line: str) -> str:
        begun.append(text_on_the_line)
        return next(lines)

    monkeypatch.setattr("finetuned.cli.chat_session.line_reader", lambda _: read)
    with paper_service(Layout(tmp_path), [STREAM + text("one") + ending()]) as service:
        session(Layout(tmp_path)).run()
        requests = len(service.requests)

    assert (["", "", "/correct one", ""], 1) == (begun, requests)
    assert "that is what was answered" in capsys.readouterr().err


class Loaded:
    """
    A model in this process.
    """

    def answer(self, question: Question) -> Answer:
        yield "one"
        yield AnswerEnd(
            model="base",
            reason=FinishReason.STOP,
            prompt_tokens=1,
            answer_tokens=1,
            first_seconds=0.0,
            seconds=0.0,
        )


@pytest.mark.parametrize(
    ("is_loaded", "said"),
    [(True, "only answers of a service are recorded; start finetuned serve"), (False, "try it")],
)
def test_feedback_that_nobody_can_record_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_loaded: bool, said: str
) -> None:
    """
    The model was loaded here, or the service has ended since; a correction can still be saved.
    """
    saved = tmp_path / "chat.jsonl"
    with paper_service(Layout(tmp_path), [STREAM + text("one") + ending()]):
        chat = session(Layout(tmp_path))
        if is_loaded:
            chat._asked = Asked(Loaded(), "base (loaded here)", is_loaded=True)
        chat.take("first")
    for line in ("/bad", "/correct uno", f"/save {saved}"):
        chat.take(line)

    assert 2 == capsys.readouterr().err.count(said)
    assert "uno" == json.loads(saved.read_bytes())["messages"][1]["content"]
