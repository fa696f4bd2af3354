"""
One run: load, train, checkpoint, leave a candidate.

A process of its own, ``python -m finetuned.training.worker``: a crash of CUDA
ends this and nothing else. It is told its run folder by one line on standard
input, so that it can be started, and have its imports done, before there is
work. Does not know the inbox, commands or promotion.

Exit status: 0 a candidate is there, 65 the dataset cannot be trained on, 70 a
bug, 75 stopped and resumable, 78 the configuration is wrong.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetuned.config import Config, config_from_dict
from finetuned.errors import DatasetError, Interrupted, ModelError
from finetuned.files.run import Heartbeat, utc_now
from finetuned.telemetry.lifeline import Lifeline, run_worker


def job_seed(seed: int, job_id: str) -> int:
    """
    Return the seed of one job, 0 to 2**32 - 1: other jobs, other order, same every time.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{job_id}".encode()).digest()[:4], "big")


class TrainingRun:
    """
    One run from spec to candidate.
    """

    def __init__(self, run_dir: Path, spec: dict[str, Any], lifeline: Lifeline) -> None:
        self.run_dir = run_dir
        self.spec = spec
        self.lifeline = lifeline
        self.config: Config = config_from_dict(spec["config"])
        self.base = Path(spec["base"])
        self.parent = Path(spec["parent"]) if spec.get("parent") else None
        self.seed = job_seed(self.config.training.seed, spec["job_id"])
        self.heartbeat = Heartbeat(run_dir)

    def _stop_if_asked(self) -> None:
        if self.lifeline.stopping:
            raise Interrupted(f"stopped before training: {self.lifeline.cause}")

    def run(self) -> None:
        """
        Train to the end and leave a candidate.

        Raises:
            Interrupted: A stop was asked for; the state is in the last checkpoint.
            DatasetError: There is nothing to train on.
            ModelError: Base, parent or checkpoint cannot be used.
            Diverged: Loss or gradients became NaN or Inf.
            OSError: The file system refused; the last checkpoint is untouched.
        """
        import torch

        from finetuned.data.plan import plan_batches
        from finetuned.model.load import load_for_training, trainable_parameters
        from finetuned.training.callbacks import RunState
        from finetuned.training.candidate import save_candidate
        from finetuned.training.checkpoint import Progress, newest_loadable
        from finetuned.training.rows import JobRows
        from finetuned.training.trainer import make_optimizer

        self.heartbeat.beat(force=True, phase="loading")
        training = self.config.training
        rows = JobRows(
            [Path(d["dir"]) for d in self.spec["datasets"]],
            [d["name"] for d in self.spec["datasets"]],
        )
        if len(rows) == 0:
            raise DatasetError("every row is held out: nothing to train on")
        plan = plan_batches(
            rows.lengths,
            batch_size=training.per_device_train_batch_size,
            accumulation=training.gradient_accumulation_steps,
            epochs=training.num_train_epochs,
            seed=self.seed,
        )
        self._stop_if_asked()
        model = load_for_training(self.base, self.parent, self.config.model, training)
        parameters = trainable_parameters(model)
        optimizer = make_optimizer(parameters, training)
        self._stop_if_asked()

        digest = plan.digest
        checkpoint = newest_loadable([Path(f) for f in self.spec.get("resume_from", [])])
        if checkpoint is not None and checkpoint.progress.plan_digest != digest:
            raise ModelError(f"{checkpoint.path}: made for another plan; the job must start again")
        if checkpoint is not None:
            start = checkpoint.progress
            self._restore_weights(parameters, checkpoint.weights)
        else:
            start = Progress(0, self._go_on_from_parent(optimizer, parameters), digest, {})

        def begin() -> None:
            self._begin(optimizer, parameters, checkpoint)

        state = RunState(start=start, total_steps=len(plan), plan_digest=digest)
        state.job_step = start.job_step
        state.totals = dict(start.totals)
        if start.job_step < len(plan):
            self._train(model, rows, plan.steps, parameters, optimizer, state, begin)
        else:
            begin()
        if state.job_step == 0:
            raise ModelError("0 optimizer steps were made: this run changed nothing")
        self.heartbeat.beat(force=True, phase="saving_candidate")
        save_candidate(
            self.run_dir,
            model=model,
            base=self.base,
            parameters=parameters,
            optimizer=optimizer,
            progress=state.progress(),
            facts=self._facts(rows, plan.steps, state, torch.__version__),
        )
        self.heartbeat.beat(force=True, phase="trained")

    def _restore_weights(self, parameters: Any, weights: dict[str, Any]) -> None:
        import torch

        if parameters.keys() != weights.keys():
            raise ModelError("the checkpoint holds other parameters than the model has")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(weights[name])

    def _go_on_from_parent(self, optimizer: Any, parameters: Any) -> int:
        """Put the parent's optimizer state in place and return its lineage step."""
        from finetuned.training.candidate import load_training_state
        from finetuned.training.checkpoint import restore_optimizer

        if self.parent is None:
            self.heartbeat.beat(optimizer_state="fresh: first job on the base model")
            return 0
        state = load_training_state(self.parent)
        if state is None:
            self.heartbeat.beat(optimizer_state=f"reset: {self.parent.name} has no training state")
            return 0
        tensors, lineage_step = state
        restore_optimizer(optimizer, parameters, tensors)
        self.heartbeat.beat(optimizer_state=f"continued from {self.parent.name}")
        return lineage_step

    def _begin(self, optimizer: Any, parameters: Any, checkpoint: Any) -> None:
        """Set the random state, and on resume the optimizer, right before the first step."""
        import numpy as np
        import torch

        from finetuned.training.checkpoint import restore_optimizer, restore_rng

        if checkpoint is not None:
            restore_optimizer(optimizer, parameters, checkpoint.optimizer)
            restore_rng(checkpoint.rng)
            self.heartbeat.beat(optimizer_state=f"resumed from {checkpoint.path.name}")
            return
        random.seed(self.seed)
        np.random.seed(self.seed)
        torch.manual_seed(self.seed)

    def _train(
        self,
        model: Any,
        rows: Any,
        steps: list[list[list[int]]],
        parameters: Any,
        optimizer: Any,
        state: Any,
        begin: Callable[[], None],
    ) -> None:
        from finetuned.data.render import Renderer
        from finetuned.training.callbacks import RunCallback
        from finetuned.training.trainer import StreamTrainer, make_schedule

        training, evaluation = self.config.training, self.config.evaluation
        renderer = Renderer.load(
            self.base,
            max_length=self.config.data.max_length,
            enable_thinking=self.config.model.enable_thinking,
        )
        trainer: Any = None

        def read_step() -> dict[str, float]:
            tokens, trainer.supervised_tokens = trainer.supervised_tokens, 0
            return {
                "loss": trainer.last_loss,
                "grad_norm": trainer.last_grad_norm,
                "supervised_tokens": tokens,
            }

        def describe_step(job_step: int) -> dict[str, Any]:
            numbers = [n for batch in steps[job_step - 1] for n in batch]
            return {
                "examples": [rows.example_id(n) for n in numbers],
                "current_file": rows.name_of(numbers[0]),
                "tokens": int(rows.lengths[numbers].sum()),
                "epoch": (job_step - 1) * training.num_train_epochs // len(steps),
            }

        callback = RunCallback(
            self.run_dir,
            state,
            config=training,
            eval_steps=evaluation.eval_steps,
            parameters=parameters,
            optimizer=optimizer,
            heartbeat=self.heartbeat,
            lifeline=self.lifeline,
            live_eval=self._live_eval(rows, renderer),
            describe_step=describe_step,
            read_step=read_step,
        )
        trainer = StreamTrainer(
            model,
            rows=rows,
            steps=steps[state.start.job_step :],
            pad_token_id=renderer.pad_token_id,
            optimizer=optimizer,
            schedule=make_schedule(
                optimizer,
                training,
                lineage_step=state.start.lineage_step,
                job_step=state.start.job_step,
                total_steps=state.total_steps,
            ),
            config=training,
            scratch=self.run_dir / "trainer",
            callbacks=[callback],
            before_first_step=begin,
        )
        self.heartbeat.beat(force=True, phase="training", ready_at=utc_now())
        trainer.train()
        if state.job_step < state.total_steps:
            raise Interrupted(
                f"stopped at step {state.job_step} of {state.total_steps}: {self.lifeline.cause}"
            )

    def _live_eval(self, rows: Any, renderer: Any) -> Any:
        from finetuned.model.ask import questions_of
        from finetuned.training.live_eval import LiveEval

        if not self.spec.get("live_evals", True):
            return None
        questions = [q for dataset in rows.datasets for q in questions_of(dataset)]
        return LiveEval(
            questions,
            renderer,
            self.config.evaluation,
            on_progress=self.heartbeat.beat,
            stopping=lambda: self.lifeline.stopping,
        )

    def _facts(self, rows: Any, steps: Any, state: Any, torch_version: str) -> dict[str, Any]:
        """Say what was trained: the part of the version's lineage that only the worker knows."""
        per_dataset = [
            {
                "dataset_id": d["dataset_id"],
                "sha256": d["sha256"],
                "name": d["name"],
                "n_examples": len(dataset) * self.config.training.num_train_epochs,
                "n_supervised_tokens": int(dataset.supervised_counts.sum())
                * self.config.training.num_train_epochs,
            }
            for d, dataset in zip(self.spec["datasets"], rows.datasets, strict=True)
        ]
        return {
            "job_id": self.spec["job_id"],
            "run_id": self.spec["run_id"],
            "base": str(self.config.model.base),
            "parent": self.parent.name if self.parent else None,
            "datasets": per_dataset,
            "method": self.config.training.method,
            "job_steps": len(steps),
            "lineage_step": state.lineage_step,
            "plan_digest": state.plan_digest,
            "totals": {k: round(v, 3) for k, v in state.totals.items()},
            "torch": torch_version,
            "created_at": utc_now(),
        }


def _imports() -> None:
    import peft  # noqa: F401
    import transformers.trainer  # noqa: F401


def main(argv: list[str] | None = None) -> int:
    """
    Run the worker; see the module's text for the exit status.
    """

    def work(run_dir: Path, spec: dict[str, Any], lifeline: Lifeline) -> None:
        TrainingRun(run_dir, spec, lifeline).run()

    return run_worker(argv, warm_up=_imports, work=work)


if __name__ == "__main__":
    raise SystemExit(main())
