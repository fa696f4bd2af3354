"""
Faults for a worker, chosen by files in the folder FINETUNED_FAULTS.

On PYTHONPATH of a daemon under test. The daemon knows nothing of this: the
worker meets the fault where a driver, a library or a disk would make it.
"""

import os
import resource
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
        from finetuned.inference.cached_lm import CachedLM

        CachedLM.logits = _hang
    if _is_planted("slow-generation"):
        _slow_down("slow-generation", 0.4)
    if _is_planted("slow-save"):
        from finetuned.training import checkpoint

        publish_dir = checkpoint.publish_dir

        def slow_publish(building: Path, final: Path) -> None:
            if _is_planted("slow-save-now"):
                (FAULTS / "slow-save-began").touch()
                time.sleep(3600)
            publish_dir(building, final)

        checkpoint.publish_dir = slow_publish
    if _is_planted("limit-memory") or _is_planted("kill-rehearsing"):
        _plant_in_rehearsal()
    if _is_planted("nan-loss"):
        _plant_in_loss()
    if _is_planted("evidence"):
        from finetuned.core.early_stop import EarlyStop

        evidence = EarlyStop.evidence

        def forgotten(self: EarlyStop, plan_digest: str) -> object:
            return None if _is_planted("evidence-forgotten") else evidence(self, plan_digest)

        EarlyStop.evidence = forgotten


def _plant_in_rehearsal() -> None:
    """Leave "limit-memory" MiB from the rehearsal on; kill once, as the kernel does, in it."""
    from finetuned.training import job_training

    rehearse = job_training.rehearse

    def hard_rehearse(*args: object, **options: object) -> None:
        if _is_planted("kill-rehearsing"):
            (FAULTS / "kill-rehearsing").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        status = Path("/proc/self/status").read_text()
        used = next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmData:"))
        if _is_planted("limit-memory"):
            limit = (used << 10) + (int((FAULTS / "limit-memory").read_text()) << 20)
            resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
        rehearse(*args, **options)

    job_training.rehearse = hard_rehearse


def _plant_in_loss() -> None:
    """Make the loss NaN at the job steps, from 1, that "nan-loss" names."""
    from finetuned.loss.supervised import SupervisedLM
    from finetuned.training.trainer import StreamTrainer

    training_step, batch_loss = StreamTrainer.training_step, SupervisedLM.batch_loss
    bad = [False]

    def step_of(self: object, model: object, inputs: dict[str, int], *args: object) -> object:
        planted = (FAULTS / "nan-loss").read_text().split() if _is_planted("nan-loss") else []
        bad[0] = str(inputs["step"] + 1) in planted
        try:
            return training_step(self, model, inputs, *args)
        finally:
            bad[0] = False

    def bad_loss(self: object, batch: object) -> object:
        loss = batch_loss(self, batch)
        return loss * float("nan") if bad[0] else loss

    StreamTrainer.training_step, SupervisedLM.batch_loss = step_of, bad_loss


def _slow_down(fault: str, seconds: float) -> None:
    """Make each pass of a model that is not in training longer, while the fault is there."""
    from transformers import Qwen3ForCausalLM

    forward = Qwen3ForCausalLM.forward

    def slow_forward(self: object, *args: object, **kwargs: object) -> object:
        if not self.training and _is_planted(fault):
            time.sleep(seconds)
        return forward(self, *args, **kwargs)

    Qwen3ForCausalLM.forward = slow_forward


if "finetuned.training.worker" in sys.orig_argv:
    _plant()
if "finetuned.evaluation.worker" in sys.orig_argv and _is_planted("slow-evaluation"):
    _slow_down("slow-evaluation", 0.2)
