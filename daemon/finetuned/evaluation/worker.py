"""
The evaluation worker: a process that makes eval reports, one after another.

Started as ``python -m finetuned.evaluation.worker`` and told its run folders like the
training worker. Between two runs it keeps its imports but no model, because the device
belongs to training then. It measures and writes; the supervisor decides.

Exit status: 0 the report is written, 70 a bug, 75 stopped or refused by the file system,
78 the configuration is wrong.
"""

from __future__ import annotations

import gc
from pathlib import Path

from finetuned.files.spec import EvaluationSpec
from finetuned.process.lifeline import Lifeline
from finetuned.process.worker import run_worker


def main(argv: list[str] | None = None) -> int:
    """
    Run the worker; see the module's text for the exit status.
    """

    used_device = False

    def work(run_dir: Path, spec: EvaluationSpec, lifeline: Lifeline) -> None:
        nonlocal used_device
        from finetuned.evaluation.run import EvaluationRun

        run = EvaluationRun(run_dir, spec, lifeline)
        try:
            run.run()
        finally:
            used_device = used_device or run.models.used_device
            run.models.release()

    def idle() -> bool:
        gc.collect()  # the objects of a model refer to each other in cycles
        # A CUDA context takes hundreds of MB and is only freed by the end of its process.
        return not used_device

    return run_worker(argv, spec=EvaluationSpec, warm_up=_imports, work=work, idle=idle)


def _imports() -> None:
    """Import all that a run needs, torch included."""
    import finetuned.model.lean_imports  # isort: skip - before the libraries it is about
    import finetuned.data.store
    import finetuned.evaluation.run
    import finetuned.model.load  # noqa: F401

    gc.freeze()  # later collections, which free a dropped model, skip what was imported


if __name__ == "__main__":
    raise SystemExit(main())
