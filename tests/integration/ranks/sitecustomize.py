"""
Faults and notes of single ranks under ``accelerate launch``.

On PYTHONPATH of a daemon under test. Faults are files in the folder
FINETUNED_FAULTS: ``slow`` makes a step last, ``oom-<rank>`` lets memory end
above so many tokens, ``nan-<rank>`` spoils the loss of that step. Every rank
notes there what it changed in a run folder, the weights it ended with and how
many numbers of them it held.
"""

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Any

FAULTS = Path(os.environ.get("FINETUNED_FAULTS", "/nonexistent"))
RANK = os.environ.get("RANK", "0")
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"}


def _planted(name: str) -> int | None:
    try:
        return int((FAULTS / name).read_text() or 0)
    except FileNotFoundError:
        return None


def _note_changes(event: str, args: tuple[Any, ...]) -> None:
    changes = event in CHANGES or (event == "open" and bool(args[2] & (os.O_WRONLY | os.O_RDWR)))
    if changes and "models/runs" in str(args[0]):
        with (FAULTS / f"writes-{RANK}").open("a") as notes:
            notes.write(f"{event} {args[0]}\n")


def _plant() -> None:
    sys.addaudithook(_note_changes)
    from finetuned.loss.supervised import SupervisedLM
    from finetuned.training.trainer import StreamTrainer

    step, forward, training_step = [-1], SupervisedLM.forward, StreamTrainer.training_step
    train = StreamTrainer.train

    def spoilt_forward(self: Any, rows: Any) -> Any:
        limit = _planted(f"oom-{RANK}")
        if limit is not None and sum(len(row[0]) for row in rows) > limit:
            raise MemoryError("planted")
        loss = forward(self, rows)
        return loss * float("nan") if step[0] == _planted(f"nan-{RANK}") else loss

    def slow_step(self: Any, model: Any, inputs: Any, *rest: Any) -> Any:
        step[0] = inputs["step"]
        if _planted("slow") is not None:
            time.sleep(0.15)
        return training_step(self, model, inputs, *rest)

    def noted_train(self: Any, *args: Any, **options: Any) -> Any:
        result = train(self, *args, **options)
        told, held = hashlib.sha256(), 0
        for _, parameter in sorted(self.model.named_parameters()):
            whole = parameter.detach()
            held += getattr(whole, "_local_tensor", whole).numel()
            whole = whole.full_tensor() if hasattr(whole, "full_tensor") else whole
            told.update(whole.cpu().numpy().tobytes())
        (FAULTS / f"weights-{RANK}").write_text(f"{self.state.global_step} {told.hexdigest()}")
        (FAULTS / f"held-{RANK}").write_text(str(held))
        return result

    SupervisedLM.forward = spoilt_forward
    StreamTrainer.training_step = slow_step
    StreamTrainer.train = noted_train


if (
    "finetuned.training.worker" in sys.orig_argv
    and "accelerate.commands.launch" not in sys.orig_argv
):
    _plant()
