"""
transformers.Trainer, told what to train and in which order.

The loop is the Trainer's own, one turn per optimizer step. What is ours: the
planned micro-batches of a step and their exact normalisation, a fresh TrainerState
on an optimizer that goes on, random state restored at the first step, no pickled
checkpoint, and steps left out before the optimizer sees a NaN. Several processes
share each step; DistributedDataParallel adds up their gradients.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from finetuned.config import TrainingConfig
from finetuned.core.learning_rate import WarmUp, rate_factor
from finetuned.data.plan import Plan
from finetuned.errors import Diverged
from finetuned.loss.micro_batch import supervised_count
from finetuned.loss.supervised import SupervisedLM
from finetuned.training import processes, sharded
from finetuned.training.memory import TokenBudget, free_memory, is_out_of_memory
from finetuned.training.rows import JobRows


class _Steps(IterableDataset[dict[str, int]]):
    """
    The numbers of the steps that are left, one optimizer step each.
    """

    def __init__(self, start: int, end: int) -> None:
        self._range = range(start, end)

    def __iter__(self) -> Iterator[dict[str, int]]:
        return ({"step": k} for k in self._range)

    def __len__(self) -> int:
        return len(self._range)


def make_optimizer(
    parameters: dict[str, torch.nn.Parameter], config: TrainingConfig
) -> torch.optim.Optimizer:
    """
    Return AdamW over *parameters*, in their order, with its moments allocated.

    Moments of zero are what AdamW begins with; having them from the start, the
    first checkpoint is whole and memory is asked for before the first step.
    """
    optimizer = torch.optim.AdamW(
        list(parameters.values()),
        lr=config.learning_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=config.weight_decay,
        fused=True,
    )
    for parameter in parameters.values():
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return optimizer


def make_schedule(
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    *,
    warm_up: WarmUp,
    lineage_step: int,
    job_step: int,
    total_steps: int,
) -> torch.optim.lr_scheduler.LambdaLR:
    """
    Return the learning rate of the steps that are left; core.schedule says which it is.

    A pure function of where the run is, so that a resumed run goes on with the
    rate an uninterrupted one would have.

    Args:
        optimizer: What it drives.
        config: learning_rate and lr_scheduler_type.
        warm_up: The warm-up of the lineage.
        lineage_step: Optimizer steps the lineage has taken before this process, >= 0.
        job_step: Those of them that belong to this job.
        total_steps: Optimizer steps of the whole job, > 0.
    """

    def factor(step: int) -> float:
        return rate_factor(
            config.lr_scheduler_type,
            lineage_step=lineage_step + step,
            warm_up=warm_up,
            job_step=min(job_step + step, total_steps),
            total_steps=total_steps,
        )

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


class StreamTrainer(Trainer):  # type: ignore[misc]
    """
    Trains the remaining steps of one plan on a given model and optimizer.

    ``last_loss``, ``last_grad_norm``, ``supervised_tokens``, ``computed_tokens``
    and ``skipped`` describe the optimizer step that ended last. computed_tokens are the
    plan's count, padding included: what the split way computes is a little less.
    """

    def __init__(
        self,
        model: SupervisedLM,
        *,
        rows: JobRows,
        plan: Plan,
        start: int,
        budget: TokenBudget,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LambdaLR,
        config: TrainingConfig,
        scratch: Path,
        callbacks: list[TrainerCallback],
        before_first_step: Callable[[], None],
    ) -> None:
        """
        Args:
            model: What is trained, with its loss.
            rows: All rows of the job, by example number.
            plan: Of the whole job.
            start: Steps of the plan that are done already, < len(plan).
            budget: Halved when a step runs out of memory.
            optimizer: Goes on with the state it has.
            schedule: Its rates from *start* on.
            config: Clipping, and how many bad steps in a row are too many.
            scratch: A folder the Trainer may make; nothing is saved there.
            callbacks: Told of each step.
            before_first_step: Sets random state; nothing is drawn between it and the step.
        """
        self._rows = rows
        self._plan = plan
        self._start = start
        self._digest = plan.digest
        self._budget = budget
        self._config = config
        self._before_first_step: Callable[[], None] | None = before_first_step
        self.last_loss = 0.0
        self.last_grad_norm = 0.0
        self.supervised_tokens = 0
        self.computed_tokens = 0
        self.skipped = False
        self._exchanging = False
        self.bad_steps = 0
        """Steps in a row that were left out."""
        device = model.device
        arguments = TrainingArguments(
            output_dir=str(scratch),
            max_steps=len(plan) - start,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=1,
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
            dataloader_pin_memory=False,
            ddp_find_unused_parameters=False,
            # Buffers are constants here, and a process whose memory ends in a forward pass
            # would send them once more than the others.
            ddp_broadcast_buffers=False,
            use_cpu=device.type == "cpu",
            seed=config.seed,
        )
        if arguments.n_gpu > 1:  # one process has one device; Trainer would copy the model to all
            arguments._n_gpu = 1
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=_Steps(start, len(plan)),
            optimizers=(optimizer, schedule),
            callbacks=callbacks,
        )
        # The printer and progress callbacks write to stdout, which is the supervisor's.
        for callback in list(self.callback_handler.callbacks):
            if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
                self.remove_callback(callback)

    @property
    def world(self) -> int:
        """Processes that share each step."""
        return int(self.args.world_size)

    def get_train_dataloader(self) -> DataLoader[dict[str, int]]:
        """
        Return the step numbers, the same in every process: each takes its part of a step.
        """
        return DataLoader(
            self.train_dataset,
            batch_size=None,
            generator=torch.Generator().manual_seed(0),  # leaves the global one alone
        )

    def training_step(self, model: Any, inputs: dict[str, int], *_: Any) -> torch.Tensor:
        """
        Run one optimizer step's micro-batches forward and backward.

        When memory ends, the same examples are run again from clean gradients in
        micro-batches of half the size, by every process of the run.

        Raises:
            OutOfMemory: One row alone does not fit.
        """
        if self._before_first_step is not None:
            # Building the Trainer seeds the generators and the loader may draw from
            # them: what the run starts from is set here, where nothing comes between.
            begin, self._before_first_step = self._before_first_step, None
            begin()
        if not model.training:
            model.train()
        step = inputs["step"]
        while True:
            try:
                loss = self._run_micro_batches(model, step)
                break
            except Exception as error:
                # In an exchange the others do not learn of it: a crash.
                if self._exchanging or sharded.asked() or not is_out_of_memory(error):
                    raise
                problem = error.with_traceback(None)
            free_memory(model)
            costliest = max(
                self._plan.micro_batches(step, self._budget.tokens), key=self._plan.cost
            )
            self._budget.halve(costliest, self._plan.cost(costliest), problem)
        self.last_loss = float(loss)
        return loss

    def _run_micro_batches(self, model: Any, step: int) -> torch.Tensor:
        """Accumulate the gradients of the mean loss over the step's supervised tokens."""
        numbers = self._plan.numbers(step)
        row_of = {n: self._rows[n] for n in numbers}
        self.supervised_tokens = sum(supervised_count(row) for row in row_of.values())
        shares = self._plan.parts(step, self._budget.tokens, self.world)
        self.computed_tokens = sum(self._plan.cost(m) for share in shares for m in share)
        micro_batches = shares[self.args.process_index]
        if self.world > 1:
            torch.manual_seed(self._step_seed(step))
        # Gradients of several processes are averaged; their sum is wanted.
        scale = self.world / max(1, self.supervised_tokens)
        idle = min(numbers, key=lambda n: len(row_of[n][0]))

        def loss_of(micro_batch: list[int]) -> torch.Tensor:
            # Who has nothing to do reads one row for nothing: every parameter has a part.
            rows, weight = (micro_batch, scale) if micro_batch else ([idle], 0.0)
            loss: torch.Tensor = model([row_of[n] for n in rows]) * weight
            return loss

        total, problem = torch.zeros((), device=self.args.device), None
        try:
            with self.accelerator.no_sync(model):
                for micro_batch in micro_batches[:-1]:
                    loss = loss_of(micro_batch)
                    self.accelerator.backward(loss)
                    total += loss.detach()
                # Not armed for the exchange by its forward pass: it may be all in vain.
                loss = loss_of(micro_batches[-1])
                total += loss.detach()
        except Exception as error:
            if self.world == 1 or sharded.asked() or not is_out_of_memory(error):
                raise
            problem = error.with_traceback(None)
        if self.world > 1:
            summed, failed = processes.totals(float(total), float(problem is not None))
            if failed:
                raise problem or MemoryError("out of memory in another process of the run")
            total = total.new_tensor(summed / self.world)
        # The last is the cheapest: what did not fit was most likely found before.
        self._exchanging = self.world > 1
        with self.accelerator.trigger_sync_in_backward(model):
            self.accelerator.backward(loss)
        self._exchanging = False
        return total

    def _step_seed(self, step: int) -> int:
        """Return the seed of this process's dropout in *step*: no state to carry or to lose."""
        told = f"{self._digest} {step} {self.args.process_index}"
        return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big") >> 1

    def _clip_grad_norm(self, model: Any) -> Any:
        """
        Clip; leave the step out, optimizer untouched, when there is no finite number.

        Raises:
            Diverged: It was one step too many in a row; the weights are those of the
                last good step.
        """
        norm = super()._clip_grad_norm(model)
        self.last_grad_norm = float(norm)
        self.skipped = not (math.isfinite(self.last_grad_norm) and math.isfinite(self.last_loss))
        self.bad_steps = self.bad_steps + 1 if self.skipped else 0
        if self.skipped:
            # AdamW passes over parameters without a gradient: no moment, no weight
            # decay, no step count changes.
            model.zero_grad(set_to_none=True)
            if self.bad_steps >= self._config.max_bad_steps:
                raise Diverged(
                    f"{self.bad_steps} steps in a row without a finite loss and gradient, the last "
                    f"at step {self._start + self.state.global_step + 1}: loss {self.last_loss}, "
                    f"gradient norm {self.last_grad_norm}"
                )
        return norm
