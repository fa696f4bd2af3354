"""
The position of a job: what a run counts, and what a checkpoint keeps of it.
"""

from __future__ import annotations

from dataclasses import asdict

from finetuned.core.early_stop import EarlyStop
from finetuned.core.learning_rate import WarmUp
from finetuned.training.progress import Progress, RunState


def position(state: RunState) -> tuple[int, int, int, int]:
    return state.job_step, state.lineage_step, state.steps_here, state.steps_left


def run_state(start: Progress, *, total_steps: int = 20, patience: int = 0) -> RunState:
    return RunState(
        start=start,
        total_steps=total_steps,
        plan_digest="digest",
        warm_up=WarmUp(100, 10),
        early_stop=EarlyStop(patience, 0.0),
    )


def test_a_resumed_run_counts_on_from_its_checkpoint() -> None:
    """
    Steps of the lineage grow with those of the job, sums go on, and the checkpoint's stay.
    """
    start = Progress(5, 105, "digest", {"tokens": 50.0})
    state = run_state(start)
    assert (5, 105, 0, 15) == (
        state.job_step,
        state.lineage_step,
        state.steps_here,
        state.steps_left,
    )
    state.job_step = 7
    state.add("tokens", 8)
    state.add("evals", 1)

    assert (7, 107, 2, 13) == (
        state.job_step,
        state.lineage_step,
        state.steps_here,
        state.steps_left,
    )
    found = state.progress()
    assert (7, 107, {"tokens": 58.0, "evals": 1.0}) == (
        found.job_step,
        found.lineage_step,
        found.totals,
    )
    assert (100, 10) == (found.warm_up_began, found.warm_up_steps)
    assert {"tokens": 50.0} == start.totals


def test_what_a_checkpoint_keeps_does_not_change_with_the_run() -> None:
    """
    A copy that is written on another thread has sums of its own.
    """
    state = run_state(Progress(0, 0, "digest", {}))
    state.add("tokens", 1)
    kept = state.progress()
    state.add("tokens", 1)

    assert {"tokens": 1.0} == kept.totals


def test_a_job_is_done_after_its_last_step_or_its_early_stop() -> None:
    """
    Early stopping that is off ends nothing and is not kept.
    """
    state = run_state(Progress(19, 19, "digest", {}))
    assert not state.is_done
    state.job_step = 20
    assert state.is_done
    assert state.progress().early_stop is None

    patient = run_state(Progress(4, 4, "digest", {}), patience=2)
    for step in (2, 4):
        patient.early_stop = patient.early_stop.seen(step, 1.0)
    assert patient.is_done
    assert EarlyStop.from_dict(patient.progress().early_stop or {}) == patient.early_stop


def test_a_state_resumed_at_once_is_the_same_again() -> None:
    """
    Nothing is lost between what a run keeps and what the next one starts from.
    """
    first = run_state(Progress(3, 13, "digest", {"tokens": 3.0}), patience=4)
    first.precision, first.kernels = "bfloat16", "prefix=split"
    kept = first.progress()
    again = run_state(kept, patience=4)
    again.precision, again.kernels = kept.precision, kept.kernels

    assert asdict(kept) == asdict(again.progress())
