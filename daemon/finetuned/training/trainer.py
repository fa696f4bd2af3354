"""
transformers.Trainer, told what to train and in which order.

The loop is the Trainer's own. What is ours: the planned order, a fresh
TrainerState on an optimizer that goes on, random state restored at the first
step, no pickled checkpoint, and a stop before the optimizer sees a NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from finetuned.config import TrainingConfig
from finetuned.errors import Diverged
from finetuned.model.score import IGNORED, pad_batch

Row = tuple[Sequence[int], Sequence[bool]]


class PlannedBatches(Sampler[list[int]]):
    """
    Yields the micro-batches of the remaining steps, as planned.
    """

    def __init__(self, steps: Sequence[Sequence[Sequence[int]]]) -> None:
        self._batches = [list(batch) for step in steps for batch in step]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


def make_optimizer(
    parameters: dict[str, torch.nn.Parameter], config: TrainingConfig
) -> torch.optim.Optimizer:
    """
    Return AdamW over *parameters*, in their order.
    """
    return torch.optim.AdamW(
        list(parameters.values()),
        lr=config.learning_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=config.weight_decay,
    )


def make_schedule(
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    *,
    lineage_step: int,
    job_step: int,
    total_steps: int,
) -> torch.optim.lr_scheduler.LambdaLR:
    """
    Return the learning rate: linear warm-up once per lineage, then as configured.

    A pure function of where the run is, so that a resumed run goes on with the
    rate an uninterrupted one would have.

    Args:
        optimizer: What it drives.
        config: learning_rate, warmup_steps and lr_scheduler_type.
        lineage_step: Optimizer steps the lineage has taken before this process, >= 0.
        job_step: Those of them that belong to this job.
        total_steps: Optimizer steps of the whole job, > 0.
    """

    def factor(step: int) -> float:
        warm = min(1.0, (lineage_step + step + 1) / max(1, config.warmup_steps))
        if config.lr_scheduler_type == "constant":
            return warm
        return warm * max(0.0, 1.0 - (job_step + step) / total_steps)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


class StreamTrainer(Trainer):  # type: ignore[misc]
    """
    Trains the remaining steps of one plan on a given model and optimizer.

    ``last_loss``, ``last_grad_norm`` and ``supervised_tokens`` describe the
    optimizer step that ended last.
    """

    def __init__(
        self,
        model: Any,
        *,
        rows: Dataset[Row],
        steps: Sequence[Sequence[Sequence[int]]],
        pad_token_id: int,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
        config: TrainingConfig,
        scratch: Path,
        callbacks: list[TrainerCallback],
        before_first_step: Callable[[], None],
    ) -> None:
        self._steps = steps
        self._pad_token_id = pad_token_id
        self._before_first_step = before_first_step
        self.last_loss = 0.0
        self.last_grad_norm = 0.0
        self.supervised_tokens = 0
        self._micro_losses: list[torch.Tensor] = []
        device = next(model.parameters()).device
        arguments = TrainingArguments(
            output_dir=str(scratch),
            max_steps=len(steps),
            per_device_train_batch_size=config.per_device_train_batch_size,
            gradient_accumulation_steps=max(len(s) for s in steps),
            learning_rate=config.learning_rate,
            max_grad_norm=config.max_grad_norm,
            save_strategy="no",
            eval_strategy="no",
            logging_strategy="no",
            logging_nan_inf_filter=False,
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_num_workers=0,
            dataloader_pin_memory=device.type == "cuda",
            use_cpu=device.type == "cpu",
            seed=config.seed,
        )
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=rows,
            optimizers=(optimizer, schedule),
            callbacks=callbacks,
        )
        # The printer and progress callbacks write to stdout, which is the supervisor's.
        for callback in list(self.callback_handler.callbacks):
            if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
                self.remove_callback(callback)

    def get_train_dataloader(self) -> DataLoader[Row]:
        """
        Return the planned micro-batches; its own generator leaves the global one alone.
        """
        loader: DataLoader[Row] = DataLoader(
            self.train_dataset,
            batch_sampler=PlannedBatches(self._steps),
            collate_fn=lambda rows: pad_batch(rows, self._pad_token_id),
            generator=torch.Generator().manual_seed(0),
        )
        prepared: DataLoader[Row] = self.accelerator.prepare_data_loader(loader)
        return prepared

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """
        Run one micro-batch forward and backward.

        Raises:
            Diverged: The loss is not finite; optimizer and weights are untouched.
        """
        if self._before_first_step is not None:
            # Building the Trainer seeds the generators and the loader may draw from
            # them: what the run starts from is set here, where nothing comes between.
            begin, self._before_first_step = self._before_first_step, None  # type: ignore[assignment]
            begin()
        inputs = args[1] if len(args) > 1 else kwargs["inputs"]
        self.supervised_tokens += int((inputs["labels"][:, 1:] != IGNORED).sum())
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise Diverged(f"loss is {float(loss)} at step {self.state.global_step + 1}")
        self._micro_losses.append(loss.detach())
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        self.last_grad_norm = float(norm)
        if not math.isfinite(self.last_grad_norm):
            raise Diverged(
                f"gradient norm is {self.last_grad_norm} at step {self.state.global_step + 1}"
            )
        self.last_loss = float(sum(self._micro_losses))
        self._micro_losses.clear()
        return norm
