"""
The real openai client against a gateway on loopback.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from support.gateway import KEY, Gateway

openai = pytest.importorskip("openai")

MISSING = "missing_required_parameter"


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as found:
        yield found


def ask(client: openai.OpenAI, text: str, **more: object) -> openai.types.chat.ChatCompletion:
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="finetuned", messages=messages, **more)


def test_a_chat_is_answered_and_labelled_with_its_version(client: openai.OpenAI) -> None:
    """
    The stable name is asked, and the answer names the version that gave it.
    """
    found = ask(client, "hello there")
    assert "base says: hello there" == found.choices[0].message.content
    assert ("stop", "finetuned@base") == (found.choices[0].finish_reason, found.model)
    assert (2, 4, 6) == (
        found.usage.prompt_tokens,
        found.usage.completion_tokens,
        found.usage.total_tokens,
    )


def test_a_stream_has_every_piece_and_then_the_usage(client: openai.OpenAI) -> None:
    """
    A stream is the same text in pieces; include_usage adds a chunk without choices.
    """
    chunks = list(ask(client, "a b c", stream=True, stream_options={"include_usage": True}))
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "base says: a b c" == "".join(texts)
    assert len([t for t in texts if t]) == 5
    assert 5 == chunks[-1].usage.completion_tokens
    assert "stop" == chunks[-2].choices[0].finish_reason


def test_probabilities_are_given_for_each_token(client: openai.OpenAI) -> None:
    """
    logprobs has one entry a token, with its alternatives.
    """
    found = ask(client, "x", logprobs=True, top_logprobs=1).choices[0].logprobs.content
    assert ["base", " says:", " x"] == [token.token for token in found]
    assert -0.1 == found[0].top_logprobs[0].logprob


def test_tool_calls_have_ids(client: openai.OpenAI) -> None:
    """
    What the model calls is in tool_calls, each with an id of its own.
    """
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    choice = ask(client, "x", tools=[tool]).choices[0]
    assert "tool_calls" == choice.finish_reason
    assert "look" == choice.message.tool_calls[0].function.name
    assert choice.message.tool_calls[0].id.startswith("call_")


def test_a_completion_goes_on_with_a_text(client: openai.OpenAI) -> None:
    """
    /v1/completions takes text as it is, whole and streamed.
    """
    whole = client.completions.create(model="finetuned", prompt="once", max_tokens=2)
    assert ("base says:", "length") == (whole.choices[0].text, whole.choices[0].finish_reason)
    parts = client.completions.create(model="finetuned", prompt="once", stream=True)
    assert "base says: once" == "".join(part.choices[0].text for part in parts)


def test_embeddings_come_as_the_client_decodes_them(client: openai.OpenAI) -> None:
    """
    The client asks for base64 by itself and gets the engine's numbers back.
    """
    found = client.embeddings.create(model="finetuned", input=["ab", "abcd"])
    assert [[2.0, 1.0], [4.0, 1.0]] == [item.embedding for item in found.data]


def test_the_stable_name_is_listed_first(client: openai.OpenAI) -> None:
    """
    /v1/models has the stable name and what is loaded.
    """
    assert ["finetuned", "finetuned@base"] == [m.id for m in client.models.list()]


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"n": 2}, "n", "invalid_value"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "invalid_value"),
        ({"logit_bias": {"1": 5}}, "logit_bias", "unsupported_parameter"),
        ({"extra_body": {"min_p": 0.1}}, "min_p", "unsupported_parameter"),
        ({"max_tokens": 10**6}, "max_tokens", "invalid_value"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"stop": 3}, "stop", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", MISSING),
    ],
)
def test_what_is_not_supported_is_refused_by_its_name(
    client: openai.OpenAI, more: dict[str, object], param: str, code: str
) -> None:
    """
    No field is ignored: the answer is a 400 in OpenAI's shape that names it.
    """
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "x", **more)
    assert (param, code) == (refused.value.param, refused.value.code)
    assert "invalid_request_error" == refused.value.type


def test_half_a_character_is_refused_and_takes_no_place(
    client: openai.OpenAI, gateway: Gateway
) -> None:
    """
    JSON can spell half a surrogate pair, UTF-8 and the engine's lines cannot. More of them than
    there are places, and the next request is answered.
    """
    system = {"role": "system", "content": "a\udcff"}
    tool = {"type": "function", "function": {"name": "f", "description": "a\udcff"}}
    hello = {"role": "user", "content": "x"}
    bodies = [
        ("messages[0].content", {"messages": [system, hello]}),
        ("tools[0].function.description", {"messages": [hello], "tools": [tool]}),
    ]
    for _ in range(20):
        for param, body in bodies:
            answer = httpx.post(
                f"{gateway.url}/v1/chat/completions",
                content=json.dumps({"model": "finetuned", **body}),
            )
            assert (400, param) == (answer.status_code, answer.json()["error"]["param"])

    assert 0 == gateway.service.queue.running
    assert ask(client, "still here").choices


def test_an_unknown_model_is_a_404_with_the_known_names(client: openai.OpenAI) -> None:
    """
    The message lists what can be asked.
    """
    with pytest.raises(openai.NotFoundError, match="finetuned@base"):
        client.completions.create(model="gpt-9", prompt="x")
    with pytest.raises(openai.NotFoundError, match="there is no version v0042"):
        client.completions.create(model="finetuned@v0042", prompt="x")


def test_a_refusal_of_the_engine_before_the_first_token_has_a_status(
    client: openai.OpenAI,
) -> None:
    """
    A stream that cannot begin is a 400, not a 200 with an error inside.
    """
    with pytest.raises(openai.BadRequestError, match="of fail"):
        ask(client, "fail", stream=True)


def test_an_engine_that_dies_once_loses_no_request_that_had_not_begun(
    client: openai.OpenAI, gateway: Gateway
) -> None:
    """
    The request is asked again of the next engine.
    """
    before = gateway.service.engine.starts
    assert "base says: die once" == ask(client, "die once").choices[0].message.content
    assert before + 1 == gateway.service.engine.starts


def test_a_stream_that_had_begun_ends_with_an_error(
    client: openai.OpenAI, gateway: Gateway
) -> None:
    """
    The client gets the text so far and then an error that says why; there is no [DONE].
    """
    texts: list[str] = []
    stream = ask(client, "die at 2", stream=True)
    with pytest.raises(openai.APIError, match="in the middle of this answer"):
        texts.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "base says:" == "".join(texts)
    assert "base says: again" == ask(client, "again").choices[0].message.content


def test_a_request_that_kills_every_engine_is_not_asked_for_ever(client: openai.OpenAI) -> None:
    """
    After the second engine it fails with 503.
    """
    with pytest.raises(openai.InternalServerError, match="ended 2 times") as failed:
        ask(client, "die always")
    assert 503 == failed.value.status_code


def test_a_client_that_goes_stops_the_engine(client: openai.OpenAI, gateway: Gateway) -> None:
    """
    Closing a stream cancels the request in the engine.
    """
    from support.gateway import wait_until

    seen = gateway.root / "cancelled"
    seen.unlink(missing_ok=True)
    stream = ask(client, "slow 0.2 " + "word " * 50, stream=True)
    next(iter(stream))
    stream.close()
    wait_until(seen.exists, "the engine went on")
    wait_until(lambda: gateway.service.queue.running == 0, "the queue still counts it")


def test_a_json_schema_reaches_the_engine(client: openai.OpenAI) -> None:
    """
    response_format with a schema is accepted as the client sends it; a deep one is refused.
    """
    schema: dict[str, object] = {"type": "object"}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}
    assert ask(client, "x", response_format=form).choices[0].message.content
    for _ in range(40):
        schema = {"properties": {"a": schema}}
    form["json_schema"] = {"name": "s", "schema": schema}
    with pytest.raises(openai.BadRequestError, match="nested"):
        ask(client, json.dumps("x"), response_format=form)
