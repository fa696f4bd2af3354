"""
The command line of a worker process: one process, or several by ``accelerate launch``.

Does not start anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetuned.core.run import RunKind

MODULES = {
    RunKind.INGESTION: "finetuned.ingestion.worker",
    RunKind.TRAINING: "finetuned.training.worker",
    RunKind.EVALUATION: "finetuned.evaluation.worker",
    RunKind.WATCH: "finetuned.evaluation.worker",
}
"""The module that a worker of each kind runs."""


@dataclass(frozen=True, slots=True)
class Launch:
    """
    One run on several devices or machines, by ``accelerate launch``.

    The launcher (torch's elastic agent) starts each rank in a session of its own,
    so a signal to the launcher's group reaches the launcher alone. That is wanted:
    it passes one SIGTERM on to every rank and then waits for them. If the ranks
    were signalled themselves, they would end one by one, and at the first end the
    agent would send the others a second SIGTERM, in the middle of their checkpoints.
    """

    config_file: Path
    """accelerate's own configuration: devices, machines, ports."""
    run_dir: Path
    """The one run folder that all ranks work on."""
    grace_seconds: float
    """How long after SIGTERM the launcher waits before it kills the ranks; its default is 30."""


def worker_arguments(kind: RunKind, launch: Launch | None = None) -> list[str]:
    """
    Return the arguments after ``python`` that start a worker.

    Args:
        kind: Of the runs that the worker can do.
        launch: How to start it on several devices; it is then told its run folder
            by an argument, since a launcher does not pass its input on.
    """
    if launch is None:
        return ["-m", MODULES[kind]]
    launcher = ["-m", "accelerate.commands.launch", "--config_file", str(launch.config_file)]
    return [*launcher, "-m", MODULES[kind], str(launch.run_dir)]
