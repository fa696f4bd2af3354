"""
``finetuned base fetch OWNER/NAME``: a model of the hub, whole or not at all.

The hub's own library downloads, from a server on this machine that answers as the hub does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from finetuned.bases.building import PREFIX
from finetuned.cli.program import main
from finetuned.files.shipped import shipped
from finetuned.layout import Layout
from support.loopback import Loopback, serving

HUB_ID, COMMIT = "someone/tiny-model", "c" * 40
WEIGHTS = "model.safetensors"
EXTRA = {
    "modeling_own.py": b"raise SystemExit('code of the repository was run')",
    "pytorch_model.bin": b"\x80\x04a pickle.",
    "onnx/model.safetensors": b"another format",
    "LICENSE": b"Do as you like.",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """
    A hub with one model: the embedded one, and files that must not be taken.
    """
    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        files = {p.name: p.read_bytes() for p in (shipped().bases / "micro").iterdir()}
        offer(server, files | EXTRA)
        yield server


def offer(server: Loopback, files: dict[str, bytes], commit: str = COMMIT) -> None:
    """
    Answer as the hub does: a listing, and each file at its commit.
    """
    listed = []
    for name, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        path = f"/{HUB_ID}/resolve/{commit}/{name}"
        server.bodies[path] = data
        server.headers[path] = {"ETag": f'"{digest}"', "X-Repo-Commit": commit}
        listed.append({"rfilename": name, "size": len(data), "blobId": digest[:40]})
        if name.endswith((".safetensors", ".bin")):
            listed[-1]["lfs"] = {"size": len(data), "sha256": digest, "pointerSize": 134}
    about = {
        "id": HUB_ID,
        "sha": commit,
        "siblings": listed,
        "cardData": {"license": "mit"},
        "safetensors": {"parameters": {"BF16": 3_734_528}, "total": 3_734_528},
    }
    server.bodies[f"/api/models/{HUB_ID}"] = json.dumps(about).encode()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "root")
    layout.root.mkdir()
    return layout


def fetch(layout: Layout, *args: str) -> int:
    return main(["base", "fetch", HUB_ID, *args, "--root", str(layout.root)])


def resolved(name: str) -> str:
    return f"/{HUB_ID}/resolve/{COMMIT}/{name}"


def test_a_model_of_the_hub_is_fetched_without_code_and_pickles(
    layout: Layout, hub: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With its licence and its size said before, and its commit kept.
    """
    assert 0 == fetch(layout)

    out, err = capsys.readouterr()
    assert f"{HUB_ID} at {COMMIT[:12]}: 3.7 M parameters, 7.4 MiB to download, licence mit" in err
    assert "tiny-model: can be used" in out
    folder = layout.bases / "tiny-model"
    assert [folder] == list(layout.bases.iterdir())
    assert {p.name for p in (shipped().bases / "micro").iterdir()} - {"LICENSE.txt"} | {
        "LICENSE",
        "LICENSE.txt",
        "source.json",
    } == {p.name for p in folder.iterdir()}
    origin = json.loads((folder / "source.json").read_text())
    assert (HUB_ID, COMMIT, "mit") == (origin["source"], origin["revision"], origin["licence"])


def test_files_that_came_whole_are_not_downloaded_again(
    layout: Layout, hub: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    After a download that broke off; no model is there in between.
    """
    hub.cut_after[resolved(WEIGHTS)] = 1 << 20

    assert 1 == fetch(layout)
    assert "files that came whole are kept" in capsys.readouterr().err
    assert [f"{PREFIX}tiny-model"] == [p.name for p in layout.bases.iterdir()]
    assert 0 == main(["base", "list", "--root", str(layout.root)])
    assert "tiny-model" not in capsys.readouterr().out

    before = [path for method, path, _ in hub.asked if method == "GET"]
    hub.broken.clear()
    hub.asked.clear()
    assert 0 == fetch(layout)
    asked = [path for method, path, _ in hub.asked if method == "GET"]
    assert resolved("config.json") in before
    assert resolved("config.json") not in asked
    assert resolved(WEIGHTS) in asked
    assert ["tiny-model"] == [p.name for p in layout.bases.iterdir()]


def test_weights_with_other_bytes_than_the_hub_states_are_thrown_away(
    layout: Layout, hub: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Damaged on the way, or replaced; the next fetch takes that file anew.
    """
    body = hub.bodies[resolved(WEIGHTS)]
    hub.bodies[resolved(WEIGHTS)] = body[:-1] + bytes([body[-1] ^ 1])

    assert 1 == fetch(layout)
    assert "model.safetensors has sha256" in capsys.readouterr().err
    hub.bodies[resolved(WEIGHTS)] = body
    assert 0 == fetch(layout)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (WEIGHTS, "has no model*.safetensors"),
        ("tokenizer.json", "has no tokenizer.json"),
    ],
)
def test_a_model_that_could_not_be_used_is_not_downloaded(
    layout: Layout, hub: Loopback, capsys: pytest.CaptureFixture[str], gone: str, said: str
) -> None:
    """
    Such as one whose only weights are a pickle.
    """
    about = json.loads(hub.bodies[f"/api/models/{HUB_ID}"])
    about["siblings"] = [file for file in about["siblings"] if file["rfilename"] != gone]
    hub.bodies[f"/api/models/{HUB_ID}"] = json.dumps(about).encode()

    assert 1 == fetch(layout)
    assert said in capsys.readouterr().err
    assert not layout.bases.exists()


def test_no_network_no_such_model_and_no_permission_are_told_apart(
    layout: Layout,
    hub: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Each in one sentence that says what to do.
    """

    def said() -> str:
        assert 1 == fetch(layout)
        error = capsys.readouterr().err
        assert 1 == len(error.splitlines())
        return error

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 could not be reached" in said()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    del hub.bodies[f"/api/models/{HUB_ID}"]
    hub.missing_headers["X-Error-Code"] = "RepoNotFound"
    assert "has no such model, or it is private" in said()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in said()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.missing_headers["X-Error-Code"] = "GatedRepo"
    assert "accept the terms on its page" in said()
    assert not layout.bases.exists()
