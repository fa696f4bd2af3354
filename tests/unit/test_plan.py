import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.data.plan import plan_batches

jobs = st.fixed_dictionaries(
    {
        "lengths": st.lists(st.integers(1, 500), min_size=1, max_size=300).map(np.array),
        "batch_size": st.integers(1, 20),
        "accumulation": st.integers(1, 5),
        "epochs": st.integers(1, 3),
        "seed": st.integers(0, 2**32 - 1),
    }
)


@given(jobs)
@settings(deadline=None)
def test_every_example_is_planned_once_per_epoch(job):
    """
    Nothing is left out and nothing comes twice.
    """
    plan = plan_batches(**job)
    planned = sorted(n for step in plan.steps for batch in step for n in batch)

    assert sorted(list(range(len(job["lengths"]))) * job["epochs"]) == planned


@given(jobs)
@settings(deadline=None)
def test_the_same_seed_gives_the_same_plan(job):
    """
    A run that resumes goes on in the order it began.
    """
    assert plan_batches(**job).digest == plan_batches(**job).digest


@given(jobs)
@settings(deadline=None)
def test_sizes_are_kept(job):
    """
    No micro-batch and no step is larger than asked, and only the last step is smaller.
    """
    plan = plan_batches(**job)

    assert all(1 <= len(batch) <= job["batch_size"] for step in plan.steps for batch in step)
    assert all(len(step) == job["accumulation"] for step in plan.steps[:-1])


def test_another_seed_gives_another_order():
    """
    Jobs over the same rows do not see them in the same order.
    """
    lengths = np.arange(1, 200)
    a, b = (
        plan_batches(lengths, batch_size=4, accumulation=1, epochs=1, seed=s).digest for s in (0, 1)
    )

    assert a != b


def test_an_empty_job_is_an_error():
    """
    Zero steps are never a plan.
    """
    with pytest.raises(ValueError, match="no example"):
        plan_batches(np.array([], dtype=int), batch_size=1, accumulation=1, epochs=1, seed=0)
