"""
An answer of which the model is not sure enough is never given: a program might carry it out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from finetuned.config import ServingConfig
from finetuned.core.generation import Finished, FinishReason
from finetuned.serving.gateway.unsure import Decision, Given, given
from support.gateway import Gateway, free_port, running_gateway

COMMAND = '{"action":"user_add","username":"jdoe"}'
CLARIFY = '{"action":"clarify","missing":["username"]}'


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """
    A client of a service that gives no answer below 0.8.
    """
    root: Path = tmp_path_factory.mktemp("root")
    config = ServingConfig(port=free_port(), chat_port=0, min_confidence=0.8)
    with running_gateway(root, config) as running, client(running) as found:
        yield found


def client(gateway: Gateway) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, timeout=30)


def end(confidence: float | None) -> Finished:
    return Finished(
        id="a",
        model="v0007",
        reason=FinishReason.STOP,
        prompt_tokens=1,
        cached_tokens=0,
        answer_tokens=1,
        confidence=confidence,
    )


@pytest.mark.parametrize(
    ("guess", "question"),
    [
        (COMMAND, CLARIFY),
        (
            '{"action":"dns_add","zone":"a.lan","record_type":"A","ip":"10.0.0.1"}',
            '{"action":"clarify","missing":["zone","ip"]}',
        ),
        (
            '{"action":"batch","steps":[{"action":"user_add","username":"jdoe"},'
            '{"action":"dns_remove","zone":"a.lan"}]}',
            '{"action":"clarify","missing":["zone","username"]}',
        ),
        ('{"action":"none","reason":"question"}', '{"action":"none","reason":"question"}'),
        (CLARIFY, CLARIFY),
        ('{"action":"erase","disk":"sda"}', ""),
        ('["user_add"]', ""),
        ("rm -rf /srv", ""),
    ],
)
def test_a_guess_becomes_a_question_for_its_values_or_nothing(guess: str, question: str) -> None:
    """
    Nothing of it can be carried out; what nobody carries out stays as it is.
    """
    assert Given(question, Decision.CLARIFY) == given(guess, end(0.79), 0.8)
    assert Given(guess, Decision.ANSWER) == given(guess, end(0.8), 0.8)


def test_an_answer_without_probabilities_is_a_guess_if_sureness_is_asked_for() -> None:
    """
    Nobody knows that the model is sure; without the key every answer is given.
    """
    assert Decision.CLARIFY is given(COMMAND, end(None), 0.8).decision
    assert Decision.ANSWER is given(COMMAND, end(None), 0).decision
    assert Decision.ANSWER is given(COMMAND, end(0.0), 0).decision


def test_generate_asks_instead_of_guessing(http: httpx.Client) -> None:
    """
    The confidence and its source are named in either case.
    """
    unsure = http.post("/generate", json={"prompt": f"say 0.5 {COMMAND}"}).json()
    assert ("clarify", CLARIFY, 0.5) == (unsure["decision"], unsure["text"], unsure["confidence"])
    assert "calibrated on 240 held-out answers of v0007" == unsure["confidence_source"]
    sure = http.post("/generate", json={"prompt": f"say 0.9 {COMMAND}"}).json()
    assert ("answer", COMMAND) == (sure["decision"], sure["text"])


def test_an_answer_from_the_cache_is_judged_as_the_first_time(http: httpx.Client) -> None:
    """
    The cache holds guesses, too: they are what the model said.
    """
    body = {"prompt": f"say 0.1 {COMMAND} "}
    first, second = (http.post("/generate", json=body) for _ in range(2))
    assert "hit" == second.headers["x-finetuned-cache"]
    assert first.json()["text"] == second.json()["text"]
    assert "jdoe" not in second.text


@pytest.mark.parametrize("stream", [False, True])
def test_chat_sends_nothing_of_a_guess(http: httpx.Client, stream: bool) -> None:
    """
    Not even the beginning of one that is streamed: it is known to be a guess at its end.
    """
    body = {"message": f"say 0.5 {COMMAND}", "stream": stream}
    found = http.post("/chat", json=body)
    assert 200 == found.status_code
    assert "jdoe" not in found.text
    if stream:
        assert (CLARIFY, "clarify") == (found.text, found.headers["x-finetuned-decision"])
    else:
        assert (CLARIFY, "clarify") == (found.json()["response"], found.json()["decision"])
    sure = http.post("/chat", json={**body, "message": f"say 0.9 {COMMAND}"})
    said = sure.text if stream else sure.json()["response"]
    assert json.loads(COMMAND) == json.loads(said)
