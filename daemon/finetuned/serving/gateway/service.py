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
import structlog

from finetuned.config import ServingConfig
from finetuned.core.access import Caller
from finetuned.core.answer_format import AnswerFormat
from finetuned.core.generation import AS_STARTED, Beat, Hold, Holding, Order, Report
from finetuned.files.atomic import write_atomic
from finetuned.layout import Layout
from finetuned.serving.gateway.cache import AnswerCache
from finetuned.serving.gateway.engines.interface import EngineMaker
from finetuned.serving.gateway.errors import Refusal
from finetuned.serving.gateway.limits import Limiter
from finetuned.serving.gateway.metering import Answer, Meter, Record
from finetuned.serving.gateway.queue import RequestQueue
from finetuned.serving.gateway.refusal import Refused
from finetuned.serving.gateway.versions import Versions
from finetuned.serving.gateway.watch_signal import WatchSignal

log = structlog.get_logger()


Chore = Callable[[], None]
"""May raise OSError; it is then done again later."""

CHORE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """
    What a service is made of.
    """

    layout: Layout
    config: ServingConfig
    base: str
    """``model.base``."""
    engine: EngineMaker
    """What generates."""
    addresses: tuple[str, ...] = ()
    """Where clients reach it, for state.json."""
    local_key: str = ""
    """For commands on this machine that may read state.json."""
    meters: tuple[Meter, ...] = ()
    """Metrics, log and feedback: each is told of every request."""
    answer_format: AnswerFormat | None = None
    """``model.answer_format``: what answers are held to if a request does not say it."""
    chores: tuple[Chore, ...] = ()
    """Done every CHORE_SECONDS and at the end; each must be short."""


class Service:
    """
    Owns the queue, the engine's process and the look at current_model.
    """

    def __init__(self, setting: Setting) -> None:
        self.config = setting.config
        self.layout = setting.layout
        self.answer_format = setting.answer_format
        self._setting = setting
        self.cache = AnswerCache[Answer](self.config.cache_bytes)
        self.limiter = Limiter(self.config.limits_store)
        self._signal = WatchSignal(self.layout)
        self.queue = RequestQueue(
            max_running=self.config.max_running,
            max_queue=self.config.max_queue,
            request_seconds=self.config.request_seconds,
        )
        self.versions = Versions(
            self.layout,
            name=self.config.name,
            configured=setting.base,
            swapped=self._swapped,
            in_use=self.queue.models,
        )
        self.engine = setting.engine(self)
        self.beat: Beat | None = None
        """What the engine said last of itself; None while there is none."""
        self.beat_at = 0.0
        """When it said so (time.monotonic)."""
        self.engine_problem = ""
        """Why the last engine ended, until the next one holds a model."""
        self.started = time.monotonic()
        self.requests = 0
        """Requests that ended, refused ones included."""
        self.requests_by_model: Counter[str] = Counter()
        self.answered_at: float | None = None
        """When the engine last gave a whole answer (time.monotonic)."""
        self._send: Callable[[Order], None] | None = None
        self._chore_problem = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._charges: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether requests of the stable name are being answered."""
        return self._send is not None and self.versions.current in self.versions.held

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong, by what it concerns: a version, current_model or the limits."""
        limits = self.limiter.problem
        return {**self.versions.problems, **({"limits": limits} if limits else {})}

    @property
    def has_engine(self) -> bool:
        """Whether an engine's process reads orders."""
        return self._send is not None

    def start(self) -> None:
        """
        Start the engine and the look at current_model.
        """
        self.layout.serving.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.layout.logs.mkdir(exist_ok=True)
        self.versions.look()
        self.engine.start()
        self._tasks = [
            asyncio.create_task(self.versions.watch(), name="current_model"),
            asyncio.create_task(self._keep_house(), name="chores"),
        ]
        self._write_state()

    async def close(self) -> None:
        """
        End the engine; what still runs fails. Removes state.json.
        """
        await self.queue.drain(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._charges, return_exceptions=True)
        await self.limiter.close()
        self._do_chores()
        await self.engine.close()
        self.layout.serving_state.unlink(missing_ok=True)

    def ended(self, record: Record) -> None:
        """
        Count one request and hand it to everybody who counts.
        """
        self.requests += 1
        if record.model:
            self.requests_by_model[record.model] += 1
        for meter in (self._signal, *self._setting.meters):
            meter.ended(record)

    async def admit(self, caller: Caller, most_tokens: int) -> dict[str, str]:
        """
        Count a request against its caller's tier, and return headers of its response.

        Raises:
            Refusal: 429: the caller has used up their minute.
        """
        found = await self.limiter.admit(caller, most_tokens=most_tokens)
        if isinstance(found, Refused):
            raise Refusal.of(found)
        return dict(found.headers)

    def charge(self, caller: Caller, tokens: int) -> None:
        """
        Count the tokens of an answer that has ended against its caller's tier.
        """
        task = asyncio.get_running_loop().create_task(self.limiter.spend(caller, tokens))
        self._charges.add(task)
        task.add_done_callback(self._charges.discard)

    def _swapped(self, version: str) -> None:
        self.cache.clear()
        self._signal.begin(version)

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(CHORE_SECONDS)
            self._do_chores()

    def _do_chores(self) -> None:
        problem = ""
        for chore in (self._signal.save, *self._setting.chores):
            try:
                chore()
            except OSError as error:  # a full disk must not stop the service
                problem = str(error)
        if problem and problem != self._chore_problem:
            log.warning("service_notes_not_written", reason=problem)
        self._chore_problem = problem

    def answered(self) -> None:
        """Remember that the engine gave a whole answer just now."""
        self.answered_at = time.monotonic()

    def engine_started(self, send: Callable[[Order], None]) -> None:
        """A new engine reads orders; requests are sent once it holds a model."""
        self._send = send
        if self.versions.current == AS_STARTED:
            self.cache.clear()  # it may have been started with another model than before

        def tell(hold: Hold) -> None:
            send(hold)

        self.versions.engine_started(tell)
        self._write_state()

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
            self.beat_at = time.monotonic()
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

    def _state(self) -> dict[str, object]:
        return {
            "pid": os.getpid(),
            "addresses": list(self._setting.addresses),
            "key": self._setting.local_key,
            "name": self.config.name,
            "engine": self.engine.pid,
            "engine_note": self.engine.note,
            "model": self.versions.current,
            "held": list(self.versions.held),
            "problems": self.problems,
            "engine_problem": self.engine_problem,
        }

    def _write_state(self) -> None:
        try:
            state = orjson.dumps(self._state())
            write_atomic(self.layout.serving_state, state, durable=False, mode=0o600)
        except OSError:
            pass  # a full disk must not stop the service; finetuned ask then loads the model itself
