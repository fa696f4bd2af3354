"""
What training used and what that costs: time, energy and money, shared out over files.

Pure. Energy is joules inside and kilowatt-hours for people. What was not measured is never a
zero: it is estimated and named, or it is unknown and named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

JOULES_PER_KWH: Final = 3_600_000.0
"""1 kWh."""

SECONDS_PER_HOUR: Final = 3600.0

Key = TypeVar("Key", bound=str)


class EnergySource(StrEnum):
    """
    Where a figure of energy comes from.
    """

    NVML = "nvml"  # the GPU's own counter
    RAPL = "rapl"  # the processor's own counter, by the run's share of busy processor time
    ESTIMATE = "estimate"  # time multiplied by the power that [costs] assumes


@dataclass(frozen=True, kw_only=True, slots=True)
class Prices:
    """
    What things cost, and what is assumed where nothing is measured (config.CostsConfig).
    """

    kwh: float = 0.0
    device_hour: float = 0.0
    cpu_core_watts: float = 0.0
    gpu_watts: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunUse:
    """
    What one run used. None is what nobody measured.
    """

    seconds: float | None
    """Wall time; None if the end of the run is not recorded."""
    cpu_seconds: float | None = None
    cpu_joules: float | None = None
    gpu_joules: float | None = None
    gpus: int = 0
    """GPUs that worked for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """
    The cost of some runs, or of a share of them.
    """

    runs: int = 0
    seconds: float = 0.0
    device_seconds: float = 0.0
    """Wall time times GPUs, or times one for the machine."""
    joules: float = 0.0
    sources: frozenset[EnergySource] = frozenset()
    """Where the joules come from."""
    untimed: int = 0
    """Runs whose time is not known: they count nothing."""
    unmetered: int = 0
    """Runs whose energy is not known: they count time alone."""
    money: float = 0.0

    @property
    def kwh(self) -> float:
        """Energy in kilowatt-hours."""
        return self.joules / JOULES_PER_KWH

    @property
    def is_known(self) -> bool:
        """Whether the money says anything: some energy is known, or time has a price."""
        return self.money > 0 or self.unmetered < self.runs

    @property
    def estimated(self) -> bool:
        """Whether some of the energy is estimated."""
        return EnergySource.ESTIMATE in self.sources

    def share(self, part: float) -> Cost:
        """
        Return *part* (0 to 1) of the cost; the counts of runs stay.
        """
        return replace(
            self,
            seconds=self.seconds * part,
            device_seconds=self.device_seconds * part,
            joules=self.joules * part,
            money=self.money * part,
        )

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            runs=self.runs + other.runs,
            seconds=self.seconds + other.seconds,
            device_seconds=self.device_seconds + other.device_seconds,
            joules=self.joules + other.joules,
            sources=self.sources | other.sources,
            untimed=self.untimed + other.untimed,
            unmetered=self.unmetered + other.unmetered,
            money=self.money + other.money,
        )


def cost_of(use: RunUse, prices: Prices) -> Cost:
    """
    Return what one run costs.

    Energy times the price of a kWh, and wall time times the price of a device hour. The
    processor's energy is estimated from processor time if its counters could not be read, the
    GPU's from wall time.
    """
    seconds = use.seconds or 0.0
    device_seconds = seconds * max(1, use.gpus)
    joules, sources = _energy(use, prices, seconds)
    unmetered = use.cpu_seconds is None
    money = joules / JOULES_PER_KWH * prices.kwh
    money += device_seconds / SECONDS_PER_HOUR * prices.device_hour
    return Cost(
        runs=1,
        seconds=seconds,
        device_seconds=device_seconds,
        joules=joules,
        sources=frozenset(sources),
        untimed=int(use.seconds is None),
        unmetered=int(unmetered),
        money=money,
    )


def _energy(use: RunUse, prices: Prices, seconds: float) -> tuple[float, set[EnergySource]]:
    sources = set()
    joules = 0.0
    if use.cpu_joules is not None:
        joules += use.cpu_joules
        sources.add(EnergySource.RAPL)
    elif use.cpu_seconds is not None:
        joules += use.cpu_seconds * prices.cpu_core_watts
        sources.add(EnergySource.ESTIMATE)
    if use.gpu_joules is not None:
        joules += use.gpu_joules
        sources.add(EnergySource.NVML)
    elif use.gpus:
        joules += use.gpus * seconds * prices.gpu_watts
        sources.add(EnergySource.ESTIMATE)
    return joules, sources


def total(costs: Iterable[Cost]) -> Cost:
    """
    Return the sum; of nothing it is Cost().
    """
    found = Cost()
    for cost in costs:
        found += cost
    return found


def shares_by(amounts: Mapping[Key, float]) -> dict[Key, float]:
    """
    Return each key's share of the sum of *amounts*, which are >= 0.

    The shares add up to 1; if all amounts are 0, each key has the same share.
    """
    whole = math.fsum(amounts.values())
    if whole <= 0:
        return {key: 1 / len(amounts) for key in amounts}
    return {key: amount / whole for key, amount in amounts.items()}


def price_of_a_point(money: float, points: float, interval: tuple[float, float]) -> float | None:
    """
    Return what one percentage point cost; None unless a gain is shown and something was paid.

    Args:
        money: >= 0.
        points: Percentage points gained.
        interval: Of the gain; it is shown if the lower bound is above 0.
    """
    return money / points if money > 0 and points > 0 and interval[0] > 0 else None


def return_on(money: float, points: float, value_per_point: float) -> float | None:
    """
    Return what a gain of *points* is worth beyond its cost, as a multiple of the cost.

    Source:
        Return on investment: (value - cost) / cost. None if nothing was paid, or if no value
        is given for a point.
    """
    if money <= 0 or value_per_point <= 0:
        return None
    return (points * value_per_point - money) / money
