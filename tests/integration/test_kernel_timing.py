"""
How long ways of computing the loss are timed, on how many rows, and which is chosen.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from finetuned.errors import Interrupted
from finetuned.loss import kernel_timing
from finetuned.loss.candidates import candidates, has_fast_bfloat16
from finetuned.loss.kernel_timing import Way, WayTimer
from finetuned.loss.kernels import Choice, choose
from finetuned.loss.micro_batch import MaskedTokens
from finetuned.loss.supervised import Kernels, SupervisedLM
from support.engine import make_lm, row, tokens

_CPU = torch.device("cpu")


def _rows() -> list[MaskedTokens]:
    head = tokens(48, 0)
    return [row(head + tokens(12 + i, 1 + i), (52, 60 + i)) for i in range(4)]


def _model() -> tuple[SupervisedLM, list[Way]]:
    """
    Return a model with its two shared ways, the one with fewer operations first.
    """
    lm = make_lm("qwen3")
    ways = [Way(kernels, None) for kernels in candidates(lm, _CPU)[:2]]
    return SupervisedLM(lm, Kernels("stock", "sdpa")).train(), ways


def _chosen(**more: Any) -> Choice:
    options: dict[str, Any] = {"may_autocast": False, "on_progress": lambda: None, **more}
    return choose(_model()[0], _rows(), prefix="auto", **options)


def _plant(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[tuple[str, int]]:
    """
    Let the turns of each prefix take *seconds*; return where each is noted with its rows.
    """
    turns: list[tuple[str, int]] = []

    def timed(self: WayTimer, way: Way, rows: Any) -> float:
        turns.append((way.kernels.prefix, len(rows)))
        return seconds[way.kernels.prefix]

    monkeypatch.setattr(WayTimer, "_seconds", timed)
    return turns


@pytest.mark.parametrize(
    ("split", "cache", "chosen"),
    [(0.1, 0.074, "cache"), (0.074, 0.1, "split"), (0.1, 0.1, "split"), (0.103, 0.1, "split")],
)
def test_the_fastest_right_candidate_is_chosen(
    monkeypatch: pytest.MonkeyPatch, split: float, cache: float, chosen: str
) -> None:
    """
    After three turns of each if it is clear; a way with more operations must be worth it.
    """
    turns = _plant(monkeypatch, split=split, cache=cache)
    choice = _chosen()
    assert chosen == choice.kernels.prefix
    assert not choice.is_close
    assert choice.evidence.startswith(f"{chosen}/sdpa: clear; split/sdpa {1e3 * split:g} ms")
    assert [3, 3] == [len(seconds) for seconds in choice.turns.values()]
    # Two to know the rate, one that warms up; then the ways in turns, each first in half of them.
    assert ["split", "split", "cache", "split", "split", "cache", "cache", "split"] == [
        prefix for prefix, _ in turns[:8]
    ]


def test_a_slow_model_is_timed_on_fewer_rows_or_not_at_all() -> None:
    """
    As many rows as there is time for; without any the way with fewer operations, and it says so.
    """
    model, ways = _model()
    three = 48 + 12 + 13 + 14  # tokens of three rows that share 48
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))

    # Four runs of the first way, and four of one that may take half as long again.
    rate = 60 / (4 * 2.5 * (three + 1))
    timer = WayTimer(model, _rows(), seconds_per_token=rate, on_progress=lambda: None)
    assert 2 == len(timer.fastest(ways, seconds=60.0).seconds)
    assert {3} == set(seen)
    seen.clear()
    found = timer.fastest(ways, seconds=20.0)
    assert [] == seen
    assert ("split", False, {}) == (found.way.kernels.prefix, found.is_clear, found.seconds)
    assert "not timed: there was no time; split/sdpa has the fewest operations" == found.evidence


def test_timing_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A turn that would end too late does not begin; what is not clear by then is close.
    """
    turns = _plant(monkeypatch, split=5.0, cache=5.0)
    clock = iter(range(0, 1000, 5))
    watch = SimpleNamespace(monotonic=lambda: float(next(clock)))
    monkeypatch.setattr(kernel_timing, "time", watch)
    model, ways = _model()
    timer = WayTimer(model, _rows(), seconds_per_token=1e-3, on_progress=lambda: None)
    found = timer.fastest(ways, seconds=30.0)
    assert 5 == len(turns)
    assert (ways[0], False) == (found.way, found.is_clear)
    assert found.evidence.startswith(
        "split/sdpa: close, a later job looks again; split/sdpa 5000 ms"
    )


def test_a_close_choice_stays_where_there_is_no_time_to_look_again() -> None:
    """
    A job of a few rows has none; a longer one times, and what it finds counts.
    """
    known = Choice(Kernels("cache", "sdpa"), None, is_close=True)
    choice = _chosen(job_rows=4, known=known)
    assert ("cache", True, {}) == (choice.kernels.prefix, choice.is_close, choice.timings)
    assert "cache/sdpa: kept from the job before, there is no time to look again" == choice.evidence
    known.autocast = torch.bfloat16  # where the machine has it, its precision stays too
    choice = _chosen(job_rows=4, known=known, may_autocast=True)
    assert choice.precision == ("bfloat16" if has_fast_bfloat16(_CPU) else "")
    assert _chosen(job_rows=10**7, known=known).timings


def test_a_stop_ends_the_choice() -> None:
    """
    What on_progress raises, between checks or between turns, reaches the caller.
    """
    model, _ = _model()
    for beats in (1, 5):
        left = iter(range(beats))

        def on_progress(left: Any = left) -> None:
            if next(left, None) is None:
                raise Interrupted("planted")

        with pytest.raises(Interrupted, match="planted"):
            choose(model, _rows(), prefix="auto", may_autocast=False, on_progress=on_progress)
