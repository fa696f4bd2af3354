"""
transformers.Trainer over one plan: which rows each optimizer step trains, and how.

The loop is the Trainer's: one turn per optimizer step. This class adds the planned
micro-batches of a step and their exact normalisation, an optimizer that goes on from
the job before, random state that is set right before the first step, and steps that
are left out if loss or gradient is not finite. It writes no file: Trainer's own
checkpoints hold pickles and are written in place. Several processes share each step;
DistributedDataParallel adds up their gradients.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from finetuned.config import TrainingConfig
from finetuned.data.plan import Plan
from finetuned.errors import Diverged
from finetuned.loss.micro_batch import supervised_count
from finetuned.loss.supervised import SupervisedLM
from finetuned.training import processes, sharded
from finetuned.training.rehearsal import free_memory, is_out_of_memory
from finetuned.training.rows import JobRows
from finetuned.training.step_recorder import StepFigures
from finetuned.training.token_budget import TokenBudget


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


def _arguments(
    config: TrainingConfig, *, max_steps: int, device: torch.device, scratch: Path
) -> TrainingArguments:
    """Return arguments under which the Trainer saves, logs, evaluates and prints nothing."""
    arguments = TrainingArguments(
        output_dir=str(scratch),
        max_steps=max_steps,
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
        # Buffers are constants here. Sent in each forward pass, a process that runs one
        # again after running out of memory would send them once more than the others.
        ddp_broadcast_buffers=False,
        use_cpu=device.type == "cpu",
        seed=config.seed,
    )
    if arguments.n_gpu > 1:  # one process has one device; Trainer would copy the model to all
        arguments._n_gpu = 1
    return arguments


class StreamTrainer(Trainer):  # type: ignore[misc]
    """
    Trains the steps of one plan that are left, on a given model and optimizer.

    ``last_step`` holds the figures of the optimizer step that ended last. Its
    computed_tokens are the plan's count; kernels with prefix "split" compute a little less.
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
        before_first_step: Callable[[], None],
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        """
        Args:
            model: The model in training, with its loss.
            rows: Rows of the job, by example number.
            plan: Plan of the whole job.
            start: Steps of the plan that are done already, < len(plan).
            budget: Halved when a step runs out of memory.
            optimizer: Goes on with the state it has.
            schedule: Its learning rates from *start* on.
            config: Clipping, and how many bad steps in a row are too many.
            scratch: A folder the Trainer may make; nothing is saved there.
            before_first_step: Sets random state; nothing is drawn between it and the step.
            callbacks: Told of each step.
        """
        self._rows = rows
        self._plan = plan
        self._start = start
        self._digest = plan.digest
        self._budget = budget
        self._config = config
        self._before_first_step: Callable[[], None] | None = before_first_step
        self._loss = 0.0
        self._supervised_tokens = 0
        self._computed_tokens = 0
        self._exchanging = False
        self.last_step = StepFigures()
        self.bad_steps = 0
        """Steps in a row that were left out."""
        super().__init__(
            model=model,
            args=_arguments(
                config, max_steps=len(plan) - start, device=model.device, scratch=scratch
            ),
            train_dataset=_Steps(start, len(plan)),
            optimizers=(optimizer, schedule),
            callbacks=list(callbacks),
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

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, int], *_: object
    ) -> torch.Tensor:
        """
        Run one optimizer step's micro-batches forward and backward.

        If memory runs out, every process of the run repeats the step from clean gradients
        in micro-batches of half the size.

        Raises:
            OutOfMemory: One row alone does not fit.
        """
        if self._before_first_step is not None:
            # Building the Trainer seeds the generators and the loader may draw from them,
            # so the state that training starts from is set here.
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
                # Inside an exchange the other processes do not learn of it: let it crash.
                if self._exchanging or sharded.asked() or not is_out_of_memory(error):
                    raise
                problem = error.with_traceback(None)
            free_memory(model)
            micro_batches = self._plan.micro_batches(step, self._budget.tokens)
            costliest = max(micro_batches, key=self._plan.cost)
            self._budget.halve(len(costliest), self._plan.cost(costliest), problem)
        self._loss = float(loss)
        return loss

    def _run_micro_batches(self, model: torch.nn.Module, step: int) -> torch.Tensor:
        """Accumulate the gradients of the mean loss over the step's supervised tokens."""
        numbers = self._plan.numbers(step)
        row_of = {n: self._rows[n] for n in numbers}
        self._supervised_tokens = sum(supervised_count(row) for row in row_of.values())
        shares = self._plan.parts(step, self._budget.tokens, self.world)
        self._computed_tokens = sum(self._plan.cost(m) for share in shares for m in share)
        if self.world > 1:
            torch.manual_seed(self._step_seed(step))
        # DDP averages the gradients of the processes; their sum is wanted.
        scale = self.world / max(1, self._supervised_tokens)
        shortest = min(numbers, key=lambda n: len(row_of[n][0]))

        def loss_of(micro_batch: list[int]) -> torch.Tensor:
            # A rank with no micro-batch runs one row at weight 0, so that every parameter
            # has a gradient and joins the exchange.
            rows, weight = (micro_batch, scale) if micro_batch else ([shortest], 0.0)
            loss: torch.Tensor = model([row_of[n] for n in rows]) * weight
            return loss

        total, last_loss = self._forward(model, shares[self.args.process_index], loss_of)
        # Micro-batches are sorted by cost and the last one is the cheapest, so memory most
        # likely ran out before this exchange if it does not suffice.
        self._exchanging = self.world > 1
        with self.accelerator.trigger_sync_in_backward(model):
            self.accelerator.backward(last_loss)
        self._exchanging = False
        return total

    def _forward(
        self,
        model: torch.nn.Module,
        micro_batches: Sequence[list[int]],
        loss_of: Callable[[list[int]], torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Run all micro-batches but the backward pass of the last, which begins the exchange.

        Returns:
            The loss of the step over all processes, and the loss whose backward pass is left.

        Raises:
            MemoryError: Memory ran out in some process; raised in all of them.
        """
        total, problem = torch.zeros((), device=self.args.device), None
        try:
            with self.accelerator.no_sync(model):
                for micro_batch in micro_batches[:-1]:
                    loss = loss_of(micro_batch)
                    self.accelerator.backward(loss)
                    total += loss.detach()
                # Inside no_sync too: this forward pass must not prepare an exchange that
                # does not come if another process runs out of memory.
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
        return total, loss

    def _step_seed(self, step: int) -> int:
        """Return the seed of this process's dropout in *step*, a function of plan and rank."""
        text = f"{self._digest} {step} {self.args.process_index}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        """
        Clip; if loss or gradient is not finite, leave the step out and the optimizer as it is.

        Raises:
            Diverged: training.max_bad_steps in a row were left out; the weights are those of
                the last good step.
        """
        norm = super()._clip_grad_norm(model)
        grad_norm = float(norm)
        skipped = not (math.isfinite(grad_norm) and math.isfinite(self._loss))
        self.last_step = StepFigures(
            self._loss, grad_norm, skipped, self._supervised_tokens, self._computed_tokens
        )
        self.bad_steps = self.bad_steps + 1 if skipped else 0
        if skipped:
            # AdamW passes over parameters without a gradient: no moment, no weight
            # decay, no step count changes.
            model.zero_grad(set_to_none=True)
            if self.bad_steps >= self._config.max_bad_steps:
                raise Diverged(
                    f"{self.bad_steps} steps in a row without a finite loss and gradient, the last "
                    f"at step {self._start + self.state.global_step + 1}: loss {self._loss}, "
                    f"gradient norm {grad_norm}"
                )
        return norm
