"""
One run of two processes: it trains what one would, stops as one and dies as one.

The real daemon, ``accelerate launch``, two ranks on the CPU that exchange
gradients over gloo. The equality of losses and weights is that of the order in
which the same gradients are added: bounds stand next to the tests.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from finetuned.files.run import read_json, read_metrics
from support.daemon import PACKAGE_PARENT, Daemon, make_root
from support.disk import journal
from support.tiny_base import write_rows

PLANTED = Path(__file__).with_name("ranks")
ROWS = 240

TWO_PROCESSES = """
compute_environment: LOCAL_MACHINE
debug: false
machine_rank: 0
main_process_port: 0
mixed_precision: 'no'
num_machines: 1
num_processes: 2
"""

LAUNCH_FILES = {
    "one": "",
    "ddp": TWO_PROCESSES
    + """
distributed_type: MULTI_GPU
use_cpu: true
""",
    "fsdp": TWO_PROCESSES
    + """
distributed_type: FSDP
use_cpu: false
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_transformer_layer_cls_to_wrap: Qwen3DecoderLayer
  fsdp_reshard_after_forward: true
  fsdp_cpu_ram_efficient_loading: false
""",
}

pytestmark = pytest.mark.slow


@dataclass
class World:
    """
    A root with one dataset, and the faults of its ranks.
    """

    root: Path
    faults: Path

    def daemon(self) -> Daemon:
        path = os.pathsep.join((str(PLANTED), str(PACKAGE_PARENT)))
        return Daemon(self.root, env={"PYTHONPATH": path, "FINETUNED_FAULTS": str(self.faults)})

    def runs(self) -> list[Path]:
        """The training runs so far, oldest first."""
        runs = sorted((self.root / "models" / "runs").glob("r*"))
        return [r for r in runs if (read_json(r / "spec.json") or {}).get("kind") == "training"]

    def finish(self, daemon: Daemon) -> Path:
        """Wait for the candidate; return its folder."""
        (self.faults / "slow").unlink(missing_ok=True)
        daemon.wait_for(
            lambda _: any((r / "candidate" / "manifest.json").exists() for r in self.runs()),
            "the candidate",
            150,
        )
        return self.runs()[-1] / "candidate"

    def wait_for_step(self, daemon: Daemon, step: int) -> list[psutil.Process]:
        """Wait until the newest run has made *step*; return its two ranks, rank 0 first."""
        daemon.wait_for(
            lambda _: self.runs() and any(m["step"] >= step for m in read_metrics(self.runs()[-1])),
            f"step {step}",
        )
        return ranks(daemon)

    def trained(self) -> list[str]:
        """The examples in the weights, each as often as it is in them."""
        records: dict[int, list[str]] = {}
        for run in self.runs():
            for record in read_metrics(run):
                records[record["step"]] = record["examples"]  # a later run did it again
        return [example for step in sorted(records) for example in records[step]]

    def note(self, name: str) -> str:
        path = self.faults / name
        return path.read_text() if path.exists() else ""


def make_world(
    folder: Path,
    base: Path,
    training: str = "",
    *,
    launch_file: str = LAUNCH_FILES["ddp"],
    rows: int = ROWS,
    evaluation: str = "",
) -> World:
    if launch_file:
        training += '\naccelerate_config = "two.yaml"'
    root = make_root(folder / "root", base, training=training, evaluation=evaluation)
    (root / "two.yaml").write_text(launch_file)
    write_rows(root / "inbox" / "a.jsonl", rows)
    (folder / "faults").mkdir()
    return World(root, folder / "faults")


def ranks(daemon: Daemon) -> list[psutil.Process]:
    """The live training processes of a daemon, launcher left out, rank 0 first."""
    found = []
    for process in daemon.workers():
        command = process.cmdline()
        if "finetuned.training.worker" in command and "accelerate.commands.launch" not in command:
            found.append((process.environ()["RANK"], process))
    return [process for _, process in sorted(found, key=lambda pair: pair[0])]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    (path,) = [*folder.glob("adapter_model.safetensors"), *folder.glob("model.safetensors")]
    return load_file(path)


def files(folder: Path) -> dict[str, bytes]:
    names = ("adapter_model.safetensors", "training_state/optimizer.safetensors")
    return {name: (folder / name).read_bytes() for name in names}


def uninterrupted(folder: Path, base: Path, kind: str) -> dict[str, Any]:
    """
    Two processes, LoRA with dropout, left alone: what every interrupted run must equal.
    """
    world = make_world(folder, base, launch_file=LAUNCH_FILES[kind])
    with world.daemon() as daemon:
        candidate = world.finish(daemon)
        return {
            "files": files(candidate),
            "examples": Counter(world.trained()),
            "steps": len(read_metrics(world.runs()[-1])),
            "writes": [world.note(f"writes-{rank}") for rank in (0, 1)],
            "weights": [world.note(f"weights-{rank}") for rank in (0, 1)],
        }


@pytest.fixture(scope="module")
def whole(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """
    The uninterrupted run whose ranks hold the model each.
    """
    return uninterrupted(tmp_path_factory.mktemp("whole"), tiny_base, "ddp")


def assert_as_if_whole(whole: dict[str, Any], world: World, candidate: Path) -> None:
    """Every example once, and the bits of the run that was left alone."""
    assert whole["examples"] == Counter(world.trained())
    assert {1} == set(Counter(world.trained()).values())
    assert whole["files"] == files(candidate)


def train(folder: Path, base: Path, method: str, kind: str) -> dict[str, Any]:
    """
    Train the same rows, 8 in a step, and return what came of it.
    """
    processes = 1 if kind == "one" else 2
    training = (
        f'method = "{method}"\nlora_dropout = 0.0\nper_device_train_batch_size = {8 // processes}\n'
    )
    world = make_world(folder, base, training, launch_file=LAUNCH_FILES[kind])
    with world.daemon() as daemon:
        candidate = world.finish(daemon)
        return {
            "digest": (read_json(candidate / "manifest.json") or {})["plan_digest"],
            "metrics": read_metrics(world.runs()[-1]),
            "weights": weights(candidate),
            "held": [int(world.note(f"held-{rank}") or 0) for rank in (0, 1)],
        }


@pytest.fixture(scope="module", params=["full", "lora"])
def alone(
    request: pytest.FixtureRequest, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """
    What one process trains, by one method.
    """
    method = str(request.param)
    found = train(tmp_path_factory.mktemp("alone"), tiny_base, method, "one")
    return {**found, "method": method}


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
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


@pytest.mark.parametrize("victim", [0, 1])
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


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("fsdp", "fsdp_version: 2", "fsdp_version: 1"),
        ("ddp", "mixed_precision: 'no'", "mixed_precision: bf16"),
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
