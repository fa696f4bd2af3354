"""
Full fine-tuning, and what a method says where it cannot work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finetuned.files.manifest import verify_manifest
from finetuned.files.run import read_json, read_metrics


@pytest.fixture(scope="module")
def data(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    import finetuned.training.trainer  # noqa: F401
    from support.fork_run import ingest

    root = tmp_path_factory.mktemp("data")
    return {
        "base": tiny_base,
        "datasets": ingest(root, tiny_base, [("a.jsonl", 40), ("b.jsonl", 30), ("c.jsonl", 1)]),
    }


def run(data: dict[str, Any], folder: Path, which: int = 0, **options: Any) -> int:
    from finetuned.training.worker import main
    from support.fork_run import fork_main, make_run

    make_run(folder, base=data["base"], datasets=[data["datasets"][which]], **options)
    return fork_main(main, folder)


def test_full_fine_tuning_goes_on_over_files(data: dict[str, Any], tmp_path: Path) -> None:
    """
    All weights are trained, the candidate loads as a model, and the next file goes on from it.
    """
    from transformers import AutoModelForCausalLM

    full = {"method": "full", "learning_rate": 5e-5}
    assert 0 == run(data, tmp_path / "r1", training=full)
    first = tmp_path / "r1" / "candidate"
    verify_manifest(first)
    AutoModelForCausalLM.from_pretrained(first)
    assert 0 == run(data, tmp_path / "r2", 1, training=full, parent=first)

    steps = [len(read_metrics(tmp_path / r)) for r in ("r1", "r2")]
    manifest = read_json(tmp_path / "r2" / "candidate" / "manifest.json") or {}
    assert sum(steps) == manifest["lineage_step"]
    beat = read_json(tmp_path / "r2" / "heartbeat.json") or {}
    assert "continued from v0001" == beat["optimizer_state"]


def test_an_adapter_is_not_silently_trained_as_a_full_model(
    data: dict[str, Any], tmp_path: Path
) -> None:
    """
    The method is checked against the files: a mismatch is a configuration error that says so.
    """
    assert 0 == run(data, tmp_path / "r1")
    status = run(
        data, tmp_path / "r2", training={"method": "full"}, parent=tmp_path / "r1" / "candidate"
    )

    error = read_json(tmp_path / "r2" / "error.json") or {}
    assert 78 == status
    assert "is an adapter" in error["error_message"]


def test_qlora_says_what_it_needs(data: dict[str, Any], tmp_path: Path) -> None:
    """
    Without CUDA and bitsandbytes it is a configuration error with a way out, not a crash.
    """
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert 78 == run(data, tmp_path / "r1", training={"method": "qlora"})
    error = read_json(tmp_path / "r1" / "error.json") or {}
    assert "needs CUDA and bitsandbytes" in error["error_message"]


def test_a_file_of_one_row_takes_at_least_one_step(data: dict[str, Any], tmp_path: Path) -> None:
    """
    Fewer rows than a batch are trained all the same.
    """
    assert 0 == run(data, tmp_path / "r1", 2)
    assert 1 == len(read_metrics(tmp_path / "r1"))


def test_accumulation_trains_every_row_and_normalises_by_token(
    data: dict[str, Any], tmp_path: Path
) -> None:
    """
    Four micro-batches of four are one step of sixteen: the same first loss and gradient.
    """
    small = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 10}
    large = {"per_device_train_batch_size": 40, "gradient_accumulation_steps": 1}
    losses = {}
    for name, options in (("small", small), ("large", large)):
        assert 0 == run(data, tmp_path / name, training={**options, "lora_dropout": 0.0})
        record = read_metrics(tmp_path / name)[0]
        losses[name] = (record["loss"], record["grad_norm"], record["supervised_tokens"])
    assert losses["large"] == pytest.approx(losses["small"], rel=1e-4)


def test_a_nan_in_the_base_fails_the_run_and_leaves_no_candidate(
    data: dict[str, Any], tmp_path: Path
) -> None:
    """
    A diverged run is never completed: exit 65, the reason, and nothing to promote.
    """
    import shutil

    from safetensors.torch import load_file, save_file

    sick = tmp_path / "sick"
    shutil.copytree(data["base"], sick)
    weights = load_file(sick / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, sick / "model.safetensors", metadata={"format": "pt"})

    assert 65 == run({**data, "base": sick}, tmp_path / "r1")
    error = read_json(tmp_path / "r1" / "error.json") or {}
    assert "Diverged" == error["error_type"]
    assert not (tmp_path / "r1" / "candidate").exists()
