"""
Workers that are started before they are needed, and let go if they would wait too long.
"""

from types import SimpleNamespace

import pytest

from finetuned.core.action import StopCause
from finetuned.core.run import RunKind
from finetuned.core.run_end import START_AHEAD_SECONDS
from finetuned.files.heartbeat import Beat
from finetuned.supervisor.runs import ahead as module
from finetuned.supervisor.runs.ahead import WorkersAhead
from finetuned.supervisor.runs.run import SupervisedRun
from support.desk import PaperWorker, configure


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def ahead(context, workers, clock):
    configure(context, "supervisor", retry_seconds=10.0, warm_worker_seconds=300.0)
    return WorkersAhead(context)


def training(context, eta, *, run_id="r000001", kind=RunKind.TRAINING, **more):
    """
    A run whose last heartbeat foresees its end in *eta* seconds; None if it has said nothing.
    """
    beat = None if eta is None else Beat(pid=1, eta_seconds=eta)
    worker = PaperWorker(kind, launched=more.pop("launched", False))
    return SupervisedRun(run_id, kind, context.layout.runs, worker, heartbeat=beat, **more)


def kinds(workers):
    return [worker.kind for worker in workers]


def test_one_training_worker_waits_and_no_second(ahead, workers, clock):
    """
    However often it is asked for, and however much later.
    """
    ahead.warm_up()
    clock[0] += 100
    ahead.warm_up()

    assert [RunKind.TRAINING] == kinds(workers)
    assert RunKind.TRAINING in ahead.spares


def test_a_worker_that_dies_at_once_is_not_started_at_every_turn(ahead, workers, clock):
    """
    A broken installation must not become thousands of processes.
    """
    ahead.warm_up()
    workers[0].status = 1
    ahead.spares.reap()
    ahead.warm_up()
    assert 1 == len(workers)
    clock[0] += 10
    ahead.warm_up()

    assert 2 == len(workers)


def test_beside_a_launch_nobody_waits(context, ahead, workers):
    """
    A launched worker is told its run when it starts, and needs the memory of every device.
    """
    configure(context, "training", accelerate_config="two.yaml")
    ahead.warm_up()

    assert [] == workers


def test_the_evaluations_worker_is_started_shortly_before_the_training_ends(
    context, ahead, workers
):
    """
    Not at its beginning, not while the end is unknown, and once.
    """
    for eta in (None, 200.0, START_AHEAD_SECONDS + 1):
        ahead.look(training(context, eta))
    assert [] == workers
    ahead.look(training(context, START_AHEAD_SECONDS))
    workers[0].status = 1
    ahead.spares.reap()
    ahead.look(training(context, 1.0))
    assert [RunKind.EVALUATION] == kinds(workers)
    ahead.look(training(context, 1.0, run_id="r000002"))

    assert [RunKind.EVALUATION] * 2 == kinds(workers)


def test_a_worker_that_waits_already_is_enough(context, ahead, workers):
    """
    It stayed after its last evaluation.
    """
    idle = PaperWorker(RunKind.EVALUATION)
    ahead.spares.keep(idle)
    ahead.look(training(context, 1.0))

    assert [] == workers
    assert idle is ahead.spares.take(RunKind.EVALUATION)


def test_a_worker_that_would_wait_too_long_is_let_go(context, ahead):
    """
    Its memory is worth more to the training; one that is needed within the time stays.
    """
    idle, other = PaperWorker(RunKind.EVALUATION), PaperWorker(RunKind.TRAINING)
    ahead.spares.keep(idle)
    ahead.spares.keep(other)
    ahead.look(training(context, 300.0))
    assert not idle.dismissed
    ahead.look(training(context, 300.1))

    assert idle.dismissed
    assert not other.dismissed


@pytest.mark.parametrize(
    "run",
    [{"kind": RunKind.EVALUATION}, {"asked": StopCause.PAUSE}, {"launched": True}],
)
def test_no_evaluation_is_foreseen_where_none_follows(context, ahead, workers, run):
    """
    After an evaluation, after a stop, or beside a launch.
    """
    ahead.look(training(context, 1.0, **run))

    assert [] == workers


def test_after_cooling_down_nobody_waits(ahead, workers):
    """
    The memory is free when the call returns.
    """
    ahead.warm_up()
    ahead.cool_down()

    assert workers[0].dismissed
    assert not ahead.spares
