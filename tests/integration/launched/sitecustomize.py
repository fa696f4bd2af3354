"""
Work without torch for a training worker under ``accelerate launch``.

On PYTHONPATH of the launcher under test. Ranks do what a trainer does along its
lifeline, on their own: beat until told to stop or to finish, checkpoint, leave.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any


def _work(run_dir: Path, spec: Any, lifeline: Any) -> None:
    from finetuned.errors import Interrupted
    from finetuned.files.heartbeat import Heartbeat
    from finetuned.files.rank import rank

    heartbeat = Heartbeat(run_dir)
    heartbeat.beat(force=True, phase="training")
    notes = spec.notes
    (notes / f"pid-{rank()}").write_text(str(os.getpid()))
    while not lifeline.stopping:
        heartbeat.beat()
        if (notes / "finish").exists():
            return
        time.sleep(0.02)
    time.sleep(spec.checkpoint_seconds[rank()])
    (notes / f"checkpoint-{rank()}").write_text(lifeline.cause)
    raise Interrupted(lifeline.cause)


def _plant() -> None:
    from launched_spec import LaunchedSpec

    from finetuned.process import worker

    run_worker = worker.run_worker
    worker.run_worker = lambda argv, **_: run_worker(
        argv, spec=LaunchedSpec, warm_up=list, work=_work
    )


if (
    "finetuned.training.worker" in sys.orig_argv
    and "accelerate.commands.launch" not in sys.orig_argv
):
    _plant()
