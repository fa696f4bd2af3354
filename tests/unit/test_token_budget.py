"""
The most tokens of a micro-batch: how it falls, and what a next attempt begins with.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.errors import OutOfMemory
from finetuned.training.token_budget import TokenBudget, first_budget

CONFIGURED = 16384


def budget(tokens: int) -> tuple[TokenBudget, list[int]]:
    """
    Return a budget and the list of all it was lowered to.
    """
    changes: list[int] = []
    return TokenBudget(tokens, on_change=changes.append), changes


def test_half_of_the_micro_batch_that_did_not_fit_is_tried_next() -> None:
    """
    A micro-batch that is smaller than the budget lowers it to half of itself.
    """
    tokens, changes = budget(4096)
    tokens.halve(8, 4000, MemoryError())
    assert 2000 == tokens.tokens
    tokens.halve(4, 3000, MemoryError())  # it costs more than the budget: padding
    assert 1000 == tokens.tokens
    assert [2000, 1000] == changes


def test_a_single_row_that_does_not_fit_is_an_error_with_its_length() -> None:
    """
    The budget stays, and the cause is kept.
    """
    tokens, changes = budget(4096)
    with pytest.raises(OutOfMemory, match="one row of 465 tokens") as caught:
        tokens.halve(1, 465, MemoryError("planted"))
    assert isinstance(caught.value.__cause__, MemoryError)
    assert (4096, []) == (tokens.tokens, changes)


@given(st.integers(1, 1 << 20), st.lists(st.tuples(st.integers(2, 64), st.integers(1, 1 << 21))))
def test_a_budget_only_falls_and_stays_positive(
    tokens: int, failures: list[tuple[int, int]]
) -> None:
    """
    on_change is told each value once, every one lower than the one before.
    """
    found, changes = budget(tokens)
    for rows, cost in failures:
        found.halve(rows, cost, MemoryError())
    assert found.tokens >= 1
    assert changes == sorted(set(changes), reverse=True)
    assert found.tokens == (changes[-1] if changes else tokens)


def test_a_budget_is_not_raised() -> None:
    """
    What the other processes can hold does not matter to one that can hold less.
    """
    tokens, changes = budget(100)
    tokens.lower_to(200)
    tokens.lower_to(100)
    assert (100, []) == (tokens.tokens, changes)


def earlier_run(folder: Path, tokens: int | None, phase: str, *, status: int | None) -> Path:
    """
    Return a run folder that ended with *status*, None if it left no exit record.
    """
    folder.mkdir()
    fields = {"pid": 1, "phase": phase} | ({} if tokens is None else {"max_batch_tokens": tokens})
    (folder / "heartbeat.json").write_text(json.dumps(fields))
    if status is not None:
        (folder / "exit.json").write_text(json.dumps({"status": status, "stays": False}))
    return folder


def test_the_next_attempt_begins_with_what_earlier_ones_came_down_to(tmp_path: Path) -> None:
    """
    The lowest of them; one that died while it rehearsed had tried too much.
    """
    calm = earlier_run(tmp_path / "1", 8192, "training", status=75)
    died = earlier_run(tmp_path / "2", 8192, "rehearsing", status=None)
    stopped = earlier_run(tmp_path / "3", 8192, "rehearsing", status=75)
    early = earlier_run(tmp_path / "4", None, "loading", status=None)
    assert CONFIGURED == first_budget(CONFIGURED, [])
    assert 8192 == first_budget(CONFIGURED, [calm])
    assert 4096 == first_budget(CONFIGURED, [calm, died])
    assert 4096 == first_budget(CONFIGURED, [died, calm])
    assert 8192 == first_budget(CONFIGURED, [stopped])
    assert CONFIGURED == first_budget(CONFIGURED, [early, tmp_path / "never made"])
    assert 1000 == first_budget(1000, [calm])


@pytest.mark.parametrize(("world", "expected"), [("1", 8192), ("2", 4096)])
def test_a_rank_killed_in_rehearsal_ends_rank_0_with_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: str, expected: int
) -> None:
    """
    Of several processes, EXIT_SOFTWARE while rehearsing counts as a kill; of one it does not.
    """
    monkeypatch.setenv("WORLD_SIZE", world)
    crashed = earlier_run(tmp_path / "1", 8192, "rehearsing", status=70)
    assert expected == first_budget(CONFIGURED, [crashed])


def test_a_heartbeat_of_another_version_tells_nothing(tmp_path: Path) -> None:
    """
    A job that is resumed after an update of the program begins with the configured budget.
    """
    calm = earlier_run(tmp_path / "1", 8192, "training", status=75)
    other = earlier_run(tmp_path / "2", 4096, "training", status=75)
    (other / "heartbeat.json").write_text('{"pid": 1, "max_batch_tokens": 4096, "new_key": 1}')
    assert 8192 == first_budget(CONFIGURED, [calm, other])
