"""
schemathesis asks every route of the OpenAPI document: no 5xx, and every answer fits its schema.

Bodies that fit the document and bodies that do not, with a key and without, with other methods
and missing headers. Each failure is printed with a curl line that shows it again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from finetuned.config import ServingConfig
from support.gateway import KEY, Gateway, free_port, running_gateway

LONG = bool(os.environ.get("FINETUNED_LONG"))
EXAMPLES = 100 if LONG else 12
"""Drawn requests of each route."""
PHASES = "examples,coverage,fuzzing" if LONG else "fuzzing"
"""The long run goes through every field at its bounds, too: 1,200 requests more."""

LEFT_OUT = ",".join(
    (
        # A body may fit the document and name a model that there is not, or ask for more tokens
        # than are allowed.
        "positive_data_acceptance",
        # For routes that make and delete things.
        "use_after_free",
        "ensure_resource_availability",
    )
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """
    A running service over the fake engine that adds no key of its own.
    """
    config = ServingConfig(port=free_port(), chat_port=0, embeddings=True, request_seconds=20.0)
    with running_gateway(tmp_path_factory.mktemp("root"), config, gives_key=False) as running:
        yield running


def document(gateway: Gateway) -> httpx.Response:
    return httpx.get(f"{gateway.url}/openapi.json", headers={"X-API-Key": KEY}, timeout=30)


def test_every_route_of_the_application_is_in_the_document(gateway: Gateway) -> None:
    """
    But for the page, whose answers are HTML; and each needs a key but one.
    """
    found = document(gateway).json()
    expected = {
        *("/", "/status", "/models", "/{model_id}/models", "/metrics", "/generate", "/chat"),
        *("/chat/{model_id}", "/health", "/health/live", "/health/ready", "/v1/models"),
        *("/v1/models/{name}", "/v1/chat/completions", "/v1/completions", "/v1/embeddings"),
        "/v1/feedback",
    }
    assert expected == set(found["paths"])
    open_to_all = [
        path
        for path, operations in found["paths"].items()
        for operation in operations.values()
        if operation.get("security") == []
    ]
    assert ["/health/live"] == open_to_all
    assert {"bearer", "key"} == set(found["components"]["securitySchemes"])


@pytest.mark.skipif(find_spec("schemathesis") is None, reason="needs schemathesis")
def test_schemathesis_finds_no_answer_that_does_not_fit(gateway: Gateway, tmp_path: Path) -> None:
    """
    The same requests at each run.
    """
    (tmp_path / "openapi.json").write_bytes(document(gateway).content)
    options = ["--phases", PHASES, "--exclude-checks", LEFT_OUT]
    options += ["--max-examples", str(EXAMPLES), "--seed", "7", "--continue-on-failure"]
    options += ["--no-shrink", "--request-timeout", "60", "--suppress-health-check", "all"]
    options += ["--url", gateway.url, "--header", f"Authorization: Bearer {KEY}"]
    found = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", *options],
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    print(found.stdout[-2000:])
    assert 0 == found.returncode, found.stdout[-20000:] + found.stderr[-2000:]
    assert gateway.service.ready
