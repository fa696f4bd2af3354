"""
Knobs of what training costs: prices, and what is assumed if nothing measures it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from finetuned.config.checks import check, ranges

_CURRENCY = re.compile(r"[^\W\d_]{1,8}|[€$£¥]")


@dataclass(frozen=True, kw_only=True, slots=True)
class CostsConfig:
    price_per_kwh: float = 0.30
    """Price of a kilowatt-hour, 0 to 1e6. 0 leaves energy out of the cost."""

    price_per_device_hour: float = 0.0
    """
    Price of one GPU for an hour, or of the machine if it trains without one, 0 to 1e6: rent, or
    what its purchase costs by the hour of use. 0 leaves it out.
    """

    currency: str = "EUR"
    """Shown after every price: up to 8 letters, or one of € $ £ ¥."""

    cpu_core_watts: float = 8.0
    """
    Power of one busy processor core in watts, 0 to 1000: assumed if the processor's own
    counters (RAPL) cannot be read, and then reports say so.
    """

    gpu_watts: float = 250.0
    """Power of one GPU in watts, 0 to 5000: assumed if NVML does not report its own."""

    value_per_point: float = 0.0
    """
    What one percentage point on the held-out rows of a file is worth to you, 0 to 1e9. Reports
    then show the return of each file in money; 0 shows points gained for a price.
    """

    def __post_init__(self) -> None:
        ranges(
            "costs",
            self,
            price_per_kwh=(0, 1e6),
            price_per_device_hour=(0, 1e6),
            cpu_core_watts=(0, 1000),
            gpu_watts=(0, 5000),
            value_per_point=(0, 1e9),
        )
        known = _CURRENCY.fullmatch(self.currency) is not None
        check(known, "costs.currency", "up to 8 letters, or one of € $ £ ¥", self.currency)
