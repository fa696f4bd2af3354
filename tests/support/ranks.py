"""
One root whose training runs are launched as several ranks, and what to ask of it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from finetuned.files.run import read_json, read_metrics
from support.daemon import PACKAGE_PARENT, Daemon, make_root

PLANTED = Path(__file__).resolve().parents[1] / "integration" / "ranks"
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
    with (root / "inbox" / "a.jsonl").open("w", encoding="utf-8") as f:
        for i in range(rows):  # of unlike length: the ranks' micro-batches differ in shape
            row = {"prompt": f"say {i}", "completion": f"ok {i % 10}" + "." * (i * 7 % 23)}
            f.write(json.dumps(row) + "\n")
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
