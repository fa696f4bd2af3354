"""
Costs: nothing is lost when they are shared out, and what is not known is never a zero.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.cost import (
    Cost,
    EnergySource,
    Prices,
    RunUse,
    cost_of,
    price_of_a_point,
    return_on,
    shares_by,
    total,
)

PRICES = Prices(kwh=0.3, device_hour=2.0, cpu_core_watts=10.0, gpu_watts=300.0)
amounts = st.floats(0, 1e9, allow_nan=False)
uses = st.builds(
    RunUse,
    seconds=st.none() | amounts,
    cpu_seconds=st.none() | amounts,
    cpu_joules=st.none() | amounts,
    gpu_joules=st.none() | amounts,
    gpus=st.integers(0, 8),
)


@given(st.dictionaries(st.text(min_size=1, max_size=3), amounts, min_size=1, max_size=9))
def test_shares_add_up_to_the_whole(found):
    """
    The files of a job pay all of it together, also if none of them was trained.
    """
    shares = shares_by(found)

    assert found.keys() == shares.keys()
    assert math.isclose(1.0, math.fsum(shares.values()))
    assert all(0 <= share <= 1 for share in shares.values())


@given(st.lists(uses, min_size=1, max_size=6), st.integers(1, 5))
def test_no_joule_and_no_cent_is_lost_in_sharing_out(found, parts):
    """
    The shares of a sum are the sum of the shares, and all of them are the sum.
    """
    whole = total(cost_of(use, PRICES) for use in found)
    shared = [whole.share(1 / parts) for _ in range(parts)]

    assert len(found) == whole.runs
    assert math.isclose(whole.money, math.fsum(part.money for part in shared), abs_tol=1e-9)
    assert math.isclose(whole.joules, math.fsum(part.joules for part in shared), abs_tol=1e-6)
    assert math.isclose(
        whole.money, math.fsum(cost_of(use, PRICES).money for use in found), abs_tol=1e-9
    )


@given(uses)
def test_what_is_not_known_is_counted_and_said(use):
    """
    A run without a known end, or without a measurement, is not a free run.
    """
    cost = cost_of(use, PRICES)

    assert (use.seconds is None) == (cost.untimed == 1)
    assert (use.cpu_seconds is None) == (cost.unmetered == 1)
    estimated = (use.cpu_joules is None and use.cpu_seconds is not None) or (
        use.gpu_joules is None and use.gpus > 0
    )
    assert estimated == cost.estimated
    assert (EnergySource.NVML in cost.sources) == (use.gpu_joules is not None)


def test_a_run_is_paid_by_energy_and_by_the_hour_of_its_devices():
    """
    One hour on two GPUs with 1.5 kWh in all: 1.5 times 0.30 and 2 hours of a device.
    """
    hour = RunUse(seconds=3600.0, cpu_seconds=100.0, cpu_joules=1.8e6, gpu_joules=3.6e6, gpus=2)
    cost = cost_of(hour, PRICES)

    assert 1.5 == pytest.approx(cost.kwh)
    assert 0.45 + 4.0 == pytest.approx(cost.money)
    assert {EnergySource.RAPL, EnergySource.NVML} == cost.sources


def test_nothing_costs_nothing():
    """
    The sum of no runs.
    """
    assert Cost() == total([])


@pytest.mark.parametrize(
    ("points", "interval", "price"),
    [(10.0, (2.0, 18.0), 0.5), (10.0, (-1.0, 21.0), None), (-5.0, (-9.0, -1.0), None)],
)
def test_a_point_has_a_price_only_if_a_gain_is_shown(points, interval, price):
    """
    Dividing by noise gives a price that the next file disproves.
    """
    assert price == price_of_a_point(5.0, points, interval)


def test_return_is_what_was_gained_beyond_the_cost():
    """
    10 points worth 3 each, for 10: 200%. Without a value or a price there is none.
    """
    assert 2.0 == return_on(10.0, 10.0, 3.0)
    assert return_on(10.0, 10.0, 0.0) is None
    assert return_on(0.0, 10.0, 3.0) is None


def test_what_was_not_measured_costs_nothing_that_could_be_shown() -> None:
    """
    A run without any reading has an unknown cost, and so has a point that it gained, unless its
    time has a price.
    """
    unmeasured = RunUse(seconds=60.0)

    assert not cost_of(unmeasured, Prices(kwh=0.3)).is_known
    assert price_of_a_point(cost_of(unmeasured, Prices(kwh=0.3)).money, 70.0, (40.0, 90.0)) is None
    assert cost_of(unmeasured, Prices(device_hour=2.0)).is_known
    assert cost_of(RunUse(seconds=60.0, cpu_seconds=30.0), Prices(kwh=0.3)).is_known
