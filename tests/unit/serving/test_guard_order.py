"""
All guards together: who meets which first.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from finetuned.files.keys import create_key
from finetuned.layout import Layout
from finetuned.serving.gateway.guard import guarded
from finetuned.serving.gateway.keys import KeyRing

PATH = "/v1/chat/completions"
ORIGIN = "https://a.example"


async def route(request: Request) -> JSONResponse:
    return JSONResponse({"name": request.state.caller.name, "n": len(await request.body())})


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    app = Starlette(routes=[Route(PATH, route, methods=["POST"])])
    ring = KeyRing(Layout(tmp_path), api_key="k" * 20)
    return TestClient(guarded(app, ring, origins=(ORIGIN,), body_bytes=100))


def test_who_has_no_key_is_told_that_first(client: TestClient) -> None:
    """
    Their body is not read, however long it is; the answer has the headers of every answer.
    """
    answer = client.post(PATH, content=b"x" * 101)

    assert 401 == answer.status_code
    assert "nosniff" == answer.headers["x-content-type-options"]


def test_a_key_opens_up_to_the_limit(client: TestClient) -> None:
    """
    The route gets the caller and the whole body.
    """
    key = {"x-api-key": "k" * 20}

    assert 413 == client.post(PATH, content=b"x" * 101, headers=key).status_code
    answer = client.post(PATH, content=b"x" * 100, headers=key)
    assert {"name": "environment", "n": 100} == answer.json()


def test_a_browser_may_ask_whether_it_may_without_a_key(client: TestClient) -> None:
    """
    A preflight cannot carry one; the request itself must, and its refusal can be read.
    """
    asks = {"origin": ORIGIN, "access-control-request-method": "POST"}

    assert 200 == client.options(PATH, headers=asks).status_code
    answer = client.post(PATH, headers={"origin": ORIGIN})
    assert 401 == answer.status_code
    assert ORIGIN == answer.headers["access-control-allow-origin"]


def test_keys_of_the_list_open_too(client: TestClient, tmp_path: Path) -> None:
    """
    One that was made while the service runs.
    """
    _, text = create_key(Layout(tmp_path), "a", now=1_800_000_000.0)

    assert 200 == client.post(PATH, headers={"authorization": f"Bearer {text}"}).status_code
