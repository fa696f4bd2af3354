"""
Memory that does not suffice: smaller micro-batches, the same training; or the next dataset.

The limits are real ones of the kernel (RLIMIT_DATA), set in a child when its rehearsal
begins, as far above what the process has by then as the test allows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from finetuned.files.run import read_json, read_metrics
from support.cgroup import memory_cgroup
from support.daemon import PACKAGE_PARENT, Daemon, make_root
from support.disk import drop, ended, journal
from support.faults import environment
from support.tiny_base import make_tiny_base

BUDGET = 16384

pytestmark = pytest.mark.slow


def _write_long_rows(path: Path, n: int, letters: int) -> Path:
    with path.open("w", encoding="utf-8") as f:
        for i in range(n):
            # The first letters differ: nothing is shared, every row costs its whole length.
            text = f"{i:02d}" * (letters // 2)
            f.write(json.dumps({"prompt": text, "completion": f"ok {i}"}) + "\n")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    import finetuned.training.training_run
    import finetuned.training.worker  # noqa: F401
    from support import fork_run

    root = tmp_path_factory.mktemp("data")
    base = make_tiny_base(root / "base", hidden=128)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fork_run, "write_rows", lambda path, n, tag: _write_long_rows(path, n, 440))
        datasets = fork_run.ingest(root, base, [("a.jsonl", 36)])
    return {"base": base, "datasets": datasets}


def make(data: dict[str, Any], folder: Path, **training: Any) -> Path:
    from support.fork_run import make_run

    return make_run(
        folder,
        base=data["base"],
        datasets=data["datasets"],
        training={
            "lora_dropout": 0.0,
            "per_device_train_batch_size": 16,
            "max_batch_tokens": BUDGET,
            "replay_presentations": 0,
            **training,
        },
        evaluation={"eval_steps": 100},
    )


def run_with(spare_mib: int | None, run_dir: Path, faults: Path) -> int:
    """
    Run a worker that has *spare_mib* from its rehearsal on; return its exit status.

    In an interpreter of its own: a forked child has all that the tests before this
    one freed, room that no limit takes away.
    """
    if spare_mib is not None:
        (faults / "limit-memory").write_text(str(spare_mib))
    with (run_dir / "output.txt").open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "finetuned.training.worker", run_dir],
            env=os.environ | environment(faults) | {"OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=240,
            check=False,
        )
    return done.returncode


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "candidate" / "adapter_model.safetensors")


def beat(folder: Path) -> dict[str, Any]:
    return read_json(folder / "heartbeat.json") or {}


def test_a_budget_that_does_not_fit_is_lowered_and_trains_the_same(
    data: dict[str, Any], tmp_path: Path, faults: Path
) -> None:
    """
    Fewer tokens at a time: the same examples per step, the same weights.
    """
    assert 0 == run_with(None, make(data, tmp_path / "ample"), faults)
    assert 0 == run_with(100, make(data, tmp_path / "scarce"), faults)
    assert BUDGET == beat(tmp_path / "ample")["max_batch_tokens"]
    # A row costs 465 tokens; the 16 that did not fit, 7440.
    assert 465 <= beat(tmp_path / "scarce")["max_batch_tokens"] <= 7440 // 2
    ample, scarce = (read_metrics(tmp_path / name) for name in ("ample", "scarce"))
    assert 3 == len(ample)
    for one, other in zip(ample, scarce, strict=True):
        assert one["examples"] == other["examples"]
        assert one["supervised_tokens"] == other["supervised_tokens"]
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)
    expected, found = weights(tmp_path / "ample"), weights(tmp_path / "scarce")
    assert expected.keys() == found.keys()
    gap = max(float((expected[k] - found[k]).abs().max()) for k in expected)
    print(f"largest difference of a weight: {gap:.1e}")
    assert gap <= 2e-6  # Adam's first steps are of the size 1e-4, whatever the gradient is
    assert any(float(v.abs().max()) > 1e-5 for k, v in expected.items() if "lora_B" in k)


def test_a_row_that_never_fits_ends_the_run_and_says_what_to_do(
    data: dict[str, Any], tmp_path: Path, faults: Path
) -> None:
    """
    At the floor it is the dataset: exit 65, the row's length, ways out, no candidate.
    """
    assert 65 == run_with(20, make(data, tmp_path / "r1"), faults)
    error = read_json(tmp_path / "r1" / "error.json") or {}
    assert "OutOfMemory" == error["error_type"]
    assert "one row of 465 tokens" in error["error_message"]
    assert "data.max_length" in error["error_message"]
    assert not (tmp_path / "r1" / "candidate").exists()
    assert [] == read_metrics(tmp_path / "r1")


def test_a_limit_that_kills_is_not_met(tmp_path: Path) -> None:
    """
    In a cgroup memory is not refused: the kernel kills. The budget is lowered before, and it
    trains; a run that tried its largest micro-batch at once is killed here.
    """
    from support import fork_run

    base = make_tiny_base(tmp_path / "base", hidden=256, layers=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fork_run, "write_rows", lambda path, n, tag: _write_long_rows(path, n, 440))
        data = {"base": base, "datasets": fork_run.ingest(tmp_path, base, [("a.jsonl", 30)])}
    run_dir = make(data, tmp_path / "run", per_device_train_batch_size=24)
    worker = (sys.executable, "-m", "finetuned.training.worker", str(run_dir))
    with memory_cgroup(1 << 30) as group, (run_dir / "output.txt").open("wb") as output:
        done = subprocess.run(
            ["sh", "-c", 'echo $$ > "$0"/cgroup.procs; exec "$@"', group, *worker],
            env=os.environ | {"PYTHONPATH": str(PACKAGE_PARENT), "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=240,
            check=False,
        )
    assert 0 == done.returncode, (run_dir / "output.txt").read_text()[-2000:]
    # A row costs 465 tokens; what is wanted is 24 of them, about 800 MB.
    found = beat(run_dir)["max_batch_tokens"]
    print(f"{found} tokens in 1 GiB")
    assert 465 <= found < 0.6 * BUDGET


def test_memory_that_ends_inside_a_step_costs_nothing_but_time(
    data: dict[str, Any], tmp_path: Path
) -> None:
    """
    A step that the rehearsal did not foresee is done again from clean gradients, by halves.
    """
    import torch

    from finetuned.loss.supervised import SupervisedLM
    from finetuned.training.trainer import StreamTrainer
    from finetuned.training.worker import main as worker_main
    from support.fork_run import fork_main

    assert 0 == fork_main(worker_main, make(data, tmp_path / "ample", max_batch_tokens=2000))

    def main(argv: list[str]) -> int:
        training_step, forward = StreamTrainer.training_step, SupervisedLM.forward

        def in_step(self: Any, model: Any, inputs: dict[str, int], *args: Any) -> Any:
            self.model.step = inputs["step"]
            return training_step(self, model, inputs, *args)

        def one_refused(self: Any, rows: Any) -> Any:
            # The second micro-batch of the second step: gradients of the first are there.
            if getattr(self, "step", 0) == 1 and len(rows) > 2 and self.training:
                self.seen = getattr(self, "seen", 0) + 1
                if self.seen == 2:
                    raise torch.OutOfMemoryError("planted")
            return forward(self, rows)

        StreamTrainer.training_step, SupervisedLM.forward = in_step, one_refused
        return worker_main(argv)

    folder = tmp_path / "interrupted"
    assert 0 == fork_main(main, make(data, folder, max_batch_tokens=2000))
    assert beat(folder)["max_batch_tokens"] < 2000
    ample, interrupted = (read_metrics(p) for p in (tmp_path / "ample", folder))
    assert [m["examples"] for m in ample] == [m["examples"] for m in interrupted]
    expected, found = weights(tmp_path / "ample"), weights(folder)
    assert max(float((expected[k] - found[k]).abs().max()) for k in expected) <= 2e-6


# -- through the daemon -----------------------------------------------------------------


@pytest.mark.long
def test_a_dataset_that_memory_cannot_hold_is_put_aside_and_the_next_one_trained(
    tmp_path: Path, faults: Path
) -> None:
    """
    One attempt, exit 65, the original and the reason in rejected/; the next file becomes v0001.
    """
    base = make_tiny_base(tmp_path / "base", hidden=256, layers=4)
    root = make_root(
        tmp_path / "root",
        base,
        data="max_length = 1000",
        training="lora_dropout = 0.0",
        inbox="share_run_max_examples = 0",
    )
    (faults / "limit-memory").write_text("75")
    part = _write_long_rows(root / "a.part", 8, 960)
    content = part.read_bytes()
    part.rename(root / "inbox" / "a.jsonl")
    with Daemon(root, env=environment(faults)) as daemon:
        daemon.wait_for(lambda s: s["queue"]["failed"] == 1, "the failure")
        drop(root, "b.jsonl", 24, "b")
        daemon.wait_for(lambda s: ended(s) == 1, "the next job")
    jobs = journal(root, "SELECT * FROM jobs ORDER BY id")
    assert ["failed", "OutOfMemory"] == [jobs[0]["state"], jobs[0]["error_type"]]
    assert ["promoted", None] == [jobs[1]["state"], jobs[1]["parent"]]
    statuses = "SELECT exit_status FROM runs WHERE kind = 'training' ORDER BY id"
    assert [65, 0] == [r["exit_status"] for r in journal(root, statuses)]
    rejected = root / "inbox" / "rejected"
    assert content == next(rejected.glob("a.*.jsonl")).read_bytes()
    reason = (read_json(next(rejected.glob("a.*.reason.json"))) or {})["reason"]
    assert "does not fit in memory" in reason


@pytest.mark.long
def test_a_run_that_the_kernel_killed_rehearsing_is_tried_with_half(
    tmp_path: Path, tiny_base: Path, faults: Path
) -> None:
    """
    It could not say that memory ended; the next attempt begins with half its budget and ends.
    """
    root = make_root(tmp_path / "root", tiny_base, training=f"max_batch_tokens = {BUDGET}")
    (faults / "kill-rehearsing").touch()
    drop(root, "a.jsonl", 40)
    with Daemon(root, "--until-idle", env=environment(faults)) as daemon:
        assert 0 == daemon.wait_exit(), daemon.output()
    runs = journal(root, "SELECT * FROM runs WHERE kind = 'training' ORDER BY id")
    assert [-signal.SIGKILL, 0] == [r["exit_status"] for r in runs]
    beats = [beat(root / "models" / "runs" / r["id"]) for r in runs]
    assert "rehearsing" == beats[0]["phase"]
    assert [BUDGET, BUDGET // 2] == [b["max_batch_tokens"] for b in beats]
    assert ["promoted"] == [j["state"] for j in journal(root, "SELECT state FROM jobs")]
