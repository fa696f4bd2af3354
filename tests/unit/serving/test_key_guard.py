"""
A request's key: what it opens, and what it does not.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from finetuned.core.access import TIERS, Caller, Scope
from finetuned.files.key_use import read_last_use
from finetuned.files.keys import create_key, keys_file, revoke_key, rotate_key, time_text
from finetuned.layout import Layout
from finetuned.serving.gateway.keys import KeyGuard, KeyRing
from finetuned.serving.gateway.refusal import Refused

NOW = 1_800_000_000.0
ASK = ("POST", "/v1/chat/completions")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ring_of(layout: Layout, clock: Clock, **more: str) -> KeyRing:
    return KeyRing(layout, clock=clock, **more)


def bearer(key: str) -> Headers:
    return Headers({"authorization": f"Bearer {key}"})


def refused(found: Caller | Refused | None) -> Refused:
    assert isinstance(found, Refused)
    return found


def test_both_headers_open_what_the_scope_opens(layout: Layout, clock: Clock) -> None:
    """
    A key for answers does not read metrics, and the message says which scope does.
    """
    key, text = create_key(layout, "a", now=NOW, scopes=(Scope.ASK,))
    ring = ring_of(layout, clock)
    for headers in (bearer(text), Headers({"x-api-key": text}), Headers({"X-API-KEY": text})):
        found = ring.check(*ASK, headers)
        assert Caller(id=key.id, name="a", scopes=(Scope.ASK,), tier=TIERS["standard"]) == found
    answer = refused(ring.check("GET", "/metrics", bearer(text)))

    assert 403 == answer.status
    assert "--scope metrics" in answer.message
    assert 404 == refused(ring.check("POST", "/v1/responses", bearer(text))).status


def test_without_a_key_only_one_route_is_open(layout: Layout, clock: Clock) -> None:
    """
    Also in a root without any key.
    """
    ring = ring_of(layout, clock)
    nothing = Headers({})

    assert ring.check("GET", "/health/live", nothing) is None
    for path in ("/", "/health/ready", "/metrics", "/v1/models", "/openapi.json", "/other"):
        assert 401 == refused(ring.check("GET", path, nothing)).status


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic abc"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer  "},
        {"authorization": "Bearer ft_00000000_" + "a" * 43},
        {"authorization": "Bearer " + "x" * 100_000},
        {"authorization": "Bearer \xff\xfe"},
        {"x-api-key": "' OR 1=1"},
        {"x-api-key": "ft__"},
    ],
)
def test_what_is_no_key_opens_nothing(
    layout: Layout, clock: Clock, headers: dict[str, str]
) -> None:
    """
    And nothing of it is repeated in the answer.
    """
    create_key(layout, "a", now=NOW)
    answer = refused(ring_of(layout, clock).check(*ASK, Headers(headers)))

    assert 401 == answer.status
    assert ("www-authenticate", 'Bearer realm="finetuned"') in answer.headers
    assert len(answer.body()) < 400


def test_two_keys_that_differ_are_not_chosen_from(layout: Layout, clock: Clock) -> None:
    """
    The same one twice is fine.
    """
    _, text = create_key(layout, "a", now=NOW)
    _, other = create_key(layout, "b", now=NOW)
    ring = ring_of(layout, clock)
    both = Headers({"authorization": f"Bearer {text}", "x-api-key": other})
    same = Headers({"authorization": f"Bearer {text}", "x-api-key": text})

    assert 401 == refused(ring.check(*ASK, both)).status
    assert isinstance(ring.check(*ASK, same), Caller)


def test_a_change_of_the_file_is_seen_at_the_next_request(layout: Layout, clock: Clock) -> None:
    """
    Made, rotated, revoked: no restart, no waiting.
    """
    ring = ring_of(layout, clock)
    key, text = create_key(layout, "a", now=NOW)
    assert isinstance(ring.check(*ASK, bearer(text)), Caller)
    _, new, new_text = rotate_key(layout, "a", now=NOW, grace_seconds=5)
    assert isinstance(ring.check(*ASK, bearer(text)), Caller)
    clock.now += 5

    assert "revoked_api_key" == refused(ring.check(*ASK, bearer(text))).code
    assert isinstance(ring.check(*ASK, bearer(new_text)), Caller)
    revoke_key(layout, new.id, now=clock.now)
    assert "revoked_api_key" == refused(ring.check(*ASK, bearer(new_text))).code
    assert key.id != new.id


def test_an_expired_key_is_told_so_only_with_its_secret(layout: Layout, clock: Clock) -> None:
    """
    Whoever knows the id alone learns nothing about the key.
    """
    key, text = create_key(layout, "a", now=NOW, seconds=10)
    ring = ring_of(layout, clock)
    clock.now += 10

    assert "expired_api_key" == refused(ring.check(*ASK, bearer(text))).code
    guessed = f"ft_{key.id}_{'a' * 43}"
    assert "invalid_api_key" == refused(ring.check(*ASK, bearer(guessed))).code


def test_a_list_that_cannot_be_read_lets_nobody_in(layout: Layout, clock: Clock) -> None:
    """
    It may have been a revocation that broke it. Put right, it is read again within a second.
    """
    _, text = create_key(layout, "a", now=NOW)
    ring = ring_of(layout, clock, api_key="e" * 20)
    good = keys_file(layout).read_bytes()
    keys_file(layout).write_bytes(b"{")

    assert 503 == refused(ring.check(*ASK, bearer(text))).status
    assert ring.problem is not None
    assert isinstance(ring.check(*ASK, bearer("e" * 20)), Caller)
    keys_file(layout).write_bytes(good)
    clock.now += 1
    assert isinstance(ring.check(*ASK, bearer(text)), Caller)
    assert ring.problem is None


def test_a_list_that_was_deleted_lets_nobody_in(layout: Layout, clock: Clock) -> None:
    """
    Keys do not live on in memory.
    """
    _, text = create_key(layout, "a", now=NOW)
    ring = ring_of(layout, clock)
    keys_file(layout).unlink()

    assert 401 == refused(ring.check(*ASK, bearer(text))).status


def test_keys_of_the_process_open_what_they_should(layout: Layout, clock: Clock) -> None:
    """
    API_KEY is a key like others; the local one is its owner's.
    """
    ring = ring_of(layout, clock, api_key="e" * 20, local_key="l" * 20)

    assert isinstance(ring.check(*ASK, bearer("e" * 20)), Caller)
    assert isinstance(ring.check("GET", "/metrics", bearer("e" * 20)), Caller)
    assert 403 == refused(ring.check("GET", "/versions", bearer("e" * 20))).status
    assert isinstance(ring.check("GET", "/", bearer("l" * 20)), Caller)


def test_checking_writes_nothing_and_the_last_use_is_kept(layout: Layout, clock: Clock) -> None:
    """
    It is written when the gateway says so.
    """
    key, text = create_key(layout, "a", now=NOW)
    ring = ring_of(layout, clock)
    before = {p: p.stat().st_mtime_ns for p in layout.root.rglob("*")}
    clock.now += 3
    ring.check(*ASK, bearer(text))

    assert before == {p: p.stat().st_mtime_ns for p in layout.root.rglob("*")}
    ring.save_last_use()
    assert {key.id: time_text(NOW + 3)} == read_last_use(layout)


def test_the_guard_answers_in_openais_shape(layout: Layout, clock: Clock) -> None:
    """
    The application behind it is not called; with a key it gets the caller.
    """
    calls = []

    def route(request: Request) -> JSONResponse:
        calls.append(request.state.caller)
        return JSONResponse({})

    app = Starlette(routes=[Route("/v1/models", route), Route("/health/live", route)])
    key, text = create_key(layout, "a", now=NOW)
    client = TestClient(KeyGuard(app, ring_of(layout, clock)))

    answer = client.get("/v1/models")
    assert 401 == answer.status_code
    assert "close" == answer.headers["connection"]
    assert {"message", "type", "param", "code"} == answer.json()["error"].keys()
    assert [] == calls
    assert 200 == client.get("/v1/models", headers={"X-API-Key": text}).status_code
    assert 200 == client.get("/health/live").status_code
    assert [key.id, None] == [caller and caller.id for caller in calls]
