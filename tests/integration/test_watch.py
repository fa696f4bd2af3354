"""
After a promotion: canaries asked again, a health signal, and the way back by itself.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from finetuned.files.run import read_json
from support.answers import answers, write_canaries
from support.daemon import Daemon, make_root
from support.disk import log_events
from support.tiny_base import write_rows

pytestmark = pytest.mark.slow

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "reference" / "training_status.schema.json").read_text()
)
PROMPTS = [f"say {tag}{i}" for tag in ("a", "b", "c") for i in range(40)]


def promote_one(daemon: Daemon, name: str, version: str) -> None:
    part = daemon.root / f"{name}.part"
    write_rows(part, 60, tag=name)
    part.rename(daemon.root / "inbox" / f"{name}.jsonl")
    daemon.wait_for(lambda s: s["version"] == version and s["job"] is None, version)


def write_canary(root: Path, prompt: str, expected: str) -> None:
    """
    Put one canary where the daemon looks, whole.
    """
    write_canaries(root, [{"id": "from-production", "prompt": prompt, "expected": expected}])


def incidents(root: Path) -> list[dict[str, Any]]:
    folder = root / "logs" / "incidents"
    return [read_json(p) or {} for p in sorted(folder.glob("*.json"))] if folder.is_dir() else []


@pytest.fixture
def root(tmp_path: Path, tiny_base: Path) -> Path:
    return make_root(
        tmp_path / "root", tiny_base, training="learning_rate = 1e-2\nnum_train_epochs = 2"
    )


def test_a_canary_that_the_version_before_passes_takes_the_new_one_back(root: Path) -> None:
    """
    A canary from production, added while the new version is watched, is asked of both.
    """
    with Daemon(root) as daemon:
        promote_one(daemon, "a", "v0001")
        promote_one(daemon, "b", "v0002")
        before, now = answers(root, "v0001", PROMPTS), answers(root, "v0002", PROMPTS)
        prompt = next(p for p in PROMPTS if before[p].strip() != now[p].strip())
        write_canary(root, prompt, before[prompt])
        status = daemon.wait_for(lambda s: s["version"] == "v0001", "the step back")
        jsonschema.validate(status, SCHEMA)

        assert "models/versions/v0001" == os.readlink(root / "current_model")
        (incident,) = incidents(root)
        assert ("v0002", "v0001", "canaries") == (
            incident["version"],
            incident["back_to"],
            incident["signal"],
        )
        assert 5 > incident["seconds"]
        assert "from-production" in incident["reason"]
        assert incident["reason"] == status["last_incident"]["reason"]
        assert "v0001" == status["watch"]["version"]  # its own watch goes on
        assert (root / "models" / "versions" / "v0002").is_dir()  # nothing is deleted


def test_a_failing_server_takes_the_version_back_within_seconds(root: Path) -> None:
    """
    The health signal counts for the version that it names, and survives a restart.
    """
    with Daemon(root) as daemon:
        promote_one(daemon, "a", "v0001")
        promote_one(daemon, "b", "v0002")
        health = root / "control" / "health.json"
        health.write_text(json.dumps({"version": "v0001", "requests": 100, "errors": 90}))
        time.sleep(1.5)
        assert "v0002" == daemon.status()["version"]
        daemon.terminate()
        assert 0 == daemon.wait_exit()
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: s["watch"] is not None, "the watch to go on")
        health.write_text(json.dumps({"version": "v0002", "requests": 100, "errors": 6}))
        began = time.monotonic()
        daemon.wait_for(lambda s: s["version"] == "v0001", "the step back")
        took = time.monotonic() - began

    assert 5 > took
    (incident,) = incidents(root)
    assert "health" == incident["signal"]
    assert "6 of 100" in incident["reason"]


@pytest.mark.long
def test_a_version_whose_files_are_damaged_is_taken_back(root: Path) -> None:
    """
    What is served is read through current_model, so damage shows even where nothing else does.
    """
    with Daemon(root) as daemon:
        promote_one(daemon, "a", "v0001")
        promote_one(daemon, "b", "v0002")
        adapter = root / "models" / "versions" / "v0002" / "adapter_model.safetensors"
        adapter.chmod(0o644)
        data = bytearray(adapter.read_bytes())
        data[-1] ^= 1
        adapter.write_bytes(data)
        write_canary(root, "say a1", "whatever")
        daemon.wait_for(lambda s: s["version"] == "v0001", "the step back")

    (incident,) = incidents(root)
    assert "cannot be asked" in incident["reason"]


def test_a_quiet_watch_ends_and_what_fails_later_is_not_taken_back(
    tmp_path: Path, tiny_base: Path
) -> None:
    """
    After its time a version is a person's to take back.
    """
    root = make_root(tmp_path / "root", tiny_base, watch="minutes = 0.02")
    with Daemon(root) as daemon:
        promote_one(daemon, "a", "v0001")
        daemon.wait_for(lambda s: s["watch"] is None, "the end of the watch")
        bad = {"version": "v0001", "requests": 100, "errors": 100}
        (root / "control" / "health.json").write_text(json.dumps(bad))
        time.sleep(1.5)

        assert "v0001" == daemon.status()["version"]
    assert [] == incidents(root)


@pytest.mark.long
def test_a_worker_that_dies_is_no_reason_to_go_back_and_canaries_are_asked_after_all(
    tmp_path: Path, tiny_base: Path
) -> None:
    """
    Only a version's own failure takes it back; and no watch ends with its canaries unasked.
    """
    root = make_root(
        tmp_path / "root",
        tiny_base,
        training="learning_rate = 1e-2",
        watch="minutes = 0.2",
    )
    with Daemon(root) as daemon:
        promote_one(daemon, "a", "v0001")
        write_canary(root, "say a1", "whatever")
        deadline = time.monotonic() + 14
        while time.monotonic() < deadline:  # until its time is over
            for worker in daemon.workers():
                with suppress(psutil.Error):
                    if "finetuned.evaluation.worker" in worker.cmdline():
                        worker.kill()
            time.sleep(0.02)
        assert "canaries_not_asked" in [e["event"] for e in log_events(root)]
        # It goes on.
        assert ("v0001", True) == (daemon.status()["version"], daemon.status()["watch"] is not None)
        daemon.wait_for(lambda s: s["watch"] is None, "the end of the watch")

        assert "canaries_never_asked" not in [e["event"] for e in log_events(root)]
        assert "v0001" == daemon.status()["version"]
    assert [] == incidents(root)


@pytest.mark.long
def test_a_version_that_comes_back_is_watched_to_its_end(root: Path) -> None:
    """
    Two promotions in a window, both bad: each step back is taken.
    """
    with Daemon(root) as daemon:
        for number, name in enumerate("abc", start=1):
            promote_one(daemon, name, f"v000{number}")
        health = root / "control" / "health.json"
        for version, back in (("v0003", "v0002"), ("v0002", "v0001")):
            health.write_text(json.dumps({"version": version, "requests": 50, "errors": 50}))
            daemon.wait_for(lambda s, b=back: s["version"] == b, back)

    assert ["v0002", "v0003"] == sorted(i["version"] for i in incidents(root))
