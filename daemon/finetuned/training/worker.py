"""
The training worker: loads, trains, checkpoints and leaves a candidate, one run after another.

It is a process of its own, ``python -m finetuned.training.worker``, so that a crash of
CUDA ends it and nothing else. It is told its run folder by one line on standard input: it
can be started, and do its imports, before there is work. Does not know the inbox, orders
or promotion.

Exit status: 0 there is a candidate, 65 the dataset cannot be trained on, 70 a bug,
75 stopped and resumable, 78 the configuration is wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.core.job import JobKind
from finetuned.files.spec import TrainingSpec
from finetuned.process.lifeline import Lifeline
from finetuned.process.worker import run_worker

if TYPE_CHECKING:  # torch is loaded by _imports, after the worker listens to its supervisor
    from finetuned.training.model_keeper import ModelKeeper


def _imports() -> None:
    import peft  # noqa: F401
    import transformers.trainer  # noqa: F401

    import finetuned.training.training_run  # noqa: F401


def main(argv: list[str] | None = None) -> int:
    """
    Run the worker.

    Args:
        argv: The run folder; nothing to be told run folders by standard input.

    Returns:
        The exit status; see the module's text.
    """
    keeper: ModelKeeper | None = None

    def work(run_dir: Path, spec: TrainingSpec, lifeline: Lifeline) -> None:
        nonlocal keeper
        from finetuned.training.consolidation import consolidate
        from finetuned.training.model_keeper import ModelKeeper
        from finetuned.training.training_run import train

        keeper = keeper or ModelKeeper()
        if spec.job_kind is JobKind.CONSOLIDATION:
            keeper.drop()  # merging holds two models by itself
            consolidate(run_dir, spec)
        else:
            train(run_dir, spec, lifeline, keeper)

    def idle() -> None:
        if keeper is not None:
            keeper.rest()

    return run_worker(argv, spec=TrainingSpec, warm_up=_imports, work=work, idle=idle)


if __name__ == "__main__":
    raise SystemExit(main())
