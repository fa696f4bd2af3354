"""
Killed at any moment, a job trains every example exactly once and ends bit-identical.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from finetuned.files.run import read_metrics

KILLS = int(os.environ.get("FINETUNED_KILLS", "12"))
EXAMPLES = 130


@pytest.fixture(scope="module")
def job(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """
    A dataset and the uninterrupted run that every other one has to equal.
    """
    import finetuned.training.trainer  # noqa: F401  imported once, for every fork
    from finetuned.training.worker import main
    from support.fork_run import fork_main, ingest, make_run

    root = tmp_path_factory.mktemp("job")
    datasets = ingest(root, tiny_base, [("a.jsonl", EXAMPLES)])
    whole = make_run(root / "whole", base=tiny_base, datasets=datasets)
    began = time.monotonic()
    assert 0 == fork_main(main, whole), (whole / "output.txt").read_text()
    seconds = time.monotonic() - began
    return {"base": tiny_base, "datasets": datasets, "whole": whole, "seconds": seconds}


def committed_examples(runs: list[Path]) -> list[str]:
    """
    Return what the lineage of *runs* trained: each run's steps up to where the next took over.
    """
    records: dict[int, list[str]] = {}
    for run in runs:
        for record in read_metrics(run):
            records[record["step"]] = record["examples"]  # a later run did this step again
    return [example for step in sorted(records) for example in records[step]]


def assert_same_files(expected: Path, found: Path) -> None:
    for name in ("adapter_model.safetensors", "training_state/optimizer.safetensors"):
        assert (expected / name).read_bytes() == (found / name).read_bytes(), name


def last_checkpoint_bytes(runs: list[Path], name: str) -> bytes:
    from finetuned.training.checkpoint_folder import newest_loadable

    checkpoint = newest_loadable([run / "checkpoints" for run in runs])
    assert checkpoint is not None
    return (checkpoint.path / name).read_bytes()


def test_killed_at_random_moments_every_example_is_trained_exactly_once(
    job: dict[str, Any], tmp_path: Path
) -> None:
    """
    After SIGKILL of the whole worker group, resumes lose nothing and repeat nothing.
    """
    from finetuned.training.worker import main
    from support.fork_run import fork_start, make_run

    rng = random.Random(int(os.environ.get("FINETUNED_SEED", "0")))
    kills = jobs = 0
    while kills < KILLS:
        jobs += 1
        runs: list[Path] = []
        for attempt in range(200):
            run = make_run(
                tmp_path / f"j{jobs}" / f"r{attempt:06d}",
                base=job["base"],
                datasets=job["datasets"],
                resume_from=runs,
            )
            runs.append(run)
            pid = fork_start(main, run)
            if kills < KILLS:
                time.sleep(rng.uniform(0, 0.8 * job["seconds"]))
                try:
                    os.killpg(pid, signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass
            _, status = os.waitpid(pid, 0)
            if os.waitstatus_to_exitcode(status) == 0:
                break
            assert -signal.SIGKILL == os.waitstatus_to_exitcode(status), (
                run / "output.txt"
            ).read_text()
        else:
            raise AssertionError("the job never ended")

        counts = Counter(committed_examples(runs))
        whole = Counter(committed_examples([job["whole"]]))
        assert whole == counts
        assert {1} == set(counts.values())
        assert_same_files(job["whole"] / "candidate", runs[-1] / "candidate")
        for name in ("weights.safetensors", "optimizer.safetensors", "rng.safetensors"):
            assert last_checkpoint_bytes([job["whole"]], name) == last_checkpoint_bytes(runs, name)
    print(f"{kills} kills over {jobs} jobs of {job['seconds']:.1f} s: every one bit-identical")


def test_a_graceful_stop_at_every_third_step_changes_nothing(
    job: dict[str, Any], tmp_path: Path
) -> None:
    """
    SIGTERM checkpoints and leaves with 75; the pieces add up to the whole run.
    """
    from finetuned.training.worker import main
    from support.fork_run import fork_start, make_run

    runs: list[Path] = []
    for attempt in range(30):
        run = make_run(
            tmp_path / f"r{attempt:06d}",
            base=job["base"],
            datasets=job["datasets"],
            resume_from=runs,
        )
        runs.append(run)
        pid = fork_start(main, run)
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if len(read_metrics(run)) >= 3:
                os.kill(pid, signal.SIGTERM)
                _, status = os.waitpid(pid, 0)
                break
            time.sleep(0.002)
        else:
            break  # it ended before it could be stopped
        if os.waitstatus_to_exitcode(status) == 0:
            break
        assert 75 == os.waitstatus_to_exitcode(status), (run / "output.txt").read_text()

    assert len(runs) > 3
    steps = [record["step"] for run in runs for record in read_metrics(run)]
    assert list(range(1, len(steps) + 1)) == steps
    assert_same_files(job["whole"] / "candidate", runs[-1] / "candidate")
