"""
Faults for a training worker, chosen by files in the folder FINETUNED_FAULTS.

On PYTHONPATH of a daemon under test. The daemon knows nothing of this: the
worker meets the fault where a driver, a library or a disk would make it.
"""

import os
import signal
import sys
import time
from pathlib import Path

FAULTS = Path(os.environ.get("FINETUNED_FAULTS", "/nonexistent"))


def _is_planted(name: str) -> bool:
    return (FAULTS / name).exists()


def _hang(*_: object, **__: object) -> None:
    while True:
        time.sleep(3600)


def _plant() -> None:
    if _is_planted("crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    if _is_planted("hang-generation"):
        from transformers.generation.utils import GenerationMixin

        GenerationMixin.generate = _hang
    if _is_planted("slow-generation"):
        from transformers import Qwen3ForCausalLM

        forward = Qwen3ForCausalLM.forward

        def slow_forward(self: object, *args: object, **kwargs: object) -> object:
            if not self.training:
                time.sleep(0.4)
            return forward(self, *args, **kwargs)

        Qwen3ForCausalLM.forward = slow_forward
    if _is_planted("slow-save"):
        from finetuned.training import checkpoint

        publish_dir = checkpoint.publish_dir

        def slow_publish(building: Path, final: Path) -> None:
            if _is_planted("slow-save-now"):
                (FAULTS / "slow-save-began").touch()
                time.sleep(3600)
            publish_dir(building, final)

        checkpoint.publish_dir = slow_publish


if "finetuned.training.worker" in sys.orig_argv:
    _plant()
