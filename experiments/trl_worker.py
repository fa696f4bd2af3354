"""
TRL's SFTTrainer over one dataset of the product: a process of its own, an adapter out.

``train_with_trl`` is for experiments and starts the process. The rows are those of a dataset
that ingestion made: token ids, and labels of -100 where the product has no loss either, so
that chat templates cannot differ. All else that is not asked for is as SFTTrainer has it,
except for gradient checkpointing, which computes the same more slowly. Needs TRL and datasets
(``tools/bootstrap --bench``). Does not know what is compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.workers import RUN_SECONDS, WorkerFailed
from finetuned.config import TrainingConfig
from finetuned.core.learning_rate import WarmUp, rate_factor
from finetuned.data.store import TokenisedDataset
from finetuned.files.atomic import publish_dir, write_atomic
from finetuned.files.run import read_json

IGNORED = -100
"""Label of a position without loss."""
TOLD = "trl.json"
"""In the folder of an adapter: what the process says of its training; seconds of processor time."""


def missing() -> list[str]:
    """
    Return the packages that are needed and not installed here.
    """
    return [name for name in ("trl", "datasets") if find_spec(name) is None]


def train_with_trl(
    folder: Path,
    name: str,
    dataset: Path,
    training: Mapping[str, Any],
    *,
    base: Path,
    parent: Path | None = None,
    order: Sequence[int] | None = None,
    our_rate: bool = False,
) -> Path:
    """
    Train one dataset and return the folder of the adapter, *folder*/*name*.

    An adapter that is there is not trained again.

    Args:
        folder: Of the adapters.
        name: Of this one.
        dataset: Folder of the dataset.
        training: As [training]; the keys that ``_arguments`` and ``_lora`` read.
        base: Model that is adapted.
        parent: Adapter to go on from, with a fresh optimizer; None for a new one.
        order: Training sequences in the order they are trained, passed over once. None: as
            SFTTrainer draws it from the seed, num_train_epochs times.
        our_rate: Whether the rate is the product's at each step; otherwise SFTTrainer's of
            lr_scheduler_type and warmup_steps.

    Raises:
        WorkerFailed: The process ended badly.
    """
    version = folder / name
    if version.exists():
        return version
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "version": str(version),
        "dataset": str(dataset),
        "training": dict(training),
        "base": str(base),
        "parent": str(parent) if parent else None,
        "order": None if order is None else [int(i) for i in order],
        "our_rate": our_rate,
    }
    path = folder / f"{name}.spec.json"
    write_atomic(path, json.dumps(spec).encode())
    with (folder / f"{name}.txt").open("ab") as output:
        done = subprocess.run(
            [sys.executable, "-m", "experiments.trl_worker", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=RUN_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise WorkerFailed(f"{folder / name}.txt: TRL ended with {done.returncode}")
    return version


def columns(dataset: Path, order: Sequence[int] | None) -> list[dict[str, list[int]]]:
    """
    Return the training sequences of a dataset as SFTTrainer takes them: ids and labels.

    Args:
        dataset: Folder of the dataset.
        order: Numbers of sequences; None for all, in file order.
    """
    rows = TokenisedDataset.open(dataset)
    found = (rows[i] for i in (range(len(rows)) if order is None else order))
    return [
        {
            "input_ids": ids.tolist(),
            "labels": [int(t) if s else IGNORED for t, s in zip(ids, supervised, strict=True)],
        }
        for ids, supervised in found
    ]


def as_trl_renders(conversations: Sequence[Sequence[Mapping[str, Any]]], base: Path) -> Any:
    """
    Return the ids and labels that SFTTrainer makes of conversations by itself.

    Each is given as prompt and completion, the last turn, with the loss on the completion.

    Args:
        conversations: Messages with role and content.
        base: Model, tokenizer and template.
    """
    rows = [{"prompt": list(c[:-1]), "completion": list(c[-1:])} for c in conversations]
    prepared = _trainer(base, None, {}, rows, order=None, our_rate=True).train_dataset
    return [{key: list(row[key]) for key in ("input_ids", "labels")} for row in prepared]


# -- in the process -------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """
    Train what the spec named in *argv* says.
    """
    spec = read_json(Path(argv[0]))
    if spec is None:
        raise SystemExit(f"{argv[0]}: no spec")
    version, order = Path(spec["version"]), spec["order"]
    rows = columns(Path(spec["dataset"]), order)
    parent = Path(spec["parent"]) if spec["parent"] else None
    trainer = _trainer(
        Path(spec["base"]), parent, spec["training"], rows, order=order, our_rate=spec["our_rate"]
    )
    prepared = [
        {"input_ids": list(row["input_ids"]), "labels": list(row["labels"])}
        for row in trainer.train_dataset
    ]
    if prepared != rows:
        raise SystemExit("SFTTrainer has changed ids or labels")
    result = trainer.train()
    building = version.with_name(f".building-{version.name}")
    trainer.model.save_pretrained(building, safe_serialization=True)
    told = {
        "steps": int(trainer.state.global_step),
        "rows": len(rows),
        "supervised": sum(label != IGNORED for row in rows for label in row["labels"]),
        "train_loss": result.training_loss,
        "seconds": round(time.process_time(), 1),
    }
    write_atomic(building / TOLD, json.dumps(told).encode())
    publish_dir(building, version)
    return 0


def _trainer(
    base: Path,
    parent: Path | None,
    training: Mapping[str, Any],
    rows: list[dict[str, Any]],
    *,
    order: Sequence[int] | None,
    our_rate: bool,
) -> Any:
    import datasets
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    class Rated(SFTTrainer):  # type: ignore[misc]
        """SFTTrainer with the product's rate at each step."""

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            if self.lr_scheduler is None:
                self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                    optimizer or self.optimizer,
                    lambda step: rate_factor(
                        settings.lr_scheduler_type,
                        lineage_step=step,
                        warm_up=WarmUp(0, settings.warmup_steps),
                        job_step=min(step, num_training_steps),
                        total_steps=num_training_steps,
                    ),
                )
            return self.lr_scheduler

    settings = TrainingConfig(**training)
    datasets.disable_progress_bars()
    torch.set_num_threads(1)
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if parent is not None:
        model = PeftModel.from_pretrained(model, parent, is_trainable=True)
    # A new adapter is drawn in the constructor: from the same seed as the product's.
    torch.manual_seed(settings.seed)
    return (Rated if our_rate else SFTTrainer)(
        model=model,
        args=SFTConfig(**_arguments(settings, ordered=order is not None, our_rate=our_rate)),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=None if parent is not None else _lora(settings),
    )


def _lora(settings: TrainingConfig) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def _arguments(settings: TrainingConfig, *, ordered: bool, our_rate: bool) -> dict[str, Any]:
    """Return what differs from SFTConfig's defaults."""
    schedule = {
        "lr_scheduler_type": settings.lr_scheduler_type,
        "warmup_steps": settings.warmup_steps,
    }
    return {
        "num_train_epochs": 1 if ordered else settings.num_train_epochs,
        "per_device_train_batch_size": settings.per_device_train_batch_size,
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "train_sampling_strategy": "sequential" if ordered else "random",
        "gradient_checkpointing": False,
        "max_length": None,
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **({} if our_rate else schedule),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
