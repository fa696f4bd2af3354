"""
``finetuned serve`` as it is installed, with the real engine and the embedded base model.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway import wait_until
from support.program import API_KEY, Program, program

openai = pytest.importorskip("openai")

MOST_MEGABYTES = 120
QUESTION = "please add a dns record for web01.example.com pointing to 10.0.0.7"
MESSAGES = [{"role": "user", "content": QUESTION}]
LONG_ANSWER = {"temperature": 2.0, "max_tokens": 1500, "seed": 1}
"""Drawn at random, so that it does not end by itself."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    config = (
        "max_running = 4\nmax_queue = 60\nmax_tokens = 1600\nrequest_seconds = 120\ncache_bytes = 0"
    )
    with program(tmp_path_factory.mktemp("served"), own_engine=True, config=config) as running:
        yield running


@pytest.fixture(scope="module")
def client(served: Program) -> Iterator[openai.OpenAI]:
    base_url = f"{served.url}/v1"
    with openai.OpenAI(base_url=base_url, api_key=API_KEY, max_retries=0, timeout=120) as found:
        yield found


def test_the_gateway_is_small_and_has_no_torch(served: Program, client: openai.OpenAI) -> None:
    """
    Answers pass through it; the libraries of training are mapped by the engine alone.
    """
    for number in range(20):
        messages = [{"role": "user", "content": f"{QUESTION}, number {number}"}]
        client.chat.completions.create(model="finetuned", messages=messages, max_tokens=20)
    maps = Path(f"/proc/{served.process.pid}/maps").read_text()
    megabytes = served.megabytes()
    print(f"\nthe gateway has {megabytes:.0f} MiB")
    assert [] == [name for name in ("libtorch", "libc10", "tokenizers") if name in maps]
    assert "libtorch" in Path(f"/proc/{served.state['engine']}/maps").read_text()
    assert megabytes <= MOST_MEGABYTES


def test_the_openai_client_gets_what_it_asks_for(client: openai.OpenAI) -> None:
    """
    Text, a stream of the same text, probabilities, a schema, and a completion.
    """
    create = client.chat.completions.create
    asked = {"model": "finetuned", "messages": MESSAGES, "temperature": 0, "max_tokens": 60}
    whole = create(**asked, logprobs=True, top_logprobs=2)
    text = whole.choices[0].message.content
    chunks = list(create(**asked, stream=True, stream_options={"include_usage": True}))
    assert text == "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert whole.usage == chunks[-1].usage.model_copy(
        update={"prompt_tokens_details": whole.usage.prompt_tokens_details}
    )
    tokens = whole.choices[0].logprobs.content
    assert text == "".join(token.token for token in tokens)
    assert all(token.logprob <= 0 and 2 == len(token.top_logprobs) for token in tokens)
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["dns", "user"]}},
        "required": ["kind"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "kind", "schema": schema}}
    held = create(**asked, response_format=form).choices[0]
    assert "stop" == held.finish_reason
    assert json.loads(held.message.content)["kind"] in ("dns", "user")
    again = client.completions.create(
        model="finetuned@base", prompt="add a dns", temperature=0, max_tokens=4
    )
    assert again.usage.completion_tokens <= 4
    assert "finetuned" == client.models.retrieve("finetuned").id


def test_refusals_are_the_client_s_own_exceptions(client: openai.OpenAI) -> None:
    """
    Each with the field, and a sentence.
    """
    create = client.chat.completions.create
    with pytest.raises(openai.NotFoundError, match="expected one of finetuned"):
        create(model="gpt-9", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError, match="switched off"):
        client.embeddings.create(model="finetuned", input="x")
    with pytest.raises(openai.BadRequestError) as long:
        create(model="finetuned", messages=[{"role": "user", "content": "word " * 5000}])
    assert ("messages", "context_length_exceeded") == (long.value.param, long.value.code)
    with pytest.raises(openai.AuthenticationError, match="finetuned keys"):
        client.with_options(api_key="ft_nobody").models.list()
    with pytest.raises(openai.PermissionDeniedError, match="admin"):
        client.get(str(client.base_url.copy_with(path="/versions")), cast_to=object)
    with pytest.raises(openai.NotFoundError, match="no such route"):
        client.responses.create(model="finetuned", input="x")
    number = {"type": "object", "properties": {"a": {"maximum": 10**30}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": number}}
    with pytest.raises(openai.BadRequestError):
        create(model="finetuned", messages=MESSAGES, response_format=form)
    tool = {"type": "function", "function": {"name": "f", "parameters": number}}
    with pytest.raises(openai.BadRequestError):
        create(model="finetuned", messages=MESSAGES, tools=[tool])


def test_an_engine_that_is_killed_under_load_loses_only_what_had_begun(
    served: Program, client: openai.OpenAI
) -> None:
    """
    Four answers run and thirty wait; the four end with an error, the thirty are answered by the
    next engine, and each as it would have been.
    """
    ended: list[str] = []
    begun = threading.Barrier(5)
    answers: dict[int, str] = {}

    def stream() -> None:
        try:
            for at, _ in enumerate(
                client.chat.completions.create(
                    model="finetuned", messages=MESSAGES, stream=True, **LONG_ANSWER
                )
            ):
                if at == 2:
                    begun.wait(60)
            ended.append("whole")
        except openai.APIError as error:
            ended.append(str(error))

    def wait_for_turn(number: int) -> None:
        try:
            found = client.chat.completions.create(
                model="finetuned", messages=MESSAGES, temperature=0, max_tokens=60, seed=number
            )
            answers[number] = found.choices[0].message.content or ""
        except openai.APIError as error:
            answers[number] = f"failed: {error}"

    expected = client.chat.completions.create(
        model="finetuned", messages=MESSAGES, temperature=0, max_tokens=60
    )
    threads = [threading.Thread(target=stream) for _ in range(4)]
    for each in threads:
        each.start()
    begun.wait(60)
    engine = served.state["engine"]
    os.kill(engine, signal.SIGSTOP)  # the four must not end by themselves
    waiting = [threading.Thread(target=wait_for_turn, args=(n,)) for n in range(30)]
    for each in waiting:
        each.start()
    wait_until(lambda: served.status()["waiting"] >= 25, "the others do not wait", 30)
    os.kill(engine, signal.SIGKILL)
    killed = time.monotonic()
    for each in [*threads, *waiting]:
        each.join(120)
    print(f"\nall answered {time.monotonic() - killed:.1f} s after the kill")

    assert 4 == len(ended)
    assert all("in the middle of this answer" in text and "SIGKILL" in text for text in ended), (
        ended
    )
    text = expected.choices[0].message.content
    assert {text: 30} == {found: list(answers.values()).count(found) for found in answers.values()}
    assert engine != served.state["engine"]
