"""
What people ask for is taken in order, obeyed, and answered once it has taken effect.
"""

import orjson
import pytest

from finetuned.core.order import OrderKind
from finetuned.errors import RegistryError
from finetuned.supervisor.orders import Orders


class Asked:
    """
    What the orders see of jobs and merges.
    """

    def __init__(self):
        self.job = "j000001"
        self.merges = 0

    def consolidate(self):
        self.merges += 1
        if self.job is None:
            raise RegistryError("the version in use is not there")
        return "queued as j000002"


@pytest.fixture
def asked():
    return Asked()


@pytest.fixture
def orders(context, asked):
    return Orders(context, lambda: asked.job, asked.consolidate)


def give(context, name, reason=""):
    (context.layout.control / name).write_text(reason)


def answers(context):
    found = [orjson.loads(p.read_bytes()) for p in sorted(context.layout.acks.glob("*.json"))]
    return [(a["command"], a["outcome"]) for a in found]


def settle(orders, *, worker_gone=False, leaving=False, skipped=False):
    orders.settle(worker_gone=worker_gone, leaving=leaving, skipped=skipped)


@pytest.mark.parametrize("kind", OrderKind)
def test_every_order_is_consumed_recorded_and_answered(context, orders, kind):
    """
    The file is gone, the reason is kept, and there is an answer to look at.
    """
    give(context, kind, "because")
    orders.look()

    assert not (context.layout.control / kind).exists()
    assert [kind] == [command for command, _ in answers(context)]
    assert "because" == context.board.fields["last_command"]["reason"]


def test_a_pause_is_in_force_at_once_and_obeyed_once_the_worker_is_gone(context, orders):
    """
    A pause means a free device.
    """
    give(context, "pause")
    orders.look()
    assert orders.paused
    settle(orders, worker_gone=False)
    assert [("pause", "received")] == answers(context)
    settle(orders, worker_gone=True)

    assert [("pause", "obeyed")] == answers(context)


def test_a_resume_ends_a_pause_that_was_not_obeyed_yet(context, orders):
    """
    The later order counts, and the first is told so.
    """
    give(context, "pause")
    orders.look()
    give(context, "resume")
    orders.look()

    assert not orders.paused
    assert [("pause", "ended by resume"), ("resume", "obeyed")] == answers(context)


def test_a_resume_without_a_pause_says_so(context, orders):
    """
    Nothing silent: an order that changes nothing is answered too.
    """
    give(context, "resume")
    orders.look()

    assert [("resume", "nothing to do: not paused")] == answers(context)


def test_a_skip_means_the_job_of_the_moment_it_was_given(context, orders, asked):
    """
    Another job that begins meanwhile is not skipped in its place.
    """
    give(context, "skip")
    orders.look()
    asked.job = "j000009"
    assert "j000001" == orders.skip_job
    settle(orders, skipped=True)

    assert orders.skip_job is None
    assert [("skip", "obeyed: j000001 skipped")] == answers(context)


def test_a_skip_with_nothing_to_skip_is_answered_at_once(context, orders, asked):
    """
    It does not lie in wait for the next job.
    """
    asked.job = None
    give(context, "skip")
    orders.look()

    assert orders.skip_job is None
    assert [("skip", "nothing to do: no dataset is being trained")] == answers(context)


def test_a_stop_is_obeyed_when_the_daemon_leaves(context, orders):
    """
    Not before: until then it may still be saving.
    """
    give(context, "stop")
    orders.look()
    assert orders.stop_requested
    settle(orders, worker_gone=True)
    assert [("stop", "received")] == answers(context)
    settle(orders, leaving=True)

    assert [("stop", "obeyed")] == answers(context)


def test_a_merge_that_is_refused_is_answered_with_the_reason(context, orders, asked):
    """
    The daemon goes on.
    """
    asked.job = None
    give(context, "consolidate")
    orders.look()

    assert [("consolidate", "refused: the version in use is not there")] == answers(context)


def test_a_pause_survives_the_daemon_and_a_stop_does_not(context, orders, asked):
    """
    Orders that a crash left without an answer: the stop did end that daemon.
    """
    for name in ("pause", "stop"):
        give(context, name)
        orders.look()
    for received in ("000001-pause", "000002-stop"):
        (context.layout.acks / f"{received}.json").unlink()
        (context.layout.acks / f"{received}.received").write_text("")
    again = Orders(context, lambda: None, asked.consolidate)
    again.recover()

    assert again.paused
    assert not again.stop_requested
    assert [("pause", "received"), ("stop", "obeyed: the daemon had ended")] == answers(context)


def test_orders_are_taken_in_the_order_in_which_they_were_given(context, orders):
    """
    Resume then pause leaves a pause; the other way round leaves none.
    """
    import os

    for i, name in enumerate(("resume", "pause")):
        give(context, name)
        os.utime(context.layout.control / name, ns=(i * 10**9, i * 10**9))
    orders.look()

    assert orders.paused


def test_an_answer_that_the_disk_refuses_is_given_at_a_later_turn(context, orders, monkeypatch):
    """
    An order is never lost between consumed and answered.
    """
    from finetuned.supervisor import orders as module

    real, refused = module.acknowledge, []

    def refuse_once(*args):
        if not refused:
            refused.append(1)
            raise OSError("disk full")
        real(*args)

    monkeypatch.setattr(module, "acknowledge", refuse_once)
    give(context, "pause")
    with pytest.raises(OSError, match="disk full"):
        orders.look()
    orders.look()
    settle(orders, worker_gone=True)

    assert [("pause", "obeyed")] == answers(context)
