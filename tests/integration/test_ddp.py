"""
One run of two processes: it trains what one would, stops as one and dies as one.

The real daemon, ``accelerate launch``, two ranks on the CPU that exchange
gradients over gloo. The equality of losses and weights is that of the order in
which the same gradients are added: bounds stand next to the tests.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from finetuned.files.run import read_json, read_metrics
from support.daemon import PACKAGE_PARENT
from support.disk import journal
from support.ranks import LAUNCH_FILES, assert_as_if_whole, make_world, ranks, train, uninterrupted

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """
    The uninterrupted run whose ranks hold the model each.
    """
    return uninterrupted(tmp_path_factory.mktemp("whole"), tiny_base, "ddp")


@pytest.fixture(scope="module")
def alone(
    request: pytest.FixtureRequest, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """
    What one process trains, by one method.
    """
    method = str(request.param)
    found = train(tmp_path_factory.mktemp("alone"), tiny_base, method, "one")
    return {**found, "method": method}


@pytest.mark.parametrize(
    ("alone", "kind"),
    [
        ("full", "ddp"),
        pytest.param("full", "fsdp", marks=pytest.mark.long),
        pytest.param("lora", "ddp", marks=pytest.mark.long),
        ("lora", "fsdp"),
    ],
    indirect=["alone"],
)
def test_two_processes_train_what_one_does(
    alone: dict[str, Any], tiny_base: Path, tmp_path: Path, kind: str
) -> None:
    """
    The same plan; losses within 1e-6 of their size, weights within 1e-4 of what training moved.
    """
    both = train(tmp_path, tiny_base, alone["method"], kind)

    one, two = alone["metrics"], both["metrics"]
    assert alone["digest"] == both["digest"]
    for key in ("step", "examples", "learning_rate", "supervised_tokens"):
        assert [m[key] for m in one] == [m[key] for m in two]
    for key, bound in (("loss", 1e-6), ("grad_norm", 1e-4)):
        assert [m[key] for m in one] == pytest.approx([m[key] for m in two], rel=bound)
    # A step moves a weight by the learning rate at most.
    moved = sum(m["learning_rate"] for m in one)
    difference = {
        k: float((w - both["weights"][k]).abs().max()) for k, w in alone["weights"].items()
    }
    assert max(difference.values()) < 1e-4 * moved
    everything = alone["held"][0]
    shares = (1, 1) if kind == "ddp" else (0.5, 0.5)
    assert [everything * share for share in shares] == pytest.approx(both["held"], rel=0.01)


def test_only_rank_0_writes_into_the_run_folder(whole: dict[str, Any]) -> None:
    """
    One author per folder, also where two processes train.
    """
    by_0, by_1 = whole["writes"]
    assert "checkpoint" in by_0
    assert "" == by_1


def test_every_rank_ends_with_the_same_weights(whole: dict[str, Any]) -> None:
    """
    What rank 0 saves is what all of them trained.
    """
    by_0, by_1 = whole["weights"]
    assert str(whole["steps"]) == by_0.split()[0]
    assert by_0 == by_1


def test_a_pause_stops_all_ranks_after_the_same_step(
    whole: dict[str, Any], tiny_base: Path, tmp_path: Path
) -> None:
    """
    The checkpoint is of that step, nothing runs meanwhile, and the resumed run is bit-identical.
    """
    world = make_world(tmp_path, tiny_base)
    (world.faults / "slow").touch()
    with world.daemon() as daemon:
        world.wait_for_step(daemon, 5)
        (world.root / "control" / "pause").touch()
        daemon.wait_for(lambda s: s["phase"] == "paused", "the pause")
        assert [] == ranks(daemon)
        first = world.runs()[-1]
        last = read_metrics(first)[-1]["step"]
        assert last < whole["steps"]
        assert (first / "checkpoints" / f"checkpoint-{last}" / "manifest.json").exists()
        assert world.note("weights-0") == world.note("weights-1") != ""

        (world.root / "control" / "resume").touch()
        candidate = world.finish(daemon)
        assert last + 1 == read_metrics(world.runs()[-1])[0]["step"]
        assert_as_if_whole(whole, world, candidate)


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_killed_rank_is_a_crash_that_is_tried_again(
    whole: dict[str, Any], tiny_base: Path, tmp_path: Path, victim: int
) -> None:
    """
    None of the others goes on alone; the second try goes on from the checkpoint.
    """
    world = make_world(tmp_path, tiny_base)
    (world.faults / "slow").touch()
    with world.daemon() as daemon:
        both = world.wait_for_step(daemon, 8)
        both[victim].kill()
        assert [] == psutil.wait_procs(both, timeout=30)[1]
        candidate = world.finish(daemon)
        ends = journal(world.root, "SELECT outcome FROM runs WHERE kind = 'training' ORDER BY id")
        assert ["retry", None] == [end["outcome"] for end in ends][:2]
        assert read_metrics(world.runs()[-1])[0]["step"] > 3
        assert_as_if_whole(whole, world, candidate)


@pytest.mark.long
def test_no_rank_outlives_its_supervisor(
    whole: dict[str, Any], tiny_base: Path, tmp_path: Path
) -> None:
    """
    SIGTERM checkpoints all of them; after SIGKILL they leave by themselves.
    """
    world = make_world(tmp_path, tiny_base)
    (world.faults / "slow").touch()
    with world.daemon() as daemon:
        both = world.wait_for_step(daemon, 4)
        daemon.terminate()
        assert 0 == daemon.wait_exit()
        assert not any(process.is_running() for process in both)
        last = read_metrics(world.runs()[-1])[-1]["step"]
        assert (world.runs()[-1] / "checkpoints" / f"checkpoint-{last}").exists()
    with world.daemon() as daemon:
        both = world.wait_for_step(daemon, last + 3)
        daemon.process.kill()
        assert [] == psutil.wait_procs(both, timeout=30)[1]
        deadline = time.monotonic() + 30
        while daemon.workers():
            assert time.monotonic() < deadline, daemon.workers()
            time.sleep(0.05)
    with world.daemon() as daemon:
        candidate = world.finish(daemon)
        assert 3 == len(world.runs())
        assert_as_if_whole(whole, world, candidate)


def test_ranks_agree_on_the_budget_that_fits_all_of_them(tiny_base: Path, tmp_path: Path) -> None:
    """
    Memory that ends on rank 1 alone, in the rehearsal: every rank takes smaller micro-batches.
    """
    world = make_world(tmp_path, tiny_base, "per_device_train_batch_size = 8", rows=60)
    (world.faults / "oom-1").write_text("120")
    with world.daemon() as daemon:
        candidate = world.finish(daemon)
        beat = read_json(world.runs()[-1] / "heartbeat.json") or {}
        assert beat["max_batch_tokens"] <= 120
        assert [1] == [(read_json(r / "spec.json") or {})["attempt"] for r in world.runs()]
        assert {1} == set(Counter(world.trained()).values())
        assert world.note("weights-0") == world.note("weights-1") != ""
        assert (candidate / "manifest.json").exists()


@pytest.mark.long
def test_memory_that_ends_in_a_step_of_one_rank_halves_the_budget_of_all(
    tiny_base: Path, tmp_path: Path
) -> None:
    """
    The step is made again by every rank, from clean gradients, and no example is lost.
    """
    world = make_world(tmp_path, tiny_base, "per_device_train_batch_size = 8")
    (world.faults / "slow").touch()
    with world.daemon() as daemon:
        world.wait_for_step(daemon, 3)
        (world.faults / "oom-1").write_text("120")
        world.finish(daemon)
        beat = read_json(world.runs()[-1] / "heartbeat.json") or {}
        assert beat["max_batch_tokens"] <= 120
        assert 1 == len(world.runs())
        assert {1} == set(Counter(world.trained()).values())
        assert world.note("weights-0") == world.note("weights-1") != ""


@pytest.mark.long
def test_a_row_that_fits_on_no_less_than_all_ranks_ends_the_job(
    tiny_base: Path, tmp_path: Path
) -> None:
    """
    One row too long for rank 1 is the dataset's fault: said once, not tried again.
    """
    world = make_world(tmp_path, tiny_base, "", rows=60)
    (world.faults / "oom-1").write_text("10")
    with world.daemon() as daemon:
        status = daemon.wait_for(lambda s: s["queue"]["failed"] == 1, "the failure")
        assert "OutOfMemory" == status["error_type"]
        assert 1 == len(world.runs())
        assert [] == ranks(daemon)


@pytest.mark.long
def test_a_step_without_a_finite_loss_on_one_rank_is_left_out_by_all(
    tiny_base: Path, tmp_path: Path
) -> None:
    """
    The NaN of rank 1 reaches rank 0 with the gradients, and both leave the step out.
    """
    world = make_world(tmp_path, tiny_base, "", rows=60)
    (world.faults / "nan-1").write_text("3")
    with world.daemon() as daemon:
        world.finish(daemon)
        skipped = [m["step"] for m in read_metrics(world.runs()[-1]) if m["skipped"]]
        assert [4] == skipped
        assert world.note("weights-0") == world.note("weights-1") != ""


@pytest.mark.long
def test_early_stopping_and_live_evals_keep_the_ranks_together(
    tiny_base: Path, tmp_path: Path
) -> None:
    """
    Rank 0 answers alone while the other waits; both stop after the same look, and the job ends.
    """
    world = make_world(
        tmp_path, tiny_base, "patience = 4\nmin_delta = 100.0", evaluation="eval_steps = 2"
    )
    with world.daemon() as daemon:
        candidate = world.finish(daemon)
        manifest = read_json(candidate / "manifest.json") or {}
        assert manifest["job_steps"] < manifest["planned_steps"]
        assert manifest["job_steps"] == len(read_metrics(world.runs()[-1]))
        assert manifest["totals"]["evals"] > 0
        assert world.note("weights-0") == world.note("weights-1") != ""
        daemon.wait_for(lambda s: s["queue"]["accepted"] == 0 and s["phase"] == "idle", "the end")
        assert [] == ranks(daemon)


@pytest.mark.parametrize("kind", ["ddp", pytest.param("fsdp", marks=pytest.mark.long)])
def test_a_rank_with_nothing_to_do_takes_part(tiny_base: Path, tmp_path: Path, kind: str) -> None:
    """
    A step of one row is one rank's; the other exchanges gradients of nothing and goes on.
    """
    world = make_world(
        tmp_path, tiny_base, 'method = "full"', launch_file=LAUNCH_FILES[kind], rows=10
    )
    with world.daemon() as daemon:
        world.finish(daemon)
        sizes = [len(m["examples"]) for m in read_metrics(world.runs()[-1])]
        assert 1 == min(sizes)
        assert {1} == set(Counter(world.trained()).values())
        assert world.note("weights-0") == world.note("weights-1") != ""


@pytest.mark.long
def test_a_second_machine_is_joined_by_hand(tiny_base: Path, tmp_path: Path) -> None:
    """
    The same command there, with its own machine_rank and the run's folder; it ends with the run.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    text = LAUNCH_FILES["ddp"].replace("num_machines: 1", "num_machines: 2")
    text = text.replace("main_process_port: 0", f"main_process_port: {port}")
    text += "main_process_ip: 127.0.0.1\nrdzv_backend: static\nsame_network: true\n"
    world = make_world(tmp_path, tiny_base, launch_file=text)
    second_file = tmp_path / "second.yaml"
    second_file.write_text(text.replace("machine_rank: 0", "machine_rank: 1"))
    with world.daemon() as daemon:
        daemon.wait_for(lambda _: world.runs(), "the run")
        command = ["-m", "accelerate.commands.launch", "--config_file", str(second_file)]
        worker = ["-m", "finetuned.training.worker", str(world.runs()[0])]
        second = subprocess.Popen(
            [sys.executable, *command, *worker],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(PACKAGE_PARENT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            world.finish(daemon)
            assert 0 == second.wait(60)
        finally:
            if second.poll() is None:
                os.killpg(second.pid, signal.SIGKILL)
        assert 1 == len(world.runs())
        assert {8} == {len(m["examples"]) for m in read_metrics(world.runs()[0])[:-1]}
        assert {1} == set(Counter(world.trained()).values())


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("fsdp", "fsdp_version: 2", "fsdp_version: 1"),
        pytest.param(
            "ddp", "mixed_precision: 'no'", "mixed_precision: bf16", marks=pytest.mark.long
        ),
    ],
)
def test_a_launch_file_that_cannot_be_trained_with_waits_for_another(
    tiny_base: Path, tmp_path: Path, kind: str, old: str, new: str
) -> None:
    """
    The message names the key, nothing was loaded, and the job costs no attempt.
    """
    text = LAUNCH_FILES[kind].replace(old, new)
    world = make_world(tmp_path, tiny_base, launch_file=text, rows=20)
    with world.daemon() as daemon:
        daemon.wait_for(lambda _: daemon.output().count(old.split(":")[0]), "the reason")
        (job,) = journal(world.root, "SELECT attempts, state FROM jobs")
        assert (0, "queued") == (job["attempts"], job["state"])
        error = read_json(world.runs()[0] / "error.json") or {}
        assert "ConfigError" == error["error_type"]
