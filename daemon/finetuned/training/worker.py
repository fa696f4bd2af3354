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
import math
from pathlib import Path
from typing import Any

from finetuned.core.job import JobKind
from finetuned.core.phase import Phase
from finetuned.errors import DatasetError, Interrupted
from finetuned.files.heartbeat import Heartbeat
from finetuned.files.rank import world
from finetuned.files.spec import TrainingSpec
from finetuned.process.lifeline import Lifeline
from finetuned.process.worker import run_worker


def job_seed(seed: int, job_id: str) -> int:
    """
    Return the seed of one job, 0 to 2**32 - 1: other jobs, other order, same every time.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{job_id}".encode()).digest()[:4], "big")


class TrainingRun:
    """
    One run from spec to candidate.
    """

    def __init__(self, run_dir: Path, spec: TrainingSpec, lifeline: Lifeline, keeper: Any) -> None:
        """
        Args:
            run_dir: Where everything goes.
            spec: What the supervisor asks for.
            lifeline: Says when to stop.
            keeper: The ModelKeeper of this process.
        """
        self.run_dir = run_dir
        self.spec = spec
        self.lifeline = lifeline
        self.keeper = keeper
        self.config = spec.config
        self.seed = job_seed(self.config.training.seed, spec.job_id)
        self.heartbeat = Heartbeat(run_dir)

    def consolidate(self) -> None:
        """
        Merge the parent's adapter into its base and leave that as the candidate.

        Raises:
            DatasetError, ModelError, OSError: As consolidation.consolidate.
        """
        from finetuned.training.consolidation import consolidate

        self.keeper.drop()  # two models are held for a moment as it is
        consolidate(self.run_dir, self.spec, self.heartbeat)
        self.heartbeat.beat(force=True, phase=Phase.TRAINED)

    def _stop_if_asked(self) -> None:
        # One process alone: several would not agree on the moment.
        if self.lifeline.stopping and world() == 1:
            raise Interrupted(f"stopped before training: {self.lifeline.cause}")

    def run(self) -> None:
        """
        Train to the end and leave a candidate.

        Raises:
            Interrupted: A stop was asked for; the state is in the last checkpoint.
            ConfigError: Device, method or launch file cannot be trained with here.
            DatasetError: There is nothing to train on.
            ModelError: Base, parent or checkpoint cannot be used.
            Diverged: Too many steps in a row had no finite loss and gradient.
            OutOfMemory: One row alone does not fit.
            OSError: The file system refused; the last checkpoint is untouched.
        """
        from finetuned.data.render import Renderer
        from finetuned.model.load import pick_device
        from finetuned.training import processes
        from finetuned.training.checkpoint_folder import newest_loadable
        from finetuned.training.job import Job

        self.heartbeat.beat(force=True, phase=Phase.LOADING)
        processes.join(cpu=pick_device(self.config.model.device).type == "cpu")
        training = self.config.training
        renderer = Renderer.load(
            self.spec.base,
            max_length=self.config.data.max_length,
            enable_thinking=self.config.model.enable_thinking,
        )
        loaded, parent_state, optimizer_state = self.keeper.get(
            self.spec.base, self.spec.parent, self.config, pad_token_id=renderer.pad_token_id
        )
        self.heartbeat.beat(optimizer_state=optimizer_state)
        self._stop_if_asked()
        rows = self._rows(parent_state)
        if rows.n_new == 0:
            raise DatasetError("every row is held out: nothing to train on")
        plan = rows.plan(training, seed=self.seed, world=world())
        self._stop_if_asked()

        folders = list(self.spec.resume_from)
        checkpoint = newest_loadable(folders, plan.digest)
        if checkpoint is None and (other := newest_loadable(folders)) is not None:
            # Another version of this program, say, or another number of processes. What it has
            # learnt is in no version yet, and every row of the job is still here.
            self.heartbeat.beat(
                optimizer_state=f"{optimizer_state}; {other.path.name} is of another plan: "
                "the job starts again"
            )
        job = Job(
            self.run_dir,
            self.spec,
            config=self.config,
            seed=self.seed,
            renderer=renderer,
            rows=rows,
            plan=plan,
            loaded=loaded,
            heartbeat=self.heartbeat,
            lifeline=self.lifeline,
        )
        if checkpoint is not None:
            job.resume(checkpoint)
        else:
            job.begin(parent_state, optimizer_state, self.spec.rolled_back, self._merged())
        job.train()
        self.heartbeat.beat(force=True, phase=Phase.SAVING_CANDIDATE)
        job.save_candidate(self.spec.base, self.spec.parent, parent_state.replay)
        self.keeper.now_holds(self.spec.run_id)
        self.heartbeat.beat(force=True, phase=Phase.TRAINED)

    def _merged(self) -> bool:
        from finetuned.files.manifest import read_manifest

        return self.spec.parent is not None and bool(
            read_manifest(self.spec.parent).get("merged_from")
        )

    def _rows(self, parent_state: Any) -> Any:
        """Return the job's rows, with those replayed from earlier jobs of the lineage."""
        from finetuned.data.replay import draw
        from finetuned.training.rows import JobRows

        folders = [d.dir for d in self.spec.datasets]
        names = [d.name for d in self.spec.datasets]
        rows = JobRows(folders, names)
        fraction, reservoir = self.config.training.replay_fraction, parent_state.replay
        if not fraction or reservoir is None or not len(reservoir):
            return rows
        times = self.config.training.num_train_epochs * fraction / (1 - fraction)
        tokens = sum(int(d.supervised_counts.sum()) for d in rows.datasets)
        drawn = draw(
            reservoir,
            rows=math.ceil(rows.n_new * times),
            supervised_tokens=math.ceil(tokens * times),
            epochs=self.config.training.num_train_epochs,
            seed=self.seed,
        )
        return JobRows(folders, names, reservoir.picked(drawn))


def _imports() -> None:
    import peft  # noqa: F401
    import transformers.trainer  # noqa: F401

    import finetuned.training.job  # noqa: F401


def main(argv: list[str] | None = None) -> int:
    """
    Run the worker; see the module's text for the exit status.
    """
    keeper: Any = None

    def work(run_dir: Path, spec: TrainingSpec, lifeline: Lifeline) -> None:
        nonlocal keeper
        from finetuned.training.model_keeper import ModelKeeper

        keeper = keeper or ModelKeeper()
        run = TrainingRun(run_dir, spec, lifeline, keeper)
        if spec.job_kind is JobKind.CONSOLIDATION:
            run.consolidate()
        else:
            run.run()

    def idle() -> None:
        if keeper is not None:
            keeper.rest()

    return run_worker(argv, spec=TrainingSpec, warm_up=_imports, work=work, idle=idle)


if __name__ == "__main__":
    raise SystemExit(main())
