"""
Checks of a value's range, and the message of a refusal.
"""

from __future__ import annotations

from finetuned.errors import ConfigError


def check(ok: bool, name: str, expected: str, found: object) -> None:
    """
    Refuse a value unless it is *ok*.

    Raises:
        ConfigError: It is not; the message names the key, the expected and the found value.
    """
    if not ok:
        raise ConfigError(f"{name} must be {expected}, got {found!r}")


def _number(value: float) -> str:
    return f"{value:.10g}".replace("e-0", "e-")


def ranges(section: str, config: object, **limits: tuple[float, float | None]) -> None:
    """
    Check that each named field lies in its range; None means no upper bound.

    Raises:
        ConfigError: As check.
    """
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        expected = f">= {_number(low)}" if high is None else f"{_number(low)} to {_number(high)}"
        inside = value >= low and (high is None or value <= high)
        check(inside, f"{section}.{name}", expected, value)


def words(section: str, config: object, **allowed: tuple[str, ...]) -> None:
    """
    Check that each named field is one of its words.

    Raises:
        ConfigError: As check.
    """
    for name, known in allowed.items():
        value = getattr(config, name)
        check(value in known, f"{section}.{name}", f"one of {known}", value)
