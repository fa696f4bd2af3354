"""
Checkpoints written while training goes on: what is on disk is what was submitted.
"""

from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from finetuned.core.early_stop import EarlyStop
from finetuned.errors import ModelError
from finetuned.files.manifest import write_manifest
from finetuned.training.background import BackgroundSaver

DAEMON = Path(__file__).resolve().parents[2] / "daemon"
FILES = ("weights.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json")
NEW_FIELDS = (
    "warm_up_began",
    "warm_up_steps",
    "precision",
    "kernels",
    "early_stop",
    "kernels_close",
)


class Training:
    """
    A small model with dropout: its bits depend on weights, moments and generators.
    """

    def __init__(self, device: str = "cpu") -> None:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.Dropout(0.3), torch.nn.Linear(16, 4)
        ).to(device)
        self.parameters = dict(self.model.named_parameters())
        self.optimizer = torch.optim.AdamW(self.parameters.values(), lr=0.05)
        self.totals = {"tokens": 0.0}
        self.looks: dict[str, Any] = EarlyStop(50, 0.01).as_dict()
        self.step_number = 0
        self.device = device

    def step(self) -> None:
        import torch

        self.optimizer.zero_grad()
        x = torch.linspace(-1, 1, 24, device=self.device).reshape(3, 8)
        self.model(x).square().sum().backward()
        self.optimizer.step()
        self.step_number += 1
        self.totals["tokens"] += 24
        self.looks["steps"].append(self.step_number)
        self.looks["losses"].append(1.0)

    def steps(self, n: int) -> Training:
        for _ in range(n):
            self.step()
        return self

    def progress(self) -> Any:
        from finetuned.training.progress import Progress

        n = self.step_number
        return Progress(n, n + 700, "digest", self.totals, 700, 20, "bfloat16", "split", self.looks)

    def snapshot(self) -> Any:
        from finetuned.training.checkpoint import snapshot_state

        return snapshot_state(self.parameters, self.optimizer, self.progress())

    def save(self, folder: Path) -> Path:
        from finetuned.training.checkpoint import write_checkpoint

        return write_checkpoint(folder, self.snapshot())


class Gate:
    """
    A writer that reports that it has begun, and waits to be let on.
    """

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()

    def write(self, snapshot: Any) -> Any:
        self.begun.set()
        assert self.open.wait(20)
        return snapshot


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def saver() -> BackgroundSaver[Any, Any]:
    return BackgroundSaver()


def until_idle(saving: BackgroundSaver[Any, Any]) -> None:
    while saving.busy:
        time.sleep(0.001)


def test_the_bytes_on_disk_are_those_of_the_moment_of_the_snapshot(
    tmp_path: Path, gate: Gate
) -> None:
    """
    Steps made while the writer works change neither weights, moments, generators nor sums.
    """
    from finetuned.training.checkpoint import write_checkpoint

    training = Training().steps(3)
    expected = training.save(tmp_path / "at_once")
    saving = saver()

    def write(snapshot: Any) -> Path:
        return write_checkpoint(tmp_path / "behind", gate.write(snapshot))

    assert saving.submit(training.snapshot(), write)
    assert gate.begun.wait(20)
    training.steps(5)
    gate.open.set()
    (found,) = saving.wait()
    after = training.save(tmp_path / "after")

    for name in FILES:
        assert (expected / name).read_bytes() == (found / name).read_bytes(), name
        assert (after / name).read_bytes() != (found / name).read_bytes(), name


def test_a_snapshot_shares_no_memory_with_what_is_trained() -> None:
    """
    Checked by address, so that no kind of optimizer can reach it by writing in place.
    """
    training = Training().steps(2)
    snapshot = training.snapshot()
    state = [t for s in training.optimizer.state.values() for t in s.values()]
    live = {t.untyped_storage().data_ptr() for t in [*training.parameters.values(), *state]}
    copied = {**snapshot.weights, **snapshot.optimizer}

    assert len(training.parameters) + len(state) == len(copied)
    assert set() == live & {t.untyped_storage().data_ptr() for t in copied.values()}
    assert all(t.is_contiguous() for t in copied.values())


def test_a_run_resumed_from_a_background_checkpoint_ends_with_the_same_bits(
    tmp_path: Path,
) -> None:
    """
    Dropout included: weights, moments and generators are of one and the same step.
    """
    import torch

    from finetuned.training.checkpoint import load_checkpoint, write_checkpoint
    from finetuned.training.optimizer import restore_optimizer
    from finetuned.training.random_state import restore_rng

    training = Training().steps(4)
    saving = saver()
    assert saving.submit(training.snapshot(), lambda s: write_checkpoint(tmp_path, s))
    expected = training.steps(6).snapshot()
    saved = load_checkpoint(saving.wait()[0]).snapshot

    resumed = Training()
    with torch.no_grad():
        for name, parameter in resumed.parameters.items():
            parameter.copy_(saved.weights[name])
    restore_optimizer(resumed.optimizer, resumed.parameters, saved.optimizer)
    restore_rng(saved.rng)
    found = resumed.steps(6).snapshot()

    assert expected.weights.keys() == found.weights.keys()
    assert all(torch.equal(t, found.weights[name]) for name, t in expected.weights.items())
    assert all(torch.equal(t, found.optimizer[name]) for name, t in expected.optimizer.items())


def test_what_the_disk_refuses_is_raised_where_training_polls(tmp_path: Path) -> None:
    """
    Once; nothing is begun before it is fetched; then the next save works, and the old one stands.
    """
    from finetuned.training.checkpoint import write_checkpoint
    from finetuned.training.checkpoint_folder import list_checkpoints

    training = Training().steps(1)
    good, full = tmp_path / "checkpoints", tmp_path / "full"
    full.write_bytes(b"")  # a file where the folder should be
    old = training.save(good)
    training.step()
    saving = saver()
    assert saving.submit(training.snapshot(), lambda s: write_checkpoint(full, s))
    until_idle(saving)

    assert not saving.submit(training.snapshot(), lambda s: write_checkpoint(good, s))
    with pytest.raises(FileExistsError):
        saving.poll()
    assert [] == saving.poll()
    assert [old] == list_checkpoints(good)
    assert saving.submit(training.snapshot(), lambda s: write_checkpoint(good, s))
    assert saving.wait() == list_checkpoints(good)[1:]


def test_a_checkpoint_that_does_not_load_is_raised_where_training_waits(tmp_path: Path) -> None:
    """
    Verified on the writing thread before an older one goes: the ModelError crosses over.
    """
    from finetuned.training.checkpoint import write_checkpoint
    from finetuned.training.checkpoint_folder import list_checkpoints, prune_checkpoints

    training = Training().steps(1)
    training.save(tmp_path)
    training.step()

    def write(snapshot: Any) -> Path:
        path = write_checkpoint(tmp_path, snapshot)
        os.truncate(path / "weights.safetensors", 10)  # the disk lied
        prune_checkpoints(tmp_path, 1)
        return path

    saving = saver()
    assert saving.submit(training.snapshot(), write)
    with pytest.raises(ModelError, match="weights"):
        saving.wait()
    assert ["checkpoint-1", "checkpoint-2"] == [p.name for p in list_checkpoints(tmp_path)]


@pytest.mark.parametrize("fails", [False, True])
def test_the_copy_is_let_go_when_it_is_written(tmp_path: Path, fails: bool) -> None:
    """
    Between two checkpoints no second model lies in memory, also after a refused one.
    """
    from finetuned.training.checkpoint import write_checkpoint

    folder = tmp_path / "checkpoints"
    if fails:
        folder.write_bytes(b"")
    saving = saver()
    snapshot = Training().steps(1).snapshot()
    copies = [weakref.ref(t) for t in [*snapshot.weights.values(), *snapshot.optimizer.values()]]
    assert saving.submit(snapshot, lambda s: write_checkpoint(folder, s))
    del snapshot
    try:
        saving.wait()
    except FileExistsError:
        assert fails

    assert [None] * len(copies) == [ref() for ref in copies]


def test_progress_comes_back_with_everything_that_was_in_it(tmp_path: Path) -> None:
    """
    Warm-up, precision and early stopping travel too.
    """
    from finetuned.training.checkpoint import load_checkpoint

    training = Training().steps(2)
    found = load_checkpoint(training.save(tmp_path)).progress

    assert training.progress() == found
    assert found.early_stop is not None
    assert (1, 2) == tuple(found.early_stop["steps"])


def test_a_checkpoint_from_before_the_new_fields_still_loads(tmp_path: Path) -> None:
    """
    A job that was interrupted before an update goes on after it.
    """
    from finetuned.training.checkpoint import load_checkpoint
    from finetuned.training.progress import Progress

    path = Training().steps(2).save(tmp_path)
    state = json.loads((path / "state.json").read_bytes())
    assert set(asdict(Progress(0, 0, "", {}))) == state.keys()
    old = {name: value for name, value in state.items() if name not in NEW_FIELDS}
    (path / "state.json").write_text(json.dumps(old))
    write_manifest(path, {"kind": "checkpoint", "job_step": 2})

    assert Progress(2, 702, "digest", {"tokens": 48.0}, 0, 0, "", "", None) == (
        load_checkpoint(path).progress
    )


@pytest.mark.gpu
@pytest.mark.parametrize("pinned_bytes", [0, 1 << 30])
def test_a_snapshot_of_a_gpu_is_complete_when_it_returns(
    pinned_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Copies into page-locked memory are under way at once: none is left when training goes on.
    """
    import torch

    from finetuned.training import checkpoint

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    monkeypatch.setattr(checkpoint, "PINNED_BYTES", pinned_bytes)
    training = Training("cuda").steps(3)
    expected = {name: p.detach().cpu().clone() for name, p in training.parameters.items()}
    snapshot = training.snapshot()
    training.steps(3)

    assert all(not t.is_cuda for t in [*snapshot.weights.values(), *snapshot.optimizer.values()])
    assert all(torch.equal(expected[name], t) for name, t in snapshot.weights.items())
