"""
A model that no process holds whole: FSDP2 over two ranks on the CPU, through the real daemon.

That it trains what one process does is tested with data parallelism (test_ddp.py).
"""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from finetuned.files.run import read_json, read_metrics
from support.ranks import LAUNCH_FILES, assert_as_if_whole, make_world, ranks, uninterrupted

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_a_sharded_run_goes_on_after_a_pause_and_a_kill(tiny_base: Path, tmp_path: Path) -> None:
    """
    Checkpoints of a model that no process holds whole: bit-identical to the run left alone.
    """
    whole = uninterrupted(tmp_path / "whole", tiny_base, "fsdp")
    assert "" == whole["writes"][1]
    world = make_world(tmp_path / "cut", tiny_base, launch_file=LAUNCH_FILES["fsdp"])
    (world.faults / "slow").touch()
    with world.daemon() as daemon:
        world.wait_for_step(daemon, 5)
        (world.root / "control" / "pause").touch()
        daemon.wait_for(lambda s: s["phase"] == "paused", "the pause")
        assert [] == ranks(daemon)
        last = read_metrics(world.runs()[-1])[-1]["step"]
        (world.root / "control" / "resume").touch()
        both = world.wait_for_step(daemon, last + 6)
        both[1].kill()
        assert [] == psutil.wait_procs(both, timeout=30)[1]
        candidate = world.finish(daemon)
        assert 3 == len(world.runs())
        assert_as_if_whole(whole, world, candidate)


@pytest.mark.long
def test_a_sharded_run_stops_early_by_its_held_out_loss(tiny_base: Path, tmp_path: Path) -> None:
    """
    Every rank scores the held-out rows, since a sharded model computes with all or not at all.
    """
    world = make_world(
        tmp_path,
        tiny_base,
        "patience = 4\nmin_delta = 100.0",
        launch_file=LAUNCH_FILES["fsdp"],
        evaluation="eval_steps = 2",
    )
    with world.daemon() as daemon:
        manifest = read_json(world.finish(daemon) / "manifest.json") or {}
        assert 1 < manifest["job_steps"] < manifest["planned_steps"]
        assert world.note("weights-0") == world.note("weights-1") != ""
