"""
What a version carries beside its weights for the next job of its lineage.

It is the folder ``training_state/`` of the version: the optimizer, the position of the
lineage, and a sample of the rows it has learnt. Does not know the weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from safetensors.torch import load_file, save_file

from finetuned.core.learning_rate import Mix, WarmUp
from finetuned.data.replay import Reservoir
from finetuned.errors import ModelError
from finetuned.model.tensors import disk_errors
from finetuned.training.checkpoint import OPTIMIZER, STATE
from finetuned.training.optimizer import Tensors
from finetuned.training.progress import Progress

TRAINING_STATE = "training_state"
"""Name of the folder in a version."""

REPLAY = "replay"
"""Name of the reservoir in that folder."""


@dataclass(frozen=True, slots=True)
class ParentState:
    """
    The training state of one version; empty for a version that carries none.
    """

    lineage_step: int = 0
    """Optimizer steps of the lineage up to this version, >= 0."""
    optimizer: Tensors | None = None
    """As optimizer_tensors returns it; None if the next job starts without moments."""
    optimizer_reset: str = ""
    """Why there are no moments, if the version was made without them on purpose."""
    replay: Reservoir | None = None
    """A sample of the rows that the lineage has learnt."""
    warm_up: WarmUp | None = None
    mix: Mix | None = None
    """What the version's job was trained on, as configured."""
    kernels: str = ""
    """str() of the loss.Kernels of the lineage; "" if the next job chooses them."""
    kernels_close: bool = False
    """Whether the next job looks again which are fastest."""
    precision: str = ""
    """Type of its matrix products; "" if it is the type of the weights."""


def load_parent_state(version: Path) -> ParentState:
    """
    Read the training state of *version*.

    Raises:
        ModelError: There is a training state and it cannot be read.
    """
    folder = version / TRAINING_STATE
    if not folder.is_dir():
        return ParentState()
    try:
        return _parse(folder, orjson.loads((folder / STATE).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder}: unreadable training state: {error}") from error


def _parse(folder: Path, state: dict[str, Any]) -> ParentState:
    replay, mix, warm_up = folder / REPLAY, state.get("mix"), None
    if "warm_up_began" in state:
        warm_up = WarmUp(int(state["warm_up_began"]), int(state["warm_up_steps"]))
    return ParentState(
        lineage_step=int(state["lineage_step"]),
        optimizer=None if "optimizer_reset" in state else load_file(folder / OPTIMIZER),
        optimizer_reset=str(state.get("optimizer_reset", "")),
        replay=Reservoir.load(replay) if replay.is_dir() else None,
        warm_up=warm_up,
        # A version of a release that replayed a share of a job does not say how often.
        mix=None if mix is None or "replay_presentations" not in mix else Mix(**mix),
        kernels=str(state.get("kernels", "")),
        kernels_close=bool(state.get("kernels_close", False)),
        precision=str(state.get("precision", "")),
    )


def save_training_state(
    version: Path, *, optimizer: Tensors, progress: Progress, mix: Mix, replay: Reservoir
) -> None:
    """
    Write ``training_state/`` of a version that is being built; not durable by itself.

    Args:
        version: The folder being built.
        optimizer: As optimizer_tensors returns it.
        progress: Position of the job at its end.
        mix: What the job was trained on, as configured.
        replay: The sample that the next job replays from.

    Raises:
        OSError: The file system refused.
    """
    folder = version / TRAINING_STATE
    folder.mkdir()
    with disk_errors():
        save_file(optimizer, folder / OPTIMIZER)
        (folder / REPLAY).mkdir()
        replay.save(folder / REPLAY)
    (folder / STATE).write_bytes(orjson.dumps({**asdict(progress), "mix": asdict(mix)}))
