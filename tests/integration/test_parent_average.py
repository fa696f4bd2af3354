"""
A job keeps the share of its change that does best on held-out rows, and says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetuned.files.manifest import read_manifest

TRAINING = {
    "lora_dropout": 0.0,
    "per_device_train_batch_size": 8,
    "warmup_steps": 0,
    "replay_presentations": 0,
}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "candidate" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def runs(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """
    A first job, and four that go on from it: two at a sound rate and two at a wild one.
    """
    import finetuned.training.trainer  # noqa: F401  imported once, for every fork
    from finetuned.files.spec import TrainingSpec, read_spec
    from finetuned.process.lifeline import Lifeline
    from finetuned.training import training_run
    from finetuned.training.model_keeper import ModelKeeper
    from support.fork_run import fork_main, ingest, make_run

    root = tmp_path_factory.mktemp("average")
    first, second = ingest(root, tiny_base, [("a.jsonl", 40), ("b.jsonl", 60)])
    made: dict[str, Path] = {}

    def add(name: str, dataset: Any, parent: str | None, **training: Any) -> None:
        made[name] = make_run(
            root / name,
            base=tiny_base,
            datasets=[dataset],
            job_id=f"j-{dataset['name']}",
            parent=made[parent] / "candidate" if parent else None,
            earlier=[first["dir"]] if parent else [],
            training=TRAINING | training,
        )

    add("first", first, None)
    for name, rate in (("sound", 1e-3), ("wild", 0.02)):
        add(name, second, "first", learning_rate=rate, max_grad_norm=1e6)
        add(f"{name} whole", second, "first", learning_rate=rate, max_grad_norm=1e6, average=False)

    def main(_: list[str]) -> int:
        for run in made.values():
            keeper = ModelKeeper()
            training_run.train(run, read_spec(run, TrainingSpec), Lifeline(), keeper)
        return 0

    assert 0 == fork_main(main, made["first"]), (made["first"] / "output.txt").read_text()
    return made


@pytest.mark.parametrize("rate", ["sound", "wild"])
def test_weights_lie_between_the_parent_s_and_those_that_were_trained(
    runs: dict[str, Path], rate: str
) -> None:
    """
    At the share that the manifest names, whose loss is the lowest of those it lists.
    """
    facts = read_manifest(runs[rate] / "candidate")
    share, losses = facts["kept_share"], facts["loss_of_shares"]
    parent, whole, kept = (weights(runs[name]) for name in ("first", f"{rate} whole", rate))

    assert {"1", "0.75", "0.5", "0.25"} == losses.keys()
    assert min(losses.values()) == losses[f"{share:g}"]
    for name, value in kept.items():
        assert torch.equal(torch.lerp(parent[name], whole[name], share), value)


def test_a_change_that_does_harm_is_not_kept_whole(runs: dict[str, Path]) -> None:
    """
    At a rate that leaves the minimum behind, what is kept is the share of the lowest loss.
    """
    facts = read_manifest(runs["wild"] / "candidate")
    losses = {float(share): loss for share, loss in facts["loss_of_shares"].items()}

    assert 4 == len(losses)
    assert facts["kept_share"] == min(losses, key=losses.__getitem__) < 1


@pytest.mark.parametrize("name", ["first", "sound whole"])
def test_without_a_parent_or_by_choice_all_of_it_is_kept(runs: dict[str, Path], name: str) -> None:
    """
    Nothing is scored for it then.
    """
    facts = read_manifest(runs[name] / "candidate")

    assert (1.0, None) == (facts["kept_share"], facts["loss_of_shares"])
