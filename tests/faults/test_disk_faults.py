"""
A full disk, folders that go away, a folder that refuses: waited for, never a burnt attempt.

Each law ends the same way: the daemon still runs, nothing that was dropped is
lost, and it went on by itself once the fault was over.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetuned.files.manifest import verify_manifest
from support.daemon import Daemon, make_root
from support.disk import drop, ended, journal, log_events

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path: Path, tiny_base: Path) -> Path:
    return make_root(tmp_path / "root", tiny_base)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """
    A file system of 24 MiB of our own.
    """
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """
    Write until the disk is full.
    """
    with path.open("ab", buffering=0) as f:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    f.write(bytes(size))
            except OSError:
                continue


def test_a_full_disk_is_waited_for_and_costs_no_attempt(small_disk: Path, tiny_base: Path) -> None:
    """
    Status, journal, checkpoints and inbox share a disk that fills up in mid-training.
    """
    root = make_root(
        small_disk / "root",
        tiny_base,
        training="num_train_epochs = 12\nsave_steps = 2",
        gate="answers_follow = false",  # twelve passes teach this base how answers look
    )
    drop(root, "a.jsonl", 100)
    ballast = small_disk / "ballast"
    with Daemon(root) as daemon:
        daemon.wait_for(lambda s: (s["checkpoint_step"] or 0) >= 4, "a checkpoint")
        fill(ballast)
        deadline = time.monotonic() + 60
        while daemon.workers() and time.monotonic() < deadline:
            fill(ballast)  # what a failed save gives back is taken away as well
            time.sleep(0.05)
        assert [] == daemon.workers()
        (root / "control" / "pause").write_text("")  # an order is kept, not lost
        time.sleep(2)
        assert daemon.process.poll() is None, daemon.output()
        assert b"" != (root / "status" / "training_status.json").read_bytes()
        json.loads((root / "status" / "training_status.json").read_bytes())

        os.truncate(ballast, ballast.stat().st_size - 500_000)
        daemon.wait_for(
            lambda s: (s["waiting_reason"] or "").startswith("disk_full"), "disk_full in the status"
        )
        daemon.wait_for(lambda s: s["paused_reason"] is not None, "the pause")
        assert [(0, "queued")] == [
            (j["attempts"], j["state"]) for j in journal(root, "SELECT * FROM jobs")
        ]
        for checkpoint in (root / "models" / "runs").glob("*/checkpoints/checkpoint-*"):
            verify_manifest(checkpoint)
        ballast.unlink()
        daemon.wait_for(lambda s: s["waiting_reason"] is None, "space seen")
        (root / "control" / "resume").touch()
        daemon.wait_for(lambda s: ended(s) == 1, "the end")
        daemon.wait_for(lambda _: any((root / "inbox" / "done").iterdir()), "the original in done/")
        assert daemon.status()["waiting_reason"] is None
    assert [(0, "promoted")] == [
        (j["attempts"], j["state"]) for j in journal(root, "SELECT * FROM jobs")
    ]
    runs = [r for r in journal(root, "SELECT * FROM runs") if r["kind"] == "training"]
    assert 0 == runs[-1]["exit_status"]
    assert {75} == {r["exit_status"] for r in runs[:-1]}
    leftovers = [p for p in root.rglob(".*") if p.name.endswith(".tmp") or "building" in p.name]
    assert [] == leftovers


def test_folders_that_go_away_are_waited_for_or_made_again(root: Path) -> None:
    """
    An inbox with a claimed original in it is waited for; without one, and control/ and status/,
    are made again. Nothing is lost.
    """
    config = root / "config.toml"
    # Found within 60 s by the scan alone: what is found at once, the watcher reported.
    text = config.read_text().replace("scan_seconds = 1.0", "scan_seconds = 60.0")
    config.write_text(text.replace("num_train_epochs = 1", "num_train_epochs = 4"))
    inbox, away = root / "inbox", root / "inbox.away"
    with Daemon(root) as daemon:
        drop(root, "a.jsonl", 80, "a")
        daemon.wait_for(lambda s: s["phase"] == "training", "training")
        inbox.rename(away)
        daemon.wait_for(
            lambda s: (s["waiting_reason"] or "").startswith("inbox_unavailable"), "a reason"
        )
        daemon.wait_for(lambda s: ended(s) == 1, "the end of the job")
        time.sleep(2)  # its original cannot go to done/ now
        away.rename(inbox)
        daemon.wait_for(lambda s: s["waiting_reason"] is None, "the inbox seen")
        daemon.wait_for(lambda _: any((inbox / "done").iterdir()), "the original in done/")
        assert [] == list((inbox / "processing").iterdir())

        inbox.rename(away)  # without a claimed original: it is made again
        daemon.wait_for(lambda _: (inbox / "rejected").is_dir(), "the new inbox")
        dropped = drop(root, "b.jsonl", 40, "b")
        daemon.wait_for(lambda _: not dropped.exists(), "a claim in the new inbox", seconds=20)
        daemon.wait_for(lambda s: ended(s) == 2, "the end of the second job")

        shutil.rmtree(root / "control")
        daemon.wait_for(lambda _: (root / "control" / "ack").is_dir(), "control/ made again")
        (root / "control" / "pause").touch()
        daemon.wait_for(lambda s: s["phase"] == "paused", "the pause")

        (root / "status").rename(root / "status.away")
        (root / "control" / "resume").touch()  # something to write, at every turn
        daemon.wait_for(lambda s: s["phase"] == "idle", "the status going on", seconds=15)
    events = [e["event"] for e in log_events(root)]
    assert 1 == events.count("inbox_unavailable") == events.count("inbox_available")
    assert {"inbox", "control"} <= {
        e["folder"] for e in log_events(root) if e["event"] == "folder_made_again"
    }


@pytest.mark.long
def test_a_folder_that_refuses_is_waited_for(root: Path) -> None:
    """
    Nobody may write models/runs/, not even root: a reason, no attempt, then on by itself.
    """
    runs = root / "models" / "runs"
    runs.mkdir()
    if subprocess.run(["chattr", "+i", runs], capture_output=True).returncode != 0:
        pytest.skip("chattr +i does not work here (not root, or not ext4)")
    try:
        drop(root, "a.jsonl", 40)
        with Daemon(root, "--until-idle") as daemon:
            daemon.wait_for(
                lambda s: (s["waiting_reason"] or "").startswith("permission_denied"), "a reason"
            )
            time.sleep(1)
            subprocess.run(["chattr", "-i", runs], check=True)
            assert 0 == daemon.wait_exit(), daemon.output()
    finally:
        subprocess.run(["chattr", "-i", runs], check=True)
    assert [(0, "promoted")] == [
        (j["attempts"], j["state"]) for j in journal(root, "SELECT * FROM jobs")
    ]
    assert 1 == [e["event"] for e in log_events(root)].count("work_blocked")
