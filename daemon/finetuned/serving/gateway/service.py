"""
One running service: queue, engine and versions put together, and what happens between them.

Does not know HTTP. Begins in a running event loop and belongs to it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from finetuned.config import ServingConfig
from finetuned.core.generation import Beat, Hold, Holding, Order, Report
from finetuned.files.atomic import write_atomic
from finetuned.layout import Layout
from finetuned.serving.gateway.engine_link import Command, EngineLink, EngineProcess
from finetuned.serving.gateway.parts import Parts, Record
from finetuned.serving.gateway.queue import RequestQueue
from finetuned.serving.gateway.versions import Versions


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """
    What a service is made of.
    """

    layout: Layout
    config: ServingConfig
    base: str
    """``model.base``."""
    command: Command
    """How the engine is started."""
    parts: Parts
    addresses: tuple[str, ...] = ()
    """Where clients reach it, for state.json."""


class Service:
    """
    Owns the queue, the engine's process and the look at current_model.
    """

    def __init__(self, setting: Setting) -> None:
        self.config = setting.config
        self.layout = setting.layout
        self.parts = setting.parts
        self._addresses = setting.addresses
        self.queue = RequestQueue(
            max_running=self.config.max_running,
            max_queue=self.config.max_queue,
            request_seconds=self.config.request_seconds,
        )
        self.versions = Versions(
            self.layout,
            name=self.config.name,
            configured=setting.base,
            swapped=lambda _: self.parts.cache.drop(),
            in_use=self.queue.models,
        )
        self.link = EngineLink(
            EngineProcess(
                command=setting.command,
                cwd=self.layout.root,
                log=self.layout.logs / "engine.log",
                stuck_seconds=self.config.engine_stuck_seconds,
            ),
            self,
        )
        self.beat: Beat | None = None
        """What the engine said last of itself; None while there is none."""
        self.engine_problem = ""
        """Why the last engine ended, until the next one holds a model."""
        self.started = time.monotonic()
        self.requests = 0
        """Requests that ended, refused ones included."""
        self.requests_by_model: Counter[str] = Counter()
        self.answered_at: float | None = None
        """When the engine last gave a whole answer (time.monotonic)."""
        self._send: Callable[[Order], None] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether requests of the stable name are being answered."""
        return self._send is not None and self.versions.current in self.versions.held

    def start(self) -> None:
        """
        Start the engine and the look at current_model.
        """
        self.layout.serving.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.layout.logs.mkdir(exist_ok=True)
        self.versions.look()
        self.link.start()
        self._watch = asyncio.create_task(self.versions.watch(), name="current_model")
        self._write_state()

    async def close(self) -> None:
        """
        End the engine; what still runs fails. Removes state.json.
        """
        await self.queue.drain(0)
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self.link.close()
        self.layout.serving_state.unlink(missing_ok=True)

    def ended(self, record: Record) -> None:
        """
        Count one request and hand it to everybody who counts.
        """
        self.requests += 1
        if record.model:
            self.requests_by_model[record.model] += 1
        for meter in self.parts.meters:
            meter.ended(record)

    def answered(self) -> None:
        """Remember that the engine gave a whole answer just now."""
        self.answered_at = time.monotonic()

    def engine_started(self, send: Callable[[Order], None]) -> None:
        """A new engine reads orders; requests are sent once it holds a model."""
        self._send = send

        def tell(hold: Hold) -> None:
            send(hold)

        self.versions.engine_started(tell)

    def engine_wrote(self, report: Report) -> None:
        """Hand one line of the engine to whom it concerns."""
        if isinstance(report, Holding):
            self.versions.holding(report)
            if report.names and self._send is not None:
                self.engine_problem = ""
                self.queue.engine_up(self._send, report.names, report.problems)
            self._write_state()
        elif isinstance(report, Beat):
            self.beat = report
        else:
            self.queue.deliver(report)

    def engine_ended(self, why: str) -> None:
        """Keep what had not begun for the next engine."""
        self._send = None
        self.beat = None
        self.engine_problem = why
        self.versions.engine_ended()
        self.queue.engine_down(why)
        self._write_state()

    def public(self, model: str) -> str:
        """Return the name that answers of *model* are labelled with, such as finetuned@v0007."""
        return self.versions.public(model)

    def state(self) -> dict[str, object]:
        """
        Return what state.json says.
        """
        return {
            "pid": os.getpid(),
            "addresses": list(self._addresses),
            "name": self.config.name,
            "engine": self.link.pid,
            "model": self.versions.current,
            "held": list(self.versions.held),
            "problems": dict(self.versions.problems),
            "engine_problem": self.engine_problem,
        }

    def _write_state(self) -> None:
        try:
            state = orjson.dumps(self.state())
            write_atomic(self.layout.serving_state, state, durable=False, mode=0o600)
        except OSError:
            pass  # a full disk must not stop the service; finetuned ask then loads the model itself
