"""
The routes of the project's documents, as their curl lines ask them, and the health routes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from support.gateway import Gateway


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=30) as found:
        yield found


def test_generate_answers_a_prompt(http: httpx.Client) -> None:
    """
    POST /generate with prompt and max_tokens; the headers say what answered.
    """
    found = http.post("/generate", json={"prompt": "a b", "max_tokens": 3})
    assert 200 == found.status_code
    assert ("base says: a", "length") == (found.json()["text"], found.json()["finish_reason"])
    assert ("base", "miss") == (
        found.headers["x-finetuned-version"],
        found.headers["x-finetuned-cache"],
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            """curl -X POST {url}/generate \
              -d '{{"prompt": "...", "max_tokens": 512}}'""",
            {"text": "base says: ..."},
        ),
        (
            """curl -X POST {url}/chat \
              -H "Content-Type: application/json" \
              -d '{{"message": "Hello, test the system"}}'""",
            {"response": "base says: Hello, test the system"},
        ),
        ("curl {url}/health", {"status": "ok"}),
        ("curl {url}/status", {"status": "healthy"}),
    ],
)
def test_the_documents_own_curl_lines_are_answered(
    gateway: Gateway, line: str, found: dict[str, str]
) -> None:
    """
    Letter by letter but for the address, and the key that the test's service adds: the first one
    says nothing of a Content-Type, and curl then says that the body is a form.
    """
    shown = subprocess.run(
        ["bash", "-c", line.format(url=gateway.url)], check=True, capture_output=True
    )
    answer = json.loads(shown.stdout)
    assert found == {key: answer[key] for key in found}


def test_chat_answers_with_the_keys_of_the_documents(http: httpx.Client) -> None:
    """
    POST /chat has response, model_used, timestamp, processing_time and tokens_used.
    """
    found = http.post("/chat", json={"message": "hi", "context": {"host": "a"}}).json()
    assert ("base says: hi", "finetuned@base", 4) == (
        found["response"],
        found["model_used"],
        found["tokens_used"],
    )
    assert {"timestamp", "processing_time"} < set(found)


def test_chat_streams_plain_text(http: httpx.Client) -> None:
    """
    stream: true gives text/plain, also of the model in the path.
    """
    found = http.post("/chat/finetuned@base", json={"message": "hi", "stream": True})
    assert "base says: hi" == found.text
    assert "text/plain; charset=utf-8" == found.headers["content-type"]


def test_status_and_models_describe_the_service(http: httpx.Client) -> None:
    """
    The keys of the documents' gateway are there.
    """
    status = http.get("/status").json()
    assert {"status", "models", "uptime", "total_requests", "requests_by_model"} <= set(status)
    assert ("healthy", "base") == (status["status"], status["models"]["finetuned"]["model_id"])
    about = http.get("/").json()
    assert ("2.0.0", ["finetuned", "finetuned@base"]) == (about["version"], about["models"])
    card = {"name", "description", "strengths", "status"}
    assert card <= set(http.get("/models").json()["models"]["finetuned"])
    assert card <= set(http.get("/finetuned/models").json())
    assert 404 == http.get("/other/models").status_code


def test_ready_means_that_a_token_was_generated(http: httpx.Client, gateway: Gateway) -> None:
    """
    /health asks the engine where no answer shows that it works.
    """
    gateway.service.answered_at = None
    for path in ("/health", "/health/ready"):
        found = http.get(path)
        assert (200, "ok") == (found.status_code, found.json()["status"])
    assert gateway.service.answered_at is not None
    assert {"status": "ok"} == http.get("/health/live").json()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"", 400, "missing_required_parameter"),
        (b"[]", 400, "invalid_value"),
        (b"{}", 400, "missing_required_parameter"),
        (b'{"prompt": ""}', 400, "invalid_value"),
        (b'{"prompt": "x", "max_tokens": "3"}', 400, "invalid_value"),
        (b'{"prompt": "x", "max_tokens": true}', 400, "invalid_value"),
        (b'{"prompt": "x", "temperature": NaN}', 400, "invalid_value"),
        (b"\xff\xfe", 400, "invalid_json"),
        (b'{"prompt": "\\ud800"}', 400, "invalid_value"),
        (b'{"message": "x", "context": {"a": NaN}}', 400, "invalid_value"),
        (b'{"message": "x", "context": {"a": "\\ud800"}}', 400, "invalid_value"),
        (b'{"message": "x", "context": {"a": 1%s}}' % (b"0" * 30), 400, "invalid_value"),
        (b'{"message": "x", "context": {"a": 1%s}}' % (b"0" * 5000), 400, "invalid_json"),
        (b"[" * 100000, 400, "invalid_json"),
    ],
)
def test_a_body_that_is_wrong_is_refused_in_openai_s_shape(
    http: httpx.Client, body: bytes, status: int, code: str
) -> None:
    """
    Whatever the bytes are, the answer is a 400 with a sentence, never a 500.
    """
    path = "/chat" if b"message" in body else "/generate"
    found = http.post(path, content=body, headers={"content-type": "application/json"})
    assert status == found.status_code, found.text
    assert {"message", "type", "param", "code"} == set(found.json()["error"])
    assert code == found.json()["error"]["code"], found.text


def test_a_route_that_is_not_there_is_refused_in_openai_s_shape(http: httpx.Client) -> None:
    """
    404 and 405 have a sentence too.
    """
    missing = http.get("/v1/nothing")
    assert (404, True) == (
        missing.status_code,
        "no such route" in missing.json()["error"]["message"],
    )
    assert 405 == http.get("/generate").status_code
