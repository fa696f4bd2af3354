"""
The stable name follows current_model, and no request fails by that.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest

from finetuned.config import ServingConfig
from finetuned.core.promotion_watch import Health
from finetuned.files.health import read_health
from finetuned.layout import Layout
from finetuned.registry.current_model import promote, rollback
from support.gateway import Gateway, free_port, running_gateway, wait_until
from support.versions import commit


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    layout = Layout(tmp_path)
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    for _ in range(3):
        commit(layout)
    promote(layout, "v0001")
    with running_gateway(tmp_path, ServingConfig(port=free_port(), chat_port=0)) as running:
        yield running


def ask(gateway: Gateway, prompt: str = "x", model: str = "finetuned") -> httpx.Response:
    body = {"prompt": prompt, "model": model}
    return httpx.post(f"{gateway.url}/generate", json=body, timeout=30)


def answered_last(found: list[httpx.Response]) -> str:
    return found[-1].headers.get("x-finetuned-version", "none") if found else "nobody yet"


def test_promotion_and_rollback_are_followed_without_a_failed_request(gateway: Gateway) -> None:
    """
    Answers are of the version before or after a swap, each labelled with what gave it.
    """
    layout = Layout(gateway.root)
    found: list[httpx.Response] = []
    stop = threading.Event()

    def keep_asking() -> None:
        with httpx.Client(base_url=gateway.url, timeout=30) as http:
            while not stop.is_set():
                found.append(http.post("/generate", json={"prompt": "x"}))

    clients = [threading.Thread(target=keep_asking) for _ in range(3)]
    for client in clients:
        client.start()
    for wanted in ("v0002", "v0003", "v0001", "v0002"):
        promote(layout, wanted)
        wait_until(lambda name=wanted: answered_last(found) == name, wanted)
    rollback(layout, to="v0001")
    wait_until(lambda: answered_last(found) == "v0001", "rolled back")
    stop.set()
    for client in clients:
        client.join(30)
    assert {200} == {each.status_code for each in found}
    assert all(
        each.json()["text"].startswith(each.headers["x-finetuned-version"]) for each in found
    )
    assert {"v0001", "v0002", "v0003"} == {each.headers["x-finetuned-version"] for each in found}


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_in_service(gateway: Gateway) -> None:
    """
    The engine refuses its files; answers go on, and /health says what is wrong.
    """
    (gateway.root / "refuse-v0002").touch()
    promote(Layout(gateway.root), "v0002")
    wait_until(lambda: "v0002" in gateway.service.versions.problems, "no problem was shown", 5)
    assert "v0001 says: x" == ask(gateway).json()["text"]
    health = httpx.get(f"{gateway.url}/health", timeout=30).json()
    assert ("ok", "v0001") == (health["status"], health["model"])
    assert "hashes" in health["problems"]["v0002"]


def test_a_version_can_be_asked_by_its_name(gateway: Gateway) -> None:
    """
    NAME@VERSION loads what is not in use, NAME@base the base model.
    """
    assert "v0003 says: x" == ask(gateway, model="finetuned@v0003").json()["text"]
    assert "base says: x" == ask(gateway, model="finetuned@base").json()["text"]
    assert "v0001 says: x" == ask(gateway).json()["text"]


def test_what_fails_in_service_is_told_to_the_watch(gateway: Gateway) -> None:
    """
    control/health.json has the requests and errors of the version in use.
    """
    assert 200 == ask(gateway).status_code
    assert 503 == ask(gateway, "die at 1").status_code
    layout = Layout(gateway.root)
    expected = Health("v0001", 2, 1)
    wait_until(lambda: read_health(layout) == expected, "the watch was told something else", 10)


def test_state_names_the_service_and_goes_with_it(gateway: Gateway) -> None:
    """
    models/serving/state.json says where the service is and what it holds.
    """
    file = Layout(gateway.root).serving_state
    state = orjson.loads(file.read_bytes())
    assert ([gateway.url], "v0001") == (state["addresses"], state["model"])
    assert 0o600 == file.stat().st_mode & 0o777
