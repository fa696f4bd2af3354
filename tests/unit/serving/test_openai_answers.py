"""
Requests to a server with OpenAI's interface, and what becomes of its answers and errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.gateway import wait_until
from support.server_pair import MICRO, Pair, error_of, paired, prepare, text_of
from support.vllm_server import VllmServer, listening


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """
    Three versions, the first in use; tests that share it change nothing.
    """
    layout = prepare(tmp_path_factory.mktemp("root"))
    with listening(VllmServer(MICRO)) as server, paired(layout, server) as pair:
        yield pair


def test_a_request_is_written_as_openai_has_it(pair: Pair) -> None:
    """
    Parameters, a schema, the template's switch, and a call with its id and arguments as text.
    """
    call = {"id": "c9", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c9", "content": "json"},
    ]
    schema = {"type": "object", "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    same = {"temperature": 0.5, "top_p": 0.9, "top_k": 4, "seed": 3, "stop": ["END"]}
    response = pair.ask("", messages=messages, max_tokens=9, response_format=wanted, **same)

    assert text_of(response) == '{"a": 1}'
    body = pair.server.bodies[-1]
    assert same == {key: body[key] for key in same}
    assert body["model"] == "finetuned@v0001"
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["response_format"]["json_schema"]["schema"] == schema  # type: ignore[index]
    assert body["messages"][1]["tool_calls"] == [  # type: ignore[index]
        {**call, "function": {"name": "look", "arguments": '{"at":1}'}}
    ]


def test_all_parts_of_an_answer_arrive(pair: Pair) -> None:
    """
    Probabilities, counts, reasoning, and calls whose arguments came in pieces.
    """
    found = pair.ask("think", logprobs=True, top_logprobs=1).json()
    (choice,) = found["choices"]
    assert choice["message"]["reasoning_content"] == "hmm"
    assert [1] * 3 == [len(token["top_logprobs"]) for token in choice["logprobs"]["content"]]
    assert found["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}
    plain = httpx.post(f"{pair.gateway.url}/generate", json={"prompt": "x"}, timeout=30).json()
    assert plain["confidence"] == pytest.approx(0.9048, abs=1e-4)
    text = httpx.post(
        f"{pair.gateway.url}/v1/completions",
        json={"model": "finetuned@base", "prompt": "x", "logprobs": 1},
        timeout=30,
    ).json()
    assert text["choices"][0]["text"] == "base says: x"
    assert text["choices"][0]["logprobs"]["tokens"] == ["base", " says:", " x"]
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    (choice,) = pair.ask("x", tools=[tool]).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {
        "name": "look",
        "arguments": '{"at":1}',
    }
    assert "logprobs" not in pair.server.bodies[-1]  # llama.cpp refuses them beside tools


def test_a_text_may_hold_any_character(pair: Pair) -> None:
    """
    Servers write U+2028 and U+0085 as they are; a stream's lines end at line feeds only.
    """
    odd = "a\u2028b\u0085c\x1cd"

    assert text_of(pair.ask(odd)) == f"v0001 says: {odd}"


@pytest.mark.parametrize(
    ("prompt", "status", "code", "words"),
    [
        ("fail 400 bad messages", 400, "invalid_value", "answered 400: bad messages"),
        ("fail 400 maximum context length is 9", 400, "context_length_exceeded", "length is 9"),
        ("fail 429 slow down", 503, "engine_unavailable", "slow down"),
        ("fail 500 out of memory", 503, "engine_failed", "out of memory"),
        ("error in the stream", 503, "engine_failed", "out of memory"),
        ("cut off", 503, "engine_failed", "without saying why"),
        ("break off", 503, "engine_unavailable", "connection to the engine was lost"),
    ],
)
def test_errors_of_the_server_have_our_shape(
    pair: Pair, prompt: str, status: int, code: str, words: str
) -> None:
    """
    With the status that tells a client whether to ask again, and what the server said.
    """
    response = pair.ask(prompt)

    assert (status, code) == error_of(response)
    assert words in response.json()["error"]["message"]


def test_an_answer_that_is_not_what_the_schema_says_is_an_error(pair: Pair) -> None:
    """
    Servers may ignore response_format; the whole answer is checked here, and never repaired.
    """
    response = pair.ask("prose", response_format={"type": "json_object"})

    assert error_of(response) == (503, "engine_failed")
    assert "not JSON" in response.json()["error"]["message"]


def test_a_client_that_goes_ends_the_request_at_the_server(pair: Pair) -> None:
    """
    Its connection is closed, so that the server stops generating.
    """
    body = {"model": "finetuned", "messages": [{"role": "user", "content": "slow 9 gone"}]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{pair.gateway.url}/v1/chat/completions", json=body, timeout=0.5)

    wait_until(lambda: "slow 9 gone" in pair.server.left, "the server still generates")
    wait_until(lambda: pair.gateway.service.queue.running == 0, "its place is not free")


def test_a_deadline_holds(tmp_path: Path) -> None:
    """
    The client is told, and the server's connection is closed.
    """
    layout = prepare(tmp_path, 1)
    with (
        listening(VllmServer(MICRO)) as server,
        paired(layout, server, request_seconds=0.5) as pair,
    ):
        late = pair.ask("slow 9 late")
        assert error_of(late) == (503, "deadline_exceeded")
        assert "was not whole within 0.5 s" in late.json()["error"]["message"]  # no grace added
        wait_until(lambda: "slow 9 late" in server.left, "the server still generates")
