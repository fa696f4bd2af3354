import pytest

from finetuned.core.order import Command, command_of


@pytest.mark.parametrize("command", Command)
def test_dotted_and_plain_names_are_the_same_order(command):
    """
    The ancestor's spelling goes on working.
    """
    assert command == command_of(command) == command_of(f".{command}")


@pytest.mark.parametrize("name", ["pause.txt", "..pause", "PAUSE", "", "ack", "state.json"])
def test_other_files_are_no_orders(name):
    """
    Only the four words count.
    """
    assert command_of(name) is None
