"""
Any server with OpenAI's interface as the engine: vLLM, SGLang, llama.cpp, another gateway.

Looks at it once a second and takes it for gone if it does not answer; then requests that had
not begun wait for it. Each request is a task of its own: to cancel it closes its connection.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import structlog

from finetuned.config import Config
from finetuned.core.generation import (
    Beat,
    Cancel,
    Embed,
    Embedded,
    Failed,
    FailureKind,
    Finished,
    Generate,
    HeldModel,
    Hold,
    Holding,
    JsonObject,
    Order,
)
from finetuned.serving.gateway.engines.interface import EngineMaker, Owner
from finetuned.serving.gateway.engines.openai_connection import Connection, Refused, Unreachable
from finetuned.serving.gateway.engines.openai_models import ServerModels
from finetuned.serving.gateway.engines.openai_shapes import (
    KNOW_TEMPLATE_ARGUMENTS,
    AnswerReader,
    embedded,
    embedding_request,
    request,
)

log = structlog.get_logger()

LOOK_SECONDS = 1.0
ALIVE_SECONDS = 2.0
"""How long a server may take to show that it lives after it dropped a connection."""


def server_engine(config: Config, key: str | None) -> EngineMaker:
    """
    Return what makes an engine of the server at ``serving.engine``.

    Args:
        config: All of it.
        key: For the server, None if it wants none.
    """
    return lambda owner: OpenAIServer(config, key, owner)


class OpenAIServer:
    """
    Stays connected to one server until close().
    """

    def __init__(self, config: Config, key: str | None, owner: Owner) -> None:
        serving = config.serving
        self._owner = owner
        self.place = serving.engine
        self._connection = Connection(serving.engine.rstrip("/"), key)
        self._models = ServerModels(
            self._connection, name=serving.name, patience=serving.engine_stuck_seconds
        )
        self._template: JsonObject = {"enable_thinking": config.model.enable_thinking}
        self._wanted: tuple[HeldModel, ...] = ()
        self._told: Holding | None = None
        self._lost = ""
        """Why the server is gone, if a request was the first to see it."""
        self._changed = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self.starts = 0
        """How often it was connected to."""

    @property
    def note(self) -> str:
        """Whether nobody knows which model answers."""
        return self._models.note

    @property
    def pid(self) -> int | None:
        """None: others started it."""
        return None

    def start(self) -> None:
        """
        Begin to connect.
        """
        self._task = asyncio.create_task(self._stay_connected(), name="engine")

    async def close(self) -> None:
        """
        Leave; the server goes on.
        """
        tasks = [task for task in (self._task, *self._running.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._connection.close()

    async def _stay_connected(self) -> None:
        said = None
        while True:
            starts = self.starts
            try:
                await self._serve()
            except Unreachable as error:
                why = str(error)
            except Exception as error:  # a bug, or an answer that no server should give
                log.exception("engine_failed", engine=self.place)
                why = f"{type(error).__name__}: {error}"
            if self.starts > starts or why != said:
                said = why
                self._end(why)
            await asyncio.sleep(LOOK_SECONDS)

    async def _serve(self) -> None:
        """Use the server as long as it is there."""
        await self._models.connect()
        self._lost = ""
        self.starts += 1
        log.info("engine_connected", engine=self.place, server=self._models.owner)
        self._owner.engine_started(self._send)
        self._told = None
        while not self._lost:
            self._changed.clear()
            holding = await self._models.settle(self._wanted)
            if holding != self._told:
                self._told = holding
                self._owner.engine_wrote(holding)
            self._beat()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                await self._models.look()
        raise Unreachable(self._lost)

    def _end(self, why: str) -> None:
        """Leave all questions to the queue, which asks those again that had not begun."""
        tasks, self._running = self._running, {}
        for task in tasks.values():
            task.cancel()
        self._owner.engine_ended(why)
        log.error("engine_unreachable", reason=why)

    def _lose(self, why: str) -> None:
        """Connect anew."""
        self._lost = why
        self._changed.set()

    def _beat(self) -> None:
        running = len(self._running)
        beat = Beat(running=running, waiting=0, cache_bytes=0, cache_limit=0, device=self.place)
        self._owner.engine_wrote(beat)

    def _send(self, order: Order) -> None:
        match order:
            case Hold():
                self._wanted = order.models
                self._models.try_again()
                self._told = None  # whoever wants to know is answered, even if nothing changes
                self._changed.set()
            case Cancel():
                if (task := self._running.get(order.id)) is not None:
                    task.cancel()
            case Generate() | Embed():
                self._running[order.id] = asyncio.create_task(self._answer(order))

    async def _answer(self, order: Generate | Embed) -> None:
        """Ask, and report one end unless the server is gone."""
        task = asyncio.current_task()
        try:
            end = await self._outcome(order)
        except asyncio.CancelledError:
            message = "the client has gone"
            end = Failed(id=order.id, kind=FailureKind.CANCELLED, message=message)
        if end is None or self._running.get(order.id) is not task:
            return
        del self._running[order.id]
        self._owner.engine_wrote(end)

    async def _outcome(self, order: Generate | Embed) -> Finished | Embedded | Failed | None:
        """Return the end of a request; None if the server is gone, which ends all of them."""
        seconds = order.seconds if isinstance(order, Generate) else None
        try:
            async with asyncio.timeout(seconds):
                model = self._models.id_of(order.model)
                if model is None:
                    return _failed(order, FailureKind.NO_MODEL, f"{order.model} is not loaded")
                if isinstance(order, Embed):
                    path, body = embedding_request(order, model)
                    return embedded(order, await self._connection.post(path, body))
                return await self._generate(order, model)
        except TimeoutError:
            message = f"the answer was not whole within {seconds:.3g} s; ask for fewer tokens"
            return _failed(order, FailureKind.DEADLINE, message)
        except Refused as refused:
            if refused.status == 404 and self._models.is_adapter(order.model):
                self._lose(f"it has forgotten {order.model}; it was started again")
                return None
            return _failed(order, refused.kind, refused.message, refused.field)
        except Unreachable as error:
            return await self._dropped(order, str(error))
        except Exception as error:
            log.exception("engine_failed", engine=self.place)
            return _failed(order, FailureKind.ENGINE, f"a bug in the service: {error}")

    async def _generate(self, order: Generate, model: str) -> Finished | Failed:
        loop = asyncio.get_running_loop()
        began, first = loop.time(), 0.0
        knows = self._models.owner in KNOW_TEMPLATE_ARGUMENTS
        path, body = request(order, model, self._template if knows else None)
        reader = AnswerReader(order)
        async with aclosing(self._connection.stream(path, body)) as chunks:
            async for chunk in chunks:
                piece = reader.read(chunk)
                if piece is not None:
                    first = first or loop.time() - began
                    self._owner.engine_wrote(piece)
        return reader.end(seconds=loop.time() - began, seconds_to_first=first)

    async def _dropped(self, order: Generate | Embed, why: str) -> Failed | None:
        """Tell a lost connection from a lost server."""
        try:
            await self._connection.models(ALIVE_SECONDS)
        except Unreachable as error:
            self._lose(str(error))
            return None
        message = f"the connection to the engine was lost ({why}); ask again"
        return _failed(order, FailureKind.UNAVAILABLE, message)


def _failed(
    order: Generate | Embed, kind: FailureKind, message: str, field: str | None = None
) -> Failed:
    return Failed(id=order.id, kind=kind, message=message, field=field)
