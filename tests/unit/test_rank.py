"""
Which process of a run this is, as its environment says.
"""

from finetuned.files.rank import rank, world


def test_a_process_that_nobody_launched_is_the_only_one(monkeypatch):
    """
    Rank 0 of 1, so it writes into the run folder.
    """
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    assert (0, 1) == (rank(), world())


def test_a_launched_process_is_told_its_number(monkeypatch):
    """
    By the names that accelerate launch sets.
    """
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")

    assert (2, 4) == (rank(), world())
