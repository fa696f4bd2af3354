"""
model.answer_format in the service: which requests it holds, who opts out, and what is copied.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from finetuned.core.answer_format import make_format
from support.server_pair import MICRO, Pair, error_of, paired, prepare
from support.vllm_server import VllmServer, listening

SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"a": {"type": "integer", "x-copied": True}},
    "required": ["a"],
}
PLAIN: dict[str, object] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
}
INVENTED = [{"path": "$.a", "value": "1"}]
"""Of the server's answer {"a": 1} to "json"."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """
    A service whose answers are held to SCHEMA unless a request says otherwise.
    """
    layout = prepare(tmp_path_factory.mktemp("root"), versions=1)
    with listening(VllmServer(MICRO)) as server, paired(layout, server) as pair:
        pair.gateway.service.answer_format = make_format("a", SCHEMA)
        yield pair


def post(pair: Pair, path: str, **body: object) -> httpx.Response:
    return httpx.post(f"{pair.gateway.url}{path}", json=body, timeout=30)


def held(pair: Pair) -> object:
    """
    Return the schema that the engine was last asked to hold to.
    """
    wanted = pair.server.bodies[-1].get("response_format")
    return wanted and wanted["json_schema"]["schema"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/generate", {"prompt": "json"}), ("/chat", {"message": "json"})],
)
def test_the_own_routes_hold_answers_and_say_what_was_invented(pair, path, body):
    """
    The engine is not told of the mark, which is a keyword of ours; a client may opt out.
    """
    found = post(pair, path, **body).json()
    assert PLAIN == held(pair)
    assert (False, INVENTED) == (found["copied"], found["invented"])

    found = post(pair, path, **body, response_format={"type": "text"}).json()
    assert None is held(pair)
    assert (None, []) == (found["copied"], found["invented"])


def test_a_chat_is_held_unless_it_says_otherwise(pair):
    """
    Whole and streamed; values of any earlier turn are copied.
    """
    (choice,) = pair.ask("json").json()["choices"]
    assert PLAIN == held(pair)
    assert (False, INVENTED) == (choice["copied"], choice["invented"])
    told = [{"role": "system", "content": "It is 1."}, {"role": "user", "content": "json"}]
    (choice,) = pair.ask("", messages=told).json()["choices"]
    assert (True, []) == (choice["copied"], choice["invented"])

    lines = pair.ask("json", stream=True).text.splitlines()
    chunks = [json.loads(x[6:]) for x in lines if x.startswith("data: {")]
    ends = [c["choices"][0] for c in chunks if c["choices"][0]["finish_reason"]]
    assert [(False, INVENTED)] == [(end["copied"], end["invented"]) for end in ends]
    assert 1 == sum("copied" in chunk["choices"][0] for chunk in chunks)

    for free in ({"response_format": {"type": "text"}}, {"stop": ["END"]}, {"tools": [TOOL]}):
        (choice,) = pair.ask("json", **free).json()["choices"]
        assert None is held(pair)
        assert "copied" not in choice
    own = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    (choice,) = pair.ask("json", response_format=own).json()["choices"]
    assert {"type": "object"} == held(pair)
    assert "copied" not in choice


TOOL = {"type": "function", "function": {"name": "look"}}


def test_a_schema_of_a_client_may_mark_values_and_a_wrong_mark_is_refused(pair):
    """
    With the field and the place in it.
    """
    own = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    (choice,) = pair.ask("json", response_format=own).json()["choices"]
    assert (False, INVENTED) == (choice["copied"], choice["invented"])

    wrong = {"type": "object", "properties": {"a": {"type": "string", "x-copied": "yes"}}}
    own = {"type": "json_schema", "json_schema": {"name": "n", "schema": wrong}}
    response = pair.ask("json", response_format=own)
    assert (400, "invalid_value") == error_of(response)
    error = response.json()["error"]
    assert "response_format.json_schema.schema" == error["param"]
    assert "#/properties/a: x-copied must be true" in error["message"]


def test_invented_answers_are_counted(pair):
    """
    By model; answers that were not looked at are in neither count.
    """

    def counts() -> list[float]:
        text = httpx.get(f"{pair.gateway.url}/metrics", timeout=30).text
        name = "finetuned_answers_checked_total"
        return [
            sum(
                float(line.split()[-1])
                for line in text.splitlines()
                if line.startswith(name) and f'copied="{copied}"' in line
            )
            for copied in ("yes", "no")
        ]

    before = counts()
    pair.ask("json")
    pair.ask(
        "json", messages=[{"role": "user", "content": "1"}, {"role": "user", "content": "json"}]
    )
    pair.ask("json", response_format={"type": "text"})

    assert [before[0] + 1, before[1] + 1] == counts()
