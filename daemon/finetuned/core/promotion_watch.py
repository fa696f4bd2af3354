"""
Whether a version that was just promoted has to be taken back. Pure.

Two things count: the canaries, asked again of the version in use, and the health
signal of the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finetuned.config import WatchConfig


@dataclass(frozen=True, slots=True)
class Health:
    """
    Counts of a server about the version it serves, since it began to serve it.
    """

    version: str
    requests: int
    errors: int


def parse_health(value: object) -> Health | None:
    """
    Return the health signal in control/health.json, or None if the value is not one.
    """
    if not isinstance(value, Mapping):
        return None
    version, requests, errors = (value.get(k) for k in ("version", "requests", "errors"))
    if not isinstance(version, str) or type(requests) is not int or type(errors) is not int:
        return None
    if not 0 <= errors <= requests:
        return None
    return Health(version, requests, errors)


def is_unhealthy(health: Health | None, version: str, config: WatchConfig) -> str | None:
    """
    Return why *version* fails too many of its requests, or None if it does not.

    A signal about another version, or about too few requests, does not count.
    """
    if health is None or health.version != version or health.requests < config.min_requests:
        return None
    if health.errors <= config.max_error_fraction * health.requests:
        return None
    return (
        f"{health.errors} of {health.requests} requests failed, at most "
        f"{config.max_error_fraction:.0%} may (watch.max_error_fraction)"
    )


def watch_is_over(
    health: Health | None, version: str, *, seconds: float, asked: bool, config: WatchConfig
) -> bool:
    """
    Return whether the watch has seen enough.

    Args:
        health: The last signal.
        version: The watched version.
        seconds: Since its promotion; a clock that was set back counts as the beginning.
        asked: Whether its canaries were asked again, or there are none: without that
            no time is long enough.
        config: How long to watch.
    """
    if not asked:
        return False
    if seconds >= 60 * config.minutes:
        return True
    served = health.requests if health is not None and health.version == version else 0
    return config.requests > 0 and served >= config.requests


def lost_and_late_canaries(
    report: Mapping[str, Any], passed_at_gate: frozenset[str]
) -> tuple[list[str], list[str]]:
    """
    Return the canaries that the served version fails although it should pass them, and those
    that it could not be asked in time, which are not failed.

    Those should pass that the version before passes, or that this one passed at the gate.

    Args:
        report: Of the canaries asked again: ``incumbent`` is the version before,
            ``candidate`` what is served.
        passed_at_gate: By item.
    """
    lost, late = [], []
    for item in report.get("items") or []:
        outcomes, name = item["outcomes"], str(item["id"])
        now, before = outcomes.get("candidate"), outcomes.get("incumbent")
        if now is None or now["correct"]:
            continue
        if now["correct"] is None:
            late += [name] if now["timed_out"] else []
        elif item["id"] in passed_at_gate or (before is not None and before["correct"]):
            lost.append(name)
    return lost, late
