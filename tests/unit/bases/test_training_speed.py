"""
What a machine can train in an hour, estimated.
"""

from __future__ import annotations

import pytest

from finetuned.bases.speed import ROW_TOKENS, SHARE, MachineRate, measure_rate, rows_in_an_hour
from finetuned.config import ModelConfig

RATE = MachineRate(device="cpu", dtype="float32", threads=2, flop_per_second=100e9)


def test_an_hour_is_so_many_products() -> None:
    """
    By hand: 135 M parameters at 100 GFLOP/s, 4 operations a parameter and token with adapters.
    """
    by_hand = 3600 * 100e9 * SHARE / (4 * 135e6 * ROW_TOKENS)

    assert int(by_hand) == rows_in_an_hour(135_000_000, RATE, "lora")
    assert rows_in_an_hour(135_000_000, RATE, "full") == pytest.approx(by_hand * 4 / 6, abs=1)


def test_this_machine_multiplies() -> None:
    """
    On the device and in the precision that training would take.
    """
    rate = measure_rate(ModelConfig(device="cpu"))

    assert ("cpu", "float32") == (rate.device, rate.dtype)
    assert rate.flop_per_second > 1e8
