import os
import time
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from finetuned.core.order import OrderKind
from finetuned.files import control
from finetuned.files.control import acknowledge, consume, last_sequence, pending, unfinished
from finetuned.layout import Layout
from finetuned.supervisor.context import check_root


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path)
    check_root(layout)
    return layout


def test_an_order_is_consumed_once(layout):
    """
    It is gone from control/ the moment it is taken.
    """
    (layout.control / "pause").write_text("reason here\nrest")
    order = consume(layout, "pause", OrderKind.PAUSE, 1)

    assert "reason here" == order.reason
    assert [] == pending(layout)
    assert consume(layout, "pause", OrderKind.PAUSE, 2) is None


def test_a_reason_is_read_once_its_writer_has_closed_the_file(layout):
    """
    A shell opens the file first and writes then, and the daemon may look in between.
    """
    with (layout.control / "pause").open("w") as file, ThreadPoolExecutor() as pool:
        taken = pool.submit(consume, layout, "pause", OrderKind.PAUSE, 1)
        while (layout.control / "pause").exists():
            time.sleep(0.001)
        time.sleep(0.05)
        file.write("want to play\n")
        file.close()

        assert "want to play" == taken.result().reason


def test_an_order_whose_file_stays_open_is_obeyed_all_the_same(layout, monkeypatch):
    """
    Whoever forgets to close it has given the order with what it holds.
    """
    monkeypatch.setattr(control, "WRITER_SECONDS", 0.05)
    with (layout.control / "pause").open("w") as file:
        file.write("so far")
        file.flush()

        assert "so far" == consume(layout, "pause", OrderKind.PAUSE, 1).reason


def test_orders_come_in_the_order_they_were_given(layout):
    """
    Pause then resume is not resume then pause.
    """
    for i, name in enumerate(("resume", ".pause", "stop")):
        (layout.control / name).touch()
        os.utime(layout.control / name, ns=(i, i))

    assert ["resume", "pause", "stop"] == [c for c, _ in pending(layout)]


def test_a_crash_after_taking_leaves_the_order_to_be_found(layout):
    """
    What was consumed and not answered is answered after the restart.
    """
    (layout.control / "skip").write_text("bad rows")
    order = consume(layout, "skip", OrderKind.SKIP, 7)

    assert [order] == unfinished(layout)
    assert 7 == last_sequence(layout)
    acknowledge(layout, order, {"outcome": "obeyed"})
    assert [] == unfinished(layout)
    answer = orjson.loads((layout.acks / "000007-skip.json").read_bytes())
    assert ("skip", "bad rows", "obeyed") == (
        answer["command"],
        answer["reason"],
        answer["outcome"],
    )


@pytest.mark.parametrize("kind", ["symlink", "fifo", "garbage", "long"])
def test_whatever_the_file_holds_the_order_counts(layout, kind):
    """
    Only the name gives the order; content never blocks, is never followed, never fails.
    """
    path = layout.control / "pause"
    if kind == "symlink":
        path.symlink_to("/etc/shadow")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "garbage":
        path.write_bytes(b"\xff\x00\x1b[2J" * 10)
    else:
        path.write_bytes(b"x" * 10_000_000)
    order = consume(layout, "pause", OrderKind.PAUSE, 1)

    assert order is not None
    assert len(order.reason) <= 500
    assert order.reason.isprintable()


def test_answers_do_not_pile_up(layout):
    """
    A thousand touches leave a bounded folder.
    """
    for i in range(250):
        (layout.control / "pause").touch()
        acknowledge(layout, consume(layout, "pause", OrderKind.PAUSE, i), {})

    assert 200 == len(list(layout.acks.iterdir()))
