"""
One job on a loaded model: the values that its beginning, training and candidate share.

Does not know how the model was loaded, nor commands or promotion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetuned.core.learning_rate import Mix
from finetuned.data.plan import Plan
from finetuned.data.render import Renderer
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.rank import world
from finetuned.files.spec import TrainingSpec
from finetuned.process.lifeline import Lifeline
from finetuned.training.checkpoint import Checkpoint
from finetuned.training.family_start import FamilyStart
from finetuned.training.model_keeper import LoadedModel
from finetuned.training.progress import RunState
from finetuned.training.rows import JobRows


@dataclass(frozen=True, slots=True)
class Job:
    """
    What a run trains, on what, and where it writes.
    """

    run_dir: Path
    spec: TrainingSpec
    seed: int
    """Seed of the job, 0 to 2**32 - 1."""
    renderer: Renderer
    """Of the model's tokenizer and template."""
    rows: JobRows
    loaded: LoadedModel
    heartbeat: Heartbeat
    lifeline: Lifeline
    family: FamilyStart | None = None
    """The family of its files, whose adapter it trains; None if one adapter learns everything."""

    @property
    def mix(self) -> Mix:
        """What an optimizer step is made of, as configured."""
        training = self.spec.config.training
        rows = training.per_device_train_batch_size * training.gradient_accumulation_steps
        return Mix(training.replay_presentations, rows * world())


@dataclass(frozen=True, slots=True)
class JobStart:
    """
    Where a run takes the job up: at its first step, or at a checkpoint.
    """

    state: RunState
    """Changes while the run trains."""
    plan: Plan
    """Its micro-batches share beginnings only if the chosen kernels can."""
    checkpoint: Checkpoint | None = None
    """The checkpoint that is resumed; None at the first step."""
