"""
A loss or gradient that is no number: the step is left out; too many of them end the job.
"""

from __future__ import annotations

import copy
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from finetuned.errors import Diverged
from finetuned.files.run import read_json, read_metrics
from finetuned.layout import Layout
from finetuned.loss.supervised import SupervisedLM
from finetuned.registry.current_model import incumbent
from finetuned.training.trainer import StreamTrainer
from support.daemon import PACKAGE_PARENT, Daemon, make_root
from support.disk import drop, ended, journal
from support.engine import PlannedRows, make_lm, row, tokens, train, with_lora
from support.tiny_base import write_rows

PLANTED = Path(__file__).resolve().parents[1] / "faults" / "planted"
STEPS = 6


class _Fingerprints(transformers.TrainerCallback):  # type: ignore[misc]
    """
    Everything that training changes, as one hash before and after each step.
    """

    def __init__(self) -> None:
        self.before: list[str] = []
        self.after: list[str] = []
        self.counts: list[set[float]] = []

    def on_step_begin(self, *_: Any, model: Any, optimizer: Any, **__: Any) -> None:
        self.before.append(_fingerprint(model, optimizer))

    def on_step_end(self, *_: Any, model: Any, optimizer: Any, **__: Any) -> None:
        self.after.append(_fingerprint(model, optimizer))
        self.counts.append({float(s["step"]) for s in optimizer.state.values()})


def _fingerprint(model: Any, optimizer: Any) -> str:
    told = hashlib.sha256()
    for parameter in model.parameters():
        told.update(parameter.detach().numpy().tobytes())
    for state in optimizer.state.values():
        for name in ("step", "exp_avg", "exp_avg_sq"):
            told.update(state[name].numpy().tobytes())
    return told.hexdigest()


@pytest.fixture
def rows() -> PlannedRows:
    """
    Six steps of two rows.
    """
    made = [row(tokens(24 + i, i), (18, 24 + i)) for i in range(2 * STEPS)]
    return PlannedRows(made, rows_per_step=2)


def plant(monkeypatch: pytest.MonkeyPatch, kind: str, *steps: int) -> None:
    """
    Make loss or gradient of the given steps, counted from 1, something that is no number.
    """
    training_step, batch_loss = StreamTrainer.training_step, SupervisedLM.batch_loss
    now = [0]

    def step_of(self: Any, model: Any, inputs: dict[str, int], *args: Any) -> torch.Tensor:
        now[0] = inputs["step"] + 1
        loss = training_step(self, model, inputs, *args)
        if kind == "gradient" and now[0] in steps:
            last = [p for p in model.parameters() if p.grad is not None][-1]
            last.grad[0, 0] = float("nan")
        return loss

    def bad_loss(self: Any, batch: Any) -> torch.Tensor:
        loss = batch_loss(self, batch)
        bad = kind != "gradient" and now[0] in steps
        return loss * float(kind) if bad else loss

    monkeypatch.setattr(StreamTrainer, "training_step", step_of)
    monkeypatch.setattr(SupervisedLM, "batch_loss", bad_loss)


@pytest.mark.parametrize("kind", ["nan", "inf", "gradient"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_bad_step_leaves_everything_bit_for_bit(
    kind: str,
    weight_decay: float,
    rows: PlannedRows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Weights, both moments and Adam's step counts; the steps around it train.
    """
    plant(monkeypatch, kind, 2, 4, 5)
    seen = _Fingerprints()
    train(
        with_lora(make_lm("qwen3")),
        rows,
        tmp_path,
        callbacks=[seen],
        max_bad_steps=3,
        weight_decay=weight_decay,
    )
    changed = [a != b for a, b in zip(seen.before, seen.after, strict=True)]
    assert [True, False, True, False, False, True] == changed
    assert [{1.0}, {1.0}, {2.0}, {2.0}, {2.0}, {3.0}] == seen.counts


def test_a_bad_step_is_as_if_it_had_not_been(
    rows: PlannedRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing of its gradients reaches the next step.
    """
    start = with_lora(make_lm("qwen3"))
    model = copy.deepcopy(start)
    plant(monkeypatch, "nan", *range(1, STEPS))
    train(model, rows, tmp_path, max_bad_steps=STEPS)
    monkeypatch.undo()
    alone = copy.deepcopy(start)
    only_last = PlannedRows([rows[n] for n in rows.plan.numbers(STEPS - 1)], rows_per_step=2)
    train(alone, only_last, tmp_path)
    expected = dict(alone.named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.allclose(expected[name], parameter, atol=1e-7), name


def test_too_many_in_a_row_end_the_job_on_the_last_good_weights(
    rows: PlannedRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    max_bad_steps in a row, not in all; what is left in memory is the last good step.
    """
    plant(monkeypatch, "nan", 1, 3, 4, 6)
    train(with_lora(make_lm("qwen3")), rows, tmp_path, max_bad_steps=3)
    monkeypatch.undo()

    plant(monkeypatch, "nan", 3, 4, 5)
    seen = _Fingerprints()
    model = with_lora(make_lm("qwen3"))
    with pytest.raises(Diverged, match=r"3 steps in a row.* at step 5: loss nan"):
        train(model, rows, tmp_path, callbacks=[seen], max_bad_steps=3)
    assert 4 == len(seen.after)
    assert seen.after[1] == seen.after[2] == seen.after[3] == seen.before[4]
    assert seen.after[0] != seen.after[1]
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.long
@pytest.mark.slow
def test_the_daemon_goes_on_after_bad_steps_and_puts_a_hopeless_dataset_aside(
    tmp_path: Path, tiny_base: Path
) -> None:
    """
    Two bad steps: recorded and forgiven. Three in a row: 65, put aside with the reason,
    and the next dataset goes on from the incumbent.
    """
    faults = tmp_path / "faults"
    faults.mkdir()
    environment = {
        "PYTHONPATH": os.pathsep.join((str(PLANTED), str(PACKAGE_PARENT))),
        "FINETUNED_FAULTS": str(faults),
    }
    root = make_root(
        tmp_path / "root",
        tiny_base,
        inbox="share_run_max_examples = 0",
        training="max_bad_steps = 3\nlora_dropout = 0.0",
    )
    (faults / "nan-loss").write_text("2 3 5")
    drop(root, "a.jsonl", 40, "a")
    with Daemon(root, env=environment) as daemon:
        daemon.wait_for(lambda s: ended(s) == 1, "the first job")
        (faults / "nan-loss").write_text("2 3 4")
        drop(root, "b.jsonl", 40, "b")
        daemon.wait_for(lambda s: s["queue"]["failed"] == 1, "the failure")
        (faults / "nan-loss").write_text("")
        drop(root, "c.jsonl", 40, "c")
        daemon.wait_for(lambda s: ended(s) == 2, "the last job")
        daemon.terminate()
        daemon.wait_exit()

    jobs = journal(root, "SELECT * FROM jobs ORDER BY id")
    runs = journal(root, "SELECT * FROM runs WHERE kind = 'training' ORDER BY id")
    assert ["promoted", "failed", "promoted"] == [j["state"] for j in jobs]
    assert [None, "v0001", "v0001"] == [j["parent"] for j in jobs]
    assert [0, 65, 0] == [r["exit_status"] for r in runs]
    assert jobs[2]["version"] == incumbent(Layout(root))

    folders = [root / "models" / "runs" / r["id"] for r in runs]
    first = read_metrics(folders[0])
    assert [2, 3, 5] == [m["step"] for m in first if m["skipped"]]
    assert [None] * 3 == [m["loss"] for m in first if m["skipped"]]
    assert all(m["loss"] > 0 for m in first if not m["skipped"])
    manifest = read_json(Layout(root).versions / "v0001" / "manifest.json") or {}
    assert 3 == manifest["totals"]["steps_skipped"]
    assert manifest["planned_steps"] == manifest["job_steps"]

    assert "Diverged" == jobs[1]["error_type"]
    assert not (folders[1] / "candidate").exists()
    rejected = root / "inbox" / "rejected"
    content = write_rows(tmp_path / "b.jsonl", 40, tag="b").read_bytes()
    assert content == next(rejected.glob("b.*.jsonl")).read_bytes()
    reason = (read_json(next(rejected.glob("b.*.reason.json"))) or {})["reason"]
    assert "3 steps in a row without a finite loss" in reason
    assert [] == [m for m in read_metrics(folders[2]) if m["skipped"]]
