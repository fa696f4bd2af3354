"""
A server with vLLM's interface as the engine: which version it answers with, and as what.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from finetuned.config import ServingConfig
from finetuned.errors import ConfigError
from finetuned.registry.current_model import promote, rollback
from support.gateway import free_port, running_gateway, wait_until
from support.server_pair import MICRO, Pair, error_of, paired, prepare, text_of
from support.versions import commit, damage
from support.vllm_server import VllmServer, listening


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    layout = prepare(tmp_path)
    with listening(VllmServer(MICRO)) as server, paired(layout, server) as pair:
        yield pair


def test_promotion_and_rollback_load_the_adapter_and_no_request_fails(pair: Pair) -> None:
    """
    Each answer is of the folder that its label names, and unneeded adapters are unloaded.
    """
    found: list[httpx.Response] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            found.append(pair.ask("x"))

    clients = [threading.Thread(target=keep_asking) for _ in range(2)]
    for client in clients:
        client.start()

    def answers(version: str) -> bool:
        return bool(found) and found[-1].headers.get("x-finetuned-version") == version

    for version in ("v0002", "v0003"):
        promote(pair.layout, version)
        wait_until(lambda name=version: answers(name), version)
    rollback(pair.layout, to="v0001")
    wait_until(lambda: answers("v0001"), "rolled back")
    wait_until(lambda: "finetuned@v0002" not in pair.server.adapters, "unloaded")
    stop.set()
    for client in clients:
        client.join(30)
    assert {200} == {each.status_code for each in found}
    assert {f"{each.headers['x-finetuned-version']} says: x" for each in found} == {
        text_of(each) for each in found
    }
    assert all(text_of(e).startswith(e.headers["x-finetuned-version"]) for e in found)
    assert all(e.json()["model"] == f"finetuned@{e.headers['x-finetuned-version']}" for e in found)


def test_the_load_request_is_vllms(pair: Pair) -> None:
    """
    Field names as in vLLM's LoadLoRAAdapterRequest; load_inplace only if the name is taken.
    """
    folder = str(pair.layout.versions / "v0001")

    assert {"lora_name": "finetuned@v0001", "lora_path": folder} == pair.server.loads[0]


def test_a_name_that_stands_for_another_folder_is_loaded_in_place(tmp_path: Path) -> None:
    """
    A root that was moved, or another root's version of that number.
    """
    layout = prepare(tmp_path)
    with listening(VllmServer(MICRO)) as server:
        server.adapters["finetuned@v0001"] = "/elsewhere/v0001"
        with paired(layout, server) as pair:
            assert text_of(pair.ask("x")) == "v0001 says: x"
            assert [True] == [load.get("load_inplace") for load in server.loads]
        with paired(layout, server):
            assert len(server.loads) == 1  # it is there from before


def test_a_server_that_was_started_again_is_given_its_adapters_again(pair: Pair) -> None:
    """
    The request that finds it out waits for that, and is answered.
    """
    pair.server.adapters.clear()

    assert text_of(pair.ask("x")) == "v0001 says: x"


def test_requests_wait_for_a_server_that_is_gone(tmp_path: Path) -> None:
    """
    /health says who cannot be reached; what had not begun is answered once it is back.
    """
    layout = prepare(tmp_path, 1)
    server = VllmServer(MICRO)
    port = free_port()
    with listening(server, port):
        pass
    with paired(layout, server, ready=False) as pair:
        wait_until(lambda: pair.gateway.service.engine_problem, "nothing is said")
        health = httpx.get(f"{pair.gateway.url}/health", timeout=30)
        assert health.status_code == 503
        assert f"{server.url} cannot be reached" in health.json()["reason"]
        with listening(server, port):
            wait_until(lambda: pair.gateway.service.ready, "it does not come back")
            assert text_of(pair.ask("x")) == "v0001 says: x"
        waiting: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: waiting.append(pair.ask("y")))
        asking.start()
        wait_until(lambda: pair.gateway.service.queue.waiting == 1, "it does not wait")
        with listening(server, port):
            asking.join(30)
        assert [text_of(each) for each in waiting] == ["v0001 says: y"]


def test_a_version_that_the_server_cannot_have_leaves_the_old_one(pair: Pair) -> None:
    """
    Damaged files, a refused adapter and a full model: each is said with the reason.
    """
    damage(pair.layout.versions / "v0002")
    link = pair.layout.current_model.with_name("new-link")
    link.symlink_to(pair.layout.versions / "v0002")  # promote() would refuse it
    link.replace(pair.layout.current_model)
    problems = pair.gateway.service.versions.problems
    wait_until(lambda: "v0002" in problems, "damage is not said")
    assert "finetuned@v0002" not in pair.server.adapters

    pair.server.refuse_adapters = "LoRA rank 64 is greater than max_lora_rank 16."
    promote(pair.layout, "v0003")
    wait_until(lambda: "v0003" in problems, "the refusal is not said")
    assert "greater than max_lora_rank 16" in problems["v0003"]

    full = commit(pair.layout, full=True)
    promote(pair.layout, full)
    wait_until(lambda: full in problems, "a full model is not said")
    assert f"{full} is a full model and no adapter" in problems[full]
    assert f"start it with {pair.layout.versions / full}" in problems[full]
    assert text_of(pair.ask("x")) == "v0001 says: x"
    assert problems[full] in str(pair.get("/status")["problems"])


def test_an_adapter_for_another_base_is_not_loaded(tmp_path: Path) -> None:
    """
    The server's list names the folder of its base; on another one the adapter would be wrong.
    """
    other = tmp_path / "other-base"
    other.mkdir()
    layout = prepare(tmp_path / "root", 1)
    with listening(VllmServer(other)) as server, paired(layout, server, ready=False) as pair:
        problems = pair.gateway.service.versions.problems
        wait_until(lambda: "v0001" in problems, "nothing is said")
        assert f"was started with {other}" in problems["v0001"]
        assert server.loads == []


def test_a_server_without_adapters_is_used_as_it_is_and_said_so(tmp_path: Path) -> None:
    """
    llama.cpp, or vLLM without VLLM_ALLOW_RUNTIME_LORA_UPDATING: no version's name is lent to it.
    """
    layout = prepare(tmp_path, 1)
    plain = VllmServer(MICRO, lora=False, owner="llamacpp")
    with listening(plain) as server, paired(layout, server) as pair:
        response = pair.ask("x")
        assert text_of(response) == "base says: x"
        assert response.json()["model"] == "finetuned@as-started"
        for path in ("/health", "/status"):
            note = str(pair.get(path)["engine_note"])
            assert "answers with whatever model it was started with (the-base)" in note
            assert "load_lora_adapter answers 404" in note
            assert pair.get(path)["engine"] == server.url
        assert error_of(pair.ask("x", "finetuned@v0001")) == (404, "model_not_found")
        assert text_of(pair.ask("x", "finetuned@as-started")) == "base says: x"


def test_the_key_of_the_server_is_sent_and_its_refusal_is_said(tmp_path: Path) -> None:
    """
    The message names the variable, and never the key.
    """
    layout = prepare(tmp_path, 1)
    with listening(VllmServer(MICRO, key="secret-key-of-the-engine")) as server:
        with paired(layout, server, key="secret-key-of-the-engine") as pair:
            assert text_of(pair.ask("x")) == "v0001 says: x"
        with paired(layout, server, key="another-key", ready=False) as pair:
            wait_until(lambda: pair.gateway.service.engine_problem, "nothing is said")
            assert "FINETUNED_ENGINE_KEY" in pair.gateway.service.engine_problem
            assert "another-key" not in pair.gateway.service.engine_problem


def test_a_server_that_does_not_say_where_its_base_is_is_trusted(tmp_path: Path) -> None:
    """
    Its model may have a name at a hub, or none at all.
    """
    layout = prepare(tmp_path, 1)
    for root in ("org/model", ""):
        server = VllmServer(Path())
        server.root = root
        with listening(server), paired(layout, server) as pair:
            assert text_of(pair.ask("x")) == "v0001 says: x"
            assert text_of(pair.ask("x", "finetuned@base")) == "base says: x"


def test_a_server_that_is_called_by_a_version_is_asked_for_it(tmp_path: Path) -> None:
    """
    llama-server --alias, or vLLM's --lora-modules: its list says which version it has.
    """
    layout = prepare(tmp_path, 2)
    with listening(VllmServer(MICRO, lora=False)) as server:
        server.adapters["finetuned@v0001"] = str(layout.versions / "v0001")
        server.adapters["finetuned@v0002"] = "/elsewhere/v0002"
        with paired(layout, server) as pair:
            assert pair.ask("x").json()["model"] == "finetuned@v0001"
            assert pair.get("/health")["engine_note"] == ""
            promote(layout, "v0002")
            problems = pair.gateway.service.versions.problems
            wait_until(lambda: "v0002" in problems, "another folder is taken for ours")
            assert text_of(pair.ask("x")) == "v0001 says: x"


@pytest.mark.parametrize(
    "address", ["", "vllm", "http://", "ftp://h/v1", "http://me:pass-word@h/v1", "http://h/v1?k=1"]
)
def test_an_address_that_cannot_be_used_is_refused_without_its_password(address: str) -> None:
    """
    config.toml may be readable by all: a key in it is refused, and not repeated in the log.
    """
    with pytest.raises(ConfigError, match=r"serving.engine .* FINETUNED_ENGINE_KEY") as error:
        ServingConfig(engine=address)
    assert "pass-word" not in str(error.value)


def test_a_second_service_of_ours_can_be_the_engine(tmp_path: Path) -> None:
    """
    It lists its versions by name, so answers keep their labels; it takes no adapters.
    """
    inner = prepare(tmp_path / "inner", 1)
    outer = prepare(tmp_path / "outer", 2)
    with running_gateway(inner.root, ServingConfig(port=free_port(), chat_port=0)) as behind:
        server = VllmServer(MICRO)
        server.url = f"{behind.url}/v1"
        with paired(outer, server) as pair:
            response = pair.ask("x")
            assert text_of(response) == "v0001 says: x"
            assert response.json()["model"] == "finetuned@v0001"
            promote(outer, "v0002")
            problems = pair.gateway.service.versions.problems
            wait_until(lambda: "v0002" in problems, "nothing is said")
            assert "does not list finetuned@v0002" in problems["v0002"]
            assert text_of(pair.ask("x")) == "v0001 says: x"
