"""
What a service says reaches the person who asked, whole or with the reason why not.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from finetuned.core.generation import FinishReason
from finetuned.core.question import AnswerEnd, Question
from finetuned.errors import NoAnswer
from finetuned.files.lock import FileLock
from finetuned.layout import Layout
from finetuned.serving.client.chat import ServiceModel
from finetuned.serving.client.find import find_service
from support.paper_service import STREAM, ending, event, paper_service, refusal, text

QUESTION = Question(messages=({"role": "user", "content": "hi"},), max_tokens=9, seed=4)


def asked(root: Path, answer: bytes, question: Question = QUESTION) -> list[str | AnswerEnd]:
    """
    Return all that a service of *root* answers.
    """
    with paper_service(Layout(root), [answer]):
        service = find_service(Layout(root))
        assert service is not None
        return list(ServiceModel(service, "finetuned").answer(question))


def test_an_answer_comes_in_pieces_and_ends_with_what_is_known_of_it(tmp_path: Path) -> None:
    """
    Pings between pieces are not seen.
    """
    *pieces, end = asked(tmp_path, STREAM + text("a") + b": ping\n\n" + text("b") + ending())

    assert ["a", "b"] == pieces
    assert isinstance(end, AnswerEnd)
    assert ("finetuned@v0001", FinishReason.STOP, 7, 3, "chatcmpl-1") == (
        end.model,
        end.reason,
        end.prompt_tokens,
        end.answer_tokens,
        end.request_id,
    )


def test_a_request_has_the_key_and_only_what_was_asked_for(tmp_path: Path) -> None:
    """
    What is not given is the service's to decide.
    """
    schema = {"type": "object"}
    with paper_service(Layout(tmp_path), [STREAM + ending(), STREAM + ending()]) as service:
        found = find_service(Layout(tmp_path))
        assert found is not None
        for question in (QUESTION, Question(messages=QUESTION.messages, schema=schema)):
            list(ServiceModel(found, "finetuned@v0001").answer(question))
        (head, first), (_, second) = service.requests

    assert b"authorization: bearer " + b"k" * 20 in head.lower()
    assert ("finetuned@v0001", 9, 4, 0.0) == tuple(
        first[key] for key in ("model", "max_tokens", "seed", "temperature")
    )
    assert not {"max_tokens", "seed"} & second.keys()
    assert {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}} == second[
        "response_format"
    ]


@pytest.mark.parametrize(
    ("answer", "said", "status"),
    [
        (refusal(400, "max_tokens is 5000"), "max_tokens is 5000", 1),
        (refusal(401, "this key is not known"), "this key is not known", 1),
        (refusal(503, "the queue is full"), "the queue is full", 75),
        (refusal(429, "slow down"), "slow down", 75),
        (b"HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\noh?", "status 500: oh?", 1),
        (b"", "it ended before it answered", 75),
        (STREAM + text("half"), "it ended in the middle of the answer", 75),
        (STREAM + text("half") + event(error={"message": "engine died"}), "engine died", 75),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_why_there_is_no_whole_answer_is_said(
    answer: bytes, said: str, status: int, tmp_path: Path
) -> None:
    """
    And whether asking again may help, by the exit status.
    """
    with pytest.raises(NoAnswer) as ended:
        asked(tmp_path, answer)

    assert said in str(ended.value)
    assert status == ended.value.exit_status


def test_a_service_that_does_not_listen_is_named(tmp_path: Path) -> None:
    """
    Between the start of a process and its first answer, or while it ends.
    """
    with paper_service(Layout(tmp_path), []):
        service = find_service(Layout(tmp_path))
    assert service is not None
    with pytest.raises(NoAnswer, match="nothing listens there") as ended:
        list(ServiceModel(service, "finetuned").answer(QUESTION))

    assert 75 == ended.value.exit_status


STATE = {"addresses": ["http://127.0.0.1:1"], "key": "k", "name": "n"}


@pytest.mark.parametrize(
    ("state", "runs"),
    [
        (None, True),
        ("", True),
        ("[]", True),
        (json.dumps(STATE | {"addresses": []}), True),
        (json.dumps({"addresses": ["http://127.0.0.1:1"]}), True),
        (json.dumps(STATE), False),
    ],
    ids=["missing", "empty", "no object", "without address", "cut", "of a killed service"],
)
def test_what_is_no_running_service_is_not_asked(
    state: str | None, runs: bool, tmp_path: Path
) -> None:
    """
    The model is then loaded, and nothing is sent to whoever has the port now.
    """
    layout = Layout(tmp_path)
    layout.serving.mkdir(parents=True)
    if state is not None:
        layout.serving_state.write_text(state)
    with FileLock(layout.serving / ".lock") if runs else nullcontext():
        assert find_service(layout) is None
        if not runs:
            with FileLock(layout.serving / ".lock"):
                assert find_service(layout) is not None


def test_to_ask_a_service_no_library_is_loaded_beside_pythons_own() -> None:
    """
    Their imports would take longer than the answer.
    """
    code = (
        "import sys, finetuned.serving.client.chat, finetuned.cli.asked, json; "
        "print(json.dumps(sorted({'torch','numpy','orjson','httpx','asyncio','sqlite3'}"
        " & set(sys.modules))))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[3] / "daemon")},
    )

    assert [] == json.loads(found.stdout)
