import pytest

from finetuned.core.order import OrderKind, order_kind


@pytest.mark.parametrize("command", OrderKind)
def test_dotted_and_plain_names_are_the_same_order(command):
    """
    The ancestor's spelling goes on working.
    """
    assert command == order_kind(command) == order_kind(f".{command}")


@pytest.mark.parametrize("name", ["pause.txt", "..pause", "PAUSE", "", "ack", "state.json"])
def test_other_files_are_no_orders(name):
    """
    Only the four words count.
    """
    assert order_kind(name) is None
