"""
Files in a row: one optimizer, one schedule, no step lost, no moment forgotten.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuned.files.manifest import read_manifest
from finetuned.files.run import read_json, read_metrics

ROWS = (("a.jsonl", 60), ("b.jsonl", 33), ("c.jsonl", 47))


@pytest.fixture(scope="module")
def chain(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """
    Three jobs, each going on from the candidate of the one before.
    """
    import finetuned.training.trainer  # noqa: F401
    from finetuned.training.worker import main
    from support.fork_run import fork_main, ingest, make_run

    root = tmp_path_factory.mktemp("chain")
    datasets = ingest(root, tiny_base, list(ROWS))
    runs: list[Path] = []
    for i, dataset in enumerate(datasets):
        run = make_run(
            root / f"r{i:06d}",
            base=tiny_base,
            datasets=[dataset],
            job_id=f"j{i:06d}",
            parent=runs[-1] / "candidate" if runs else None,
            training={
                "lr_scheduler_type": "constant",
                "lora_dropout": 0.0,
                "replay_presentations": 0,
            },
        )
        assert 0 == fork_main(main, run), (run / "output.txt").read_text()
        runs.append(run)
    return {"root": root, "base": tiny_base, "datasets": datasets, "runs": runs}


def optimizer_of(run: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(run / "candidate" / "training_state" / "optimizer.safetensors")


def test_steps_add_up_over_files(chain: dict[str, Any]) -> None:
    """
    steps(N-1) + steps(N) = total, and Adam has counted the same.
    """
    total = 0
    for run in chain["runs"]:
        metrics = read_metrics(run)
        total += len(metrics)
        assert total == metrics[-1]["lineage_step"]
        assert total == read_manifest(run / "candidate")["lineage_step"]
        steps = {float(t) for k, t in optimizer_of(run).items() if k.startswith("step/")}
        assert {float(total)} == steps


def test_the_learning_rate_warms_up_once(chain: dict[str, Any]) -> None:
    """
    The first step of a file has the learning rate of the last step before it.
    """
    rates = [[m["learning_rate"] for m in read_metrics(run)] for run in chain["runs"]]

    assert rates[0][-1] > rates[0][0]
    assert rates[0][-1] == rates[1][0]
    assert {rates[1][0]} == {*rates[1], *rates[2]}


def test_moments_are_the_same_before_and_after_a_file_boundary(
    chain: dict[str, Any], tmp_path: Path
) -> None:
    """
    What the next job starts from is bit for bit what the last one ended with.
    """
    import torch

    from finetuned.config import config_from_dict
    from finetuned.model.load import load_for_training, trainable_parameters
    from finetuned.training.optimizer import (
        make_optimizer,
        optimizer_tensors,
        restore_optimizer,
    )
    from finetuned.training.parent_state import load_parent_state

    spec = read_json(chain["runs"][1] / "spec.json")
    assert spec is not None
    config = config_from_dict(spec["config"])
    parent = chain["runs"][0] / "candidate"
    model = load_for_training(chain["base"], parent, config.model, config.training)
    parameters = trainable_parameters(model)
    optimizer = make_optimizer(parameters, config.training)
    state = load_parent_state(parent)
    assert state.optimizer is not None
    restore_optimizer(optimizer, parameters, state.optimizer)

    saved = optimizer_of(chain["runs"][0])
    restored = optimizer_tensors(optimizer, parameters)
    assert saved.keys() == restored.keys()
    assert all(torch.equal(saved[k], restored[k]) for k in saved)
    assert any(float(t.abs().sum()) > 0 for k, t in saved.items() if k.startswith("exp_avg/"))


def test_three_files_in_a_row_equal_one_run_over_the_same_batches(
    chain: dict[str, Any], tmp_path: Path
) -> None:
    """
    File boundaries leave no trace in weights and moments.
    """
    import torch
    from safetensors.torch import load_file

    from finetuned.config import config_from_dict
    from finetuned.core.learning_rate import WarmUp
    from finetuned.data.plan import Plan
    from finetuned.loss.fused_lora import fuse_lora
    from finetuned.loss.supervised import Kernels, SupervisedLM
    from finetuned.model.load import load_for_training, trainable_parameters
    from finetuned.training.optimizer import make_optimizer, make_schedule, optimizer_tensors
    from finetuned.training.rows import JobRows
    from finetuned.training.token_budget import TokenBudget
    from finetuned.training.trainer import StreamTrainer
    from finetuned.training.training_run import job_seed

    torch.set_num_threads(1)  # as the forked runs: other thread counts sum in another order
    spec = read_json(chain["runs"][0] / "spec.json")
    assert spec is not None
    config = config_from_dict(spec["config"])
    folders = [Path(d["dir"]) for d in chain["datasets"]]
    rows = JobRows(folders, [d["name"] for d in chain["datasets"]])
    plans = [
        JobRows([folder], [""]).plan(
            config.training, seed=job_seed(config.training.seed, f"j{i:06d}"), world=1
        )
        for i, folder in enumerate(folders)
    ]
    n_rows = np.cumsum([0, *(len(p.lengths) for p in plans)])
    n_classes = np.cumsum([0, *(len(p.prefix_lengths) for p in plans)])
    n_steps = np.cumsum([0, *(len(p.order) for p in plans)])
    whole = Plan(
        order=np.concatenate([p.order + n for p, n in zip(plans, n_rows, strict=False)]),
        step_starts=np.concatenate(
            [[0], *(p.step_starts[1:] + n for p, n in zip(plans, n_steps, strict=False))]
        ),
        lengths=np.concatenate([p.lengths for p in plans]),
        class_of=np.concatenate(
            [
                np.where(p.class_of < 0, -1, p.class_of + n)
                for p, n in zip(plans, n_classes, strict=False)
            ]
        ),
        prefix_lengths=np.concatenate([p.prefix_lengths for p in plans]),
        max_rows=plans[0].max_rows,
    )

    model = load_for_training(chain["base"], None, config.model, config.training)
    parameters = trainable_parameters(model)
    optimizer = make_optimizer(parameters, config.training)
    fuse_lora(model)
    StreamTrainer(
        SupervisedLM(model, Kernels("split", "sdpa"), pad_token_id=257),
        rows=rows,
        plan=whole,
        start=0,
        budget=TokenBudget(config.training.max_batch_tokens, on_change=lambda _: None),
        optimizer=optimizer,
        schedule=make_schedule(
            optimizer,
            config.training,
            warm_up=WarmUp(0, config.training.warmup_steps),
            lineage_step=0,
            job_step=0,
            total_steps=len(whole),
        ),
        config=config.training,
        scratch=tmp_path,
        callbacks=[],
        before_first_step=lambda: None,
    ).train()

    last = chain["runs"][-1] / "candidate"
    saved = load_file(last / "adapter_model.safetensors")
    found = {k.replace(".default.", "."): p for k, p in parameters.items()}
    assert saved.keys() == found.keys()
    assert all(torch.equal(saved[k], found[k].detach()) for k in saved)
    moments = optimizer_tensors(optimizer, parameters)
    assert all(torch.equal(t, moments[k]) for k, t in optimizer_of(chain["runs"][-1]).items())


def test_a_partial_optimizer_state_stops_the_run(chain: dict[str, Any]) -> None:
    """
    Moments are all there or the run does not start: never a silent reset.
    """
    from finetuned.config import config_from_dict
    from finetuned.errors import ModelError
    from finetuned.model.load import load_for_training, trainable_parameters
    from finetuned.training.optimizer import make_optimizer, restore_optimizer

    spec = read_json(chain["runs"][1] / "spec.json")
    assert spec is not None
    config = config_from_dict(spec["config"])
    model = load_for_training(
        chain["base"], chain["runs"][0] / "candidate", config.model, config.training
    )
    parameters = trainable_parameters(model)
    tensors = optimizer_of(chain["runs"][0])
    lost = next(k for k in tensors if k.startswith("exp_avg/"))
    del tensors[lost]

    with pytest.raises(ModelError, match="no optimizer state"):
        restore_optimizer(make_optimizer(parameters, config.training), parameters, tensors)


def test_exactly_one_adapter_is_trained(chain: dict[str, Any]) -> None:
    """
    Going on from an adapter does not put a second one on top of it.
    """
    from finetuned.config import config_from_dict
    from finetuned.model.load import load_for_training, trainable_parameters

    spec = read_json(chain["runs"][1] / "spec.json")
    assert spec is not None
    config = config_from_dict(spec["config"])
    fresh = trainable_parameters(
        load_for_training(chain["base"], None, config.model, config.training)
    )
    again = trainable_parameters(
        load_for_training(
            chain["base"], chain["runs"][0] / "candidate", config.model, config.training
        )
    )

    assert fresh.keys() == again.keys()
    assert all("lora_" in name for name in again)


def test_no_pickle_is_ever_written(chain: dict[str, Any]) -> None:
    """
    Checkpoints and candidates are safetensors and JSON, tokenizers text.
    """
    allowed = {".safetensors", ".json", ".jsonl", ".jinja", ".txt", ".log", ""}
    written = {p.suffix for run in chain["runs"] for p in run.rglob("*") if p.is_file()}

    assert written <= allowed


def test_a_linear_schedule_falls_to_zero_within_its_job_and_resumes_where_it_was() -> None:
    """
    The rate depends on where the job is, not on how often it was stopped.
    """
    import torch

    from finetuned.config import TrainingConfig
    from finetuned.core.learning_rate import WarmUp
    from finetuned.training.optimizer import make_schedule

    config = TrainingConfig(lr_scheduler_type="linear", warmup_steps=2, learning_rate=1.0)

    def rates(start: int) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = make_schedule(
            optimizer,
            config,
            warm_up=WarmUp(0, 2),
            lineage_step=start,
            job_step=start,
            total_steps=10,
        )
        found = []
        for _ in range(start, 10):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return found

    whole = rates(0)
    assert whole[4:] == rates(4)
    assert pytest.approx([0.5, 0.9, 0.8]) == whole[:3]
    assert pytest.approx(0.1) == whole[-1]


@pytest.mark.parametrize("close", [False, True])
def test_a_lineage_computes_as_it_began(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, close: bool
) -> None:
    """
    The second job takes kernels and precision from its parent: checked again, timed no more.

    Unless the choice was close: then it looks again.
    """
    import finetuned.training.trainer  # noqa: F401
    from finetuned.core.fastest_way import Judgement
    from finetuned.loss import kernel_timing, kernels
    from finetuned.training.worker import main
    from support.fork_run import fork_main, ingest, make_run

    def judge(turns: list[list[float]]) -> Judgement:
        return Judgement(0, (0, 1) if close or not all(turns) else ())

    monkeypatch.setattr(kernel_timing, "judge", judge)
    monkeypatch.setattr(kernel_timing, "MOST_TURNS", 2)
    monkeypatch.setattr(kernels, "seconds_to_look", lambda *_, **__: 30.0)
    datasets = ingest(tmp_path, tiny_base, [("a.jsonl", 40), ("b.jsonl", 33)])
    beats: list[dict[str, Any]] = []
    parent = None
    for i, dataset in enumerate(datasets):
        run = make_run(
            tmp_path / f"r{i}",
            base=tiny_base,
            datasets=[dataset],
            job_id=f"j{i}",
            parent=parent,
            training={"kernels": "auto", "lora_dropout": 0.0},
        )
        assert 0 == fork_main(main, run), (run / "output.txt").read_text()
        parent = run / "candidate"
        beats.append(read_json(run / "heartbeat.json") or {})

    assert beats[0]["kernels_timed"]
    assert close == bool(beats[1]["kernels_timed"])
    assert close == ("close, a later job looks again" in beats[0]["kernels_reason"])
    assert close == ("kept from the job before" != beats[1]["kernels_reason"])
    assert close == (read_json(parent / "manifest.json") or {})["kernels_close"]
    for name in ("kernels", "precision"):
        assert beats[0][name] == beats[1][name]


def test_a_checkpoint_of_another_plan_starts_the_job_again(tiny_base: Path, tmp_path: Path) -> None:
    """
    Every row once from the first step on; a later attempt goes on from the new plan's steps.
    """
    import finetuned.training.trainer  # noqa: F401
    from finetuned.training.worker import main
    from support.fork_run import fork_main, ingest, make_run

    datasets = ingest(tmp_path, tiny_base, [("a.jsonl", 40)])
    runs: list[Path] = []
    for i, rows_per_step in enumerate((2, 4, 4)):
        run = make_run(
            tmp_path / f"r{i}",
            base=tiny_base,
            datasets=datasets,
            resume_from=runs[::-1],
            training={"lora_dropout": 0.0, "per_device_train_batch_size": rows_per_step},
        )
        assert 0 == fork_main(main, run), (run / "output.txt").read_text()
        runs.append(run)

    first, again, resumed = map(read_metrics, runs)
    assert len(first) > len(again)
    assert list(range(1, len(again) + 1)) == [m["step"] for m in again]
    trained = [row for m in again for row in m["examples"]]
    assert sorted(trained) == sorted(row for m in first for row in m["examples"])
    said = (read_json(runs[1] / "heartbeat.json") or {})["optimizer_state"]
    assert "another plan: the job starts again" in said
    assert len(resumed) < len(again)
