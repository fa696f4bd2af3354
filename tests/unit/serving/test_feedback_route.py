"""
POST /v1/feedback over a real gateway: whose answers may be spoken of, and what is then waiting.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import structlog.testing

from finetuned.config import ServingConfig
from finetuned.config.serving import Tier
from finetuned.core.access import Caller
from finetuned.core.copied import Invented
from finetuned.core.generation import Finished, FinishReason, Generate, Sampling
from finetuned.core.review import Feedback, Thumbs
from finetuned.files.feedback import FeedbackFile, review_counts
from finetuned.files.keys import create_key
from finetuned.files.review import ReviewQueue
from finetuned.layout import Layout
from finetuned.serving.gateway.feedback import recorded
from finetuned.serving.gateway.metering import Answer, Record
from finetuned.serving.gateway.recorder import Bounds, Recorder
from support.feedback import exchange, make_root
from support.gateway import free_port, running_gateway

BOUNDS = Bounds(confidence=0.9, days=30, max_bytes=1 << 30)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Layout]]:
    layout = make_root(tmp_path_factory.mktemp("root"))
    config = ServingConfig(port=free_port(), chat_port=0, review_confidence=0.5)
    with (
        running_gateway(layout.root, config) as gateway,
        httpx.Client(base_url=gateway.url, timeout=30) as client,
    ):
        yield client, layout


def ask(client: httpx.Client, text: str, *, stream: bool = False) -> str:
    """
    Return the id of an answer.
    """
    messages = [{"role": "user", "content": text}]
    body = {"model": "finetuned", "messages": messages, "stream": stream}
    found = client.post("/v1/chat/completions", json=body)
    assert 200 == found.status_code
    return str(found.headers["x-request-id"])


def error(found: httpx.Response) -> dict[str, Any]:
    refused: dict[str, Any] = found.json()["error"]
    assert {"message", "type", "param", "code"} == refused.keys()
    return refused


@pytest.mark.parametrize("stream", [False, True])
def test_feedback_can_follow_its_answer_at_once(
    http: tuple[httpx.Client, Layout], stream: bool
) -> None:
    """
    The answer is on record before anything is said of it, and then waits for review.
    """
    client, layout = http
    request_id = ask(client, f"hi {stream}", stream=stream)
    body = {"request_id": request_id, "thumbs": "down", "correct_answer": {"a": [1]}}
    found = client.post("/v1/feedback", json=body)

    assert (200, ["corrected", "disliked"]) == (found.status_code, found.json()["reasons"])
    file = FeedbackFile(layout.feedback)
    entry = file.get(request_id)
    file.close()
    assert entry is not None
    assert (f"base says: hi {stream}", '{"a":[1]}') == (entry.exchange.answer, entry.correction)
    assert ("local", "base", 0.9) == (
        entry.exchange.key_id,
        entry.exchange.model,
        entry.exchange.confidence,
    )


def test_an_answer_of_another_key_is_as_unknown_as_one_that_never_was(
    http: tuple[httpx.Client, Layout],
) -> None:
    """
    Whoever guesses ids learns nothing.
    """
    client, layout = http
    request_id = ask(client, "mine")
    body = {"request_id": request_id, "thumbs": "up"}
    _, other_key = create_key(layout, "other", now=time.time())
    others = client.post("/v1/feedback", json=body, headers={"x-api-key": other_key})
    never = client.post("/v1/feedback", json={**body, "request_id": "chatcmpl-0"})

    assert (404, 404) == (others.status_code, never.status_code)
    assert error(others)["message"].replace(request_id, "X") == error(never)["message"].replace(
        "chatcmpl-0", "X"
    )
    assert ("request_id", "request_not_found") == (error(others)["param"], error(others)["code"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"thumbs": "up"}, "request_id"),
        ({"request_id": "a"}, None),
        ({"request_id": "a", "thumbs": "sideways"}, "thumbs"),
        ({"request_id": "a", "comment": "  "}, "comment"),
        ({"request_id": "a", "comment": "x" * 4097}, "comment"),
        ({"request_id": "a", "stars": 5}, "stars"),
    ],
)
def test_a_wrong_body_is_refused_with_the_fields_name(
    http: tuple[httpx.Client, Layout], body: dict[str, object], param: str | None
) -> None:
    """
    In OpenAI's shape, and nothing is recorded.
    """
    found = http[0].post("/v1/feedback", json=body)
    assert (400, param) == (found.status_code, error(found)["param"])


def test_half_a_character_is_refused(http: tuple[httpx.Client, Layout]) -> None:
    """
    Python's JSON reads it, and no file can hold it.
    """
    content = b'{"request_id": "a", "comment": "\\ud800"}'
    found = http[0].post(
        "/v1/feedback", content=content, headers={"content-type": "application/json"}
    )
    assert 400 == found.status_code


def test_what_is_said_is_in_no_log(http: tuple[httpx.Client, Layout]) -> None:
    """
    Nor is what was asked and answered.
    """
    client, layout = http
    with structlog.testing.capture_logs() as events:
        request_id = ask(client, "marker-of-the-question")
        said = {"request_id": request_id, "comment": "marker-of-the-comment"}
        assert 200 == client.post("/v1/feedback", json=said).status_code

    assert [request_id] == [e["request_id"] for e in events if e["event"] == "feedback_received"]
    assert "marker-of" not in f"{events}"
    assert [] == [p for p in layout.logs.iterdir() if b"marker-of" in p.read_bytes()]


def test_switched_off_nothing_is_recorded_and_feedback_says_so(tmp_path: Path) -> None:
    """
    The message names the key of config.toml.
    """
    layout = make_root(tmp_path)
    config = ServingConfig(port=free_port(), chat_port=0, record=False)
    with (
        running_gateway(tmp_path, config) as gateway,
        httpx.Client(base_url=gateway.url, timeout=30) as client,
    ):
        body = {"request_id": ask(client, "hi"), "thumbs": "up"}
        found = client.post("/v1/feedback", json=body)
    assert (404, "not_enabled") == (found.status_code, error(found)["code"])
    assert not layout.feedback.exists()


def test_all_that_was_added_is_written_at_the_end(tmp_path: Path) -> None:
    """
    In order, and passwords replaced before.
    """
    recorder = Recorder(tmp_path / "feedback.sqlite3", BOUNDS)
    command = '{"action": "user_add", "username": "ann", "password": "s3cretly"}'
    asked = '[{"role": "user", "content": "add ann, password s3cretly"}]'
    recorder.add(exchange(1, messages=asked, answer=command))
    for number in range(2, 30):
        recorder.add(exchange(number))
    recorder.close()

    counts = review_counts(tmp_path / "feedback.sqlite3")
    assert counts is not None
    assert (29, 29, 0) == (counts.recorded, counts.waiting, recorder.left_out)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"s3cretly" not in written
    assert b"secret://ann" in written


def test_a_password_that_a_correction_gives_away_is_overwritten(tmp_path: Path) -> None:
    """
    The question was written before anybody knew which of its words was one.
    """
    recorder = Recorder(tmp_path / "feedback.sqlite3", BOUNDS)
    recorder.add(exchange(1, messages='[{"role": "user", "content": "add ann, pw s3cretly"}]'))
    seen = Feedback(request_id="chatcmpl-1", key_id="k1", thumbs=Thumbs.DOWN)
    recorder.say(seen).result(30)
    right = '{"action": "user_add", "username": "ann", "password": "s3cretly"}'
    recorder.say(replace(seen, correction=right)).result(30)

    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    recorder.close()
    assert b"s3cretly" not in written
    assert b"add ann, pw secret://ann" in written


def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path) -> None:
    """
    What comes next is recorded, and what was there is kept.
    """
    path = tmp_path / "feedback.sqlite3"
    path.write_bytes(b"no database" * 100)
    recorder = Recorder(path, BOUNDS)
    said = Feedback(request_id="chatcmpl-1", key_id="k1", thumbs=Thumbs.DOWN)
    with pytest.raises(OSError, match="not a database"):
        recorder.say(said).result(30)
    recorder.add(exchange(1))
    entry = recorder.say(said).result(30)
    recorder.close()

    assert entry is not None
    assert entry.thumbs is Thumbs.DOWN
    (aside,) = tmp_path.glob("feedback.sqlite3.corrupt-*")
    assert aside.read_bytes().startswith(b"no database")


def test_a_file_that_cannot_be_written_is_said_once_and_tried_again(tmp_path: Path) -> None:
    """
    What comes meanwhile is left out and counted; requests are answered as before.
    """
    path = tmp_path / "folder" / "feedback.sqlite3"
    said = Feedback(request_id="chatcmpl-1", key_id="k1", thumbs=Thumbs.DOWN)
    with structlog.testing.capture_logs() as events:
        recorder = Recorder(path, BOUNDS, retry_seconds=0.0)
        recorder.add(exchange(1))
        for _ in range(2):
            with pytest.raises(OSError, match=r"No such file or directory: '[^']*'$"):
                recorder.say(said).result(30)
        path.parent.mkdir()
        recorder.add(exchange(1))
        entry = recorder.say(said).result(30)
        recorder.close()

    assert entry is not None
    assert 1 == recorder.left_out
    assert ["feedback_unavailable", "feedback_received"] == [
        event["event"] for event in events if event["event"].startswith("feedback")
    ]


def test_a_reviewer_at_work_holds_up_feedback_only(tmp_path: Path) -> None:
    """
    It is written once the other transaction is over.
    """
    path = tmp_path / "feedback.sqlite3"
    recorder = Recorder(path, BOUNDS)
    recorder.add(exchange(1))
    said = Feedback(request_id="chatcmpl-1", key_id="k1", thumbs=Thumbs.DOWN)
    assert recorder.say(said).result(30) is not None
    queue = ReviewQueue(path)
    with queue.write():
        waiting = recorder.say(said)
        assert not waiting.done()
    entry = waiting.result(30)
    recorder.close()
    queue.close()

    assert entry is not None
    assert 2 == entry.revision


def test_the_file_can_be_read_by_anybody_who_knows_sql(tmp_path: Path) -> None:
    """
    orjson's lists of messages are JSON for SQLite too.
    """
    recorder = Recorder(tmp_path / "feedback.sqlite3", BOUNDS)
    recorder.add(exchange(1))
    recorder.close()
    with sqlite3.connect(tmp_path / "feedback.sqlite3") as db:
        (row,) = db.execute("SELECT query, messages FROM ai_decisions")
    db.close()
    assert ("question 1", "question 1") == (row[0], orjson.loads(row[1])[0]["content"])


def test_the_places_of_invented_values_are_recorded_and_not_the_values() -> None:
    """
    A value may be a password, which is replaced in the answer alone.
    """
    finished = Finished(
        id="r",
        model="v0002",
        reason=FinishReason.STOP,
        prompt_tokens=1,
        cached_tokens=0,
        answer_tokens=1,
        confidence=1.0,
        copied=False,
        invented=(Invented("$.zone", "nas.home.arpa"),),
    )
    tier = Tier(name="t", requests_per_minute=0, tokens_per_minute=0)
    record = Record(
        request_id="r",
        route="/generate",
        status=200,
        caller=Caller(id="a", name="a", scopes=(), tier=tier),
        order=Generate(id="r", model="v0002", sampling=Sampling(max_tokens=1), text="hi"),
        model="v0002",
        answer=Answer("{}", finished),
    )

    assert ("$.zone",) == recorded(record, at="2026-11-29T02:00:00.000Z").invented
