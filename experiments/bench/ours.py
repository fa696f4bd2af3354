"""
How finetuned trains the rows: its own planner, kernels and trainer, as the worker uses them.

Everything the benchmark knows of the product is here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from experiments.bench.settings import LORA_RANK, MAX_GRAD_NORM, Settings
from experiments.bench.watch import IGNORED, RowLog
from experiments.bench.workloads import Row
from finetuned.config import TrainingConfig
from finetuned.core.learning_rate import WarmUp
from finetuned.data.plan import Plan, plan_batches
from finetuned.data.prefixes import block_reader, find_prefixes
from finetuned.loss.fused_lora import fuse_lora
from finetuned.loss.kernels import choose
from finetuned.loss.supervised import Kernels, SupervisedLM
from finetuned.model.load import trainable_parameters
from finetuned.training.optimizer import make_optimizer, make_schedule
from finetuned.training.rows import JobRows
from finetuned.training.token_budget import TokenBudget
from finetuned.training.trainer import StreamTrainer

PAD_TOKEN_ID = 0


class LoggedRows:
    """
    The rows as the trainer reads them, by number, with a record of which it has read.
    """

    def __init__(self, rows: Sequence[Row], log: RowLog) -> None:
        self._rows = rows
        self._log = log

    def __getitem__(self, number: int) -> Row:
        ids, supervised = self._rows[number]
        self._log.add(ids, np.where(supervised, ids.astype(np.int64), IGNORED), [len(ids)])
        return ids, supervised


def configuration(settings: Settings) -> TrainingConfig:
    """
    Return our configuration that means the common settings.
    """
    return TrainingConfig(
        method=settings.method,
        r=LORA_RANK,
        lora_alpha=LORA_RANK,
        learning_rate=settings.learning_rate,
        warmup_steps=0,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=MAX_GRAD_NORM,
        per_device_train_batch_size=settings.rows_per_step,
        gradient_accumulation_steps=1,
        seed=settings.seed,
    )


def train(
    model: Any,
    rows: Sequence[Row],
    settings: Settings,
    *,
    steps: int,
    callbacks: list[Any],
    log: RowLog,
) -> int:
    """
    Train *rows* once in *steps* optimizer steps.

    Args:
        model: From shapes.build_model; trained in place.
        rows: settings.rows_per_step rows for each step.
        settings: What all contestants share.
        steps: Optimizer steps to make.
        callbacks: TrainerCallbacks that watch.
        log: Told every row that is trained, and which kernels did it.

    Returns:
        Optimizer steps made.
    """
    config = configuration(settings)
    plan = _plan(rows, config)
    budget = TokenBudget(config.max_batch_tokens, on_change=lambda _: None)
    supervised = _supervised(model, [rows[n] for n in plan.costliest(budget.tokens)], settings)
    log.remark = str(supervised.kernels)
    optimizer = make_optimizer(trainable_parameters(model), config)
    schedule = make_schedule(
        optimizer,
        config,
        warm_up=WarmUp(began=0, steps=0),
        lineage_step=0,
        job_step=0,
        total_steps=steps,
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        trainer = StreamTrainer(
            supervised,
            # The trainer asks its rows for nothing but one by its number.
            rows=cast(JobRows, LoggedRows(rows, log)),
            plan=plan,
            start=0,
            budget=budget,
            optimizer=optimizer,
            schedule=schedule,
            config=config,
            scratch=Path(scratch),
            callbacks=callbacks,
            before_first_step=lambda: None,
        )
        trainer.train()
    return int(trainer.state.global_step)


def _supervised(model: Any, typical: Sequence[Row], settings: Settings) -> SupervisedLM:
    """Choose kernels by the worker's probe, and the precision that everybody has."""
    fuse_lora(model)
    kernels = Kernels("stock", model.config._attn_implementation)
    supervised = SupervisedLM(model, kernels, pad_token_id=PAD_TOKEN_ID)
    supervised.train()
    choose(
        supervised,
        cast(Any, typical),
        prefix="auto",
        may_autocast=False,
        on_progress=lambda: None,
    )
    if settings.dtype == "bfloat16":
        supervised.autocast = torch.bfloat16
    return supervised


def _plan(rows: Sequence[Row], config: TrainingConfig) -> Plan:
    """Plan as JobRows does, prefixes found in the tokens and not told."""
    lengths = np.asarray([len(ids) for ids, _ in rows], dtype=np.int64)
    tokens = np.concatenate([ids for ids, _ in rows])
    prefixes = find_prefixes(
        block_reader([(tokens, np.cumsum(lengths) - lengths)]),
        np.asarray([int(supervised.argmax()) - 1 for _, supervised in rows], dtype=np.int64),
        rows_per_batch=config.per_device_train_batch_size,
    )
    return plan_batches(
        lengths,
        class_of=prefixes.class_of,
        prefix_lengths=prefixes.lengths,
        rows_per_step=config.per_device_train_batch_size,
        max_rows=config.per_device_train_batch_size,
        epochs=1,
        seed=config.seed,
    )
