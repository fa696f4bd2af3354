"""
What every engine is to the gateway: it takes orders and writes reports (core/generation.py).

Hold says which models to have, Generate and Embed ask, Cancel takes a question back; each
question ends with one Finished, Embedded or Failed. Holding says what can be asked, at the
start and after each change; a Beat comes about once a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from finetuned.core.generation import Order, Report

Send = Callable[[Order], None]


class Owner(Protocol):
    """
    Is told what the engine does, always in the gateway's event loop.
    """

    def engine_started(self, send: Send) -> None:
        """It reads orders, and holds nothing yet."""

    def engine_wrote(self, report: Report) -> None:
        """One report."""

    def engine_ended(self, why: str) -> None:
        """It is gone, or will be in a moment; nothing more comes until it has started again."""


class Engine(Protocol):
    """
    Something that generates, kept running or kept connected until close().
    """

    @property
    def place(self) -> str:
        """``own``, or the address of a server: ``serving.engine``."""

    @property
    def note(self) -> str:
        """What users should know of it, such as that nobody knows which model answers; or ""."""

    @property
    def pid(self) -> int | None:
        """Its process, if the gateway started it and it runs."""

    @property
    def starts(self) -> int:
        """How often it was started, or connected to."""

    def start(self) -> None:
        """Begin; returns before the engine is there."""

    async def close(self) -> None:
        """End it, or leave it; questions that run get no more reports."""


EngineMaker = Callable[[Owner], Engine]
