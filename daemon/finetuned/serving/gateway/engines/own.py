"""
Our engine, a child process: started, spoken to over a socket pair, started again if it ends.

Its standard output goes to a log, so that what a library prints cannot come between the lines
of the protocol. The end of the socket is the end of the gateway for it, even after SIGKILL.
Does not know what the lines say, but that an engine which is silent for long is stuck.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import structlog

from finetuned.core.generation import EngineSettings, Order, Report
from finetuned.core.record import to_json
from finetuned.errors import RecordError
from finetuned.process.channel import MAX_LINE_BYTES, Channel
from finetuned.process.environment import child_environment
from finetuned.serving.gateway.engines.interface import EngineMaker, Owner

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 15.0
"""Pauses before a start double from the first to the longest while engines end at once."""
STEADY_SECONDS = 60.0
"""An engine that lived this long did work: the pauses begin anew."""
FIRST_LINE_SECONDS = 300.0
"""An engine says nothing while it imports its libraries, which takes long on a busy machine."""
LEAVE_SECONDS = 5.0
"""How long an engine may take to leave once its socket is closed; then SIGKILL."""

Command = Callable[[int], Sequence[str]]
"""Returns the arguments of the engine's process, given the descriptor that it inherits."""


def engine_command(settings: EngineSettings) -> Command:
    """
    Return the command of this program's engine.
    """
    told = orjson.dumps(to_json(settings)).decode()
    module = "finetuned.serving.engine.worker"
    return lambda fd: (sys.executable, "-m", module, "--fd", str(fd), "--settings", told)


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineProcess:
    """
    How the engine is started, and when it counts as stuck.
    """

    command: Command
    cwd: Path
    log: Path
    """What its standard output and error are appended to."""
    stuck_seconds: float


def own_engine(process: EngineProcess) -> EngineMaker:
    """
    Return what makes the engine of a service.
    """
    return lambda owner: OwnEngine(process, owner)


class OwnEngine:
    """
    Keeps one engine running until close().
    """

    def __init__(self, process: EngineProcess, owner: Owner) -> None:
        self._process = process
        self._owner = owner
        self._child: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._orders = Channel[Order](Order, "gateway")
        self._reports = Channel[Report](Report, "engine")
        self._task: asyncio.Task[None] | None = None
        self.starts = 0
        """Engines started so far."""

    @property
    def place(self) -> str:
        """Always ``own``."""
        return "own"

    @property
    def note(self) -> str:
        """Nothing: every answer is of the version that it is labelled with."""
        return ""

    @property
    def pid(self) -> int | None:
        """The engine's process; None while there is none."""
        return self._child.pid if self._child and self._child.returncode is None else None

    def start(self) -> None:
        """
        Begin; returns before the engine runs.
        """
        self._task = asyncio.create_task(self._keep_running(), name="engine")

    async def close(self) -> None:
        """
        Close the socket, which asks the engine to leave, and wait for it.
        """
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_running(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                why = await self._run_one()
            except OSError as error:
                why = f"it could not be started: {error}"
            lived = loop.time() - began
            self._owner.engine_ended(why)
            log.error("engine_ended", reason=why, lived_seconds=round(lived, 1))
            pause = FIRST_PAUSE_SECONDS if lived > STEADY_SECONDS else pause
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _run_one(self) -> str:
        """Run one engine to its end and return why it ended."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                self._child = await self._spawn(theirs)
            self.starts += 1
            ours.setblocking(False)
            reader, self._writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
        except BaseException:
            ours.close()
            raise
        log.info("engine_started", pid=self._child.pid, starts=self.starts)
        try:
            self._owner.engine_started(self._send)
            return await self._read(reader)
        finally:
            self._writer.close()
            self._writer = None
            await self._reap(self._child)

    async def _spawn(self, theirs: socket.socket) -> asyncio.subprocess.Process:
        with self._process.log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *self._process.command(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._process.cwd,
                env=child_environment(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false"),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    async def _read(self, reader: asyncio.StreamReader) -> str:
        """Hand on line after line; return why there will be no more."""
        silent = self._process.stuck_seconds
        patience = max(silent, FIRST_LINE_SECONDS)
        while True:
            try:
                async with asyncio.timeout(patience):
                    line = await reader.readline()
            except TimeoutError:
                return f"it said nothing for {patience:g} s (serving.engine_stuck_seconds)"
            except ConnectionError:  # it died with orders unread
                return await self._why_gone()
            except ValueError as error:
                return f"its socket failed: {error}"
            if not line.endswith(b"\n"):
                return await self._why_gone()
            try:
                report = self._reports.decode(line)
            except RecordError as error:
                return f"it wrote what this gateway does not know: {error}"
            patience = silent
            self._owner.engine_wrote(report)

    async def _why_gone(self) -> str:
        """Name the exit status, which comes a moment after the end of the socket."""
        assert self._child is not None  # noqa: S101
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                status = await self._child.wait()
        except TimeoutError:
            return "it closed its socket and did not leave"
        file = self._process.log
        where = f"see {file.parent.name}/{file.name}"  # clients are told this too
        if status < 0:
            return f"killed by {signal.Signals(-status).name}; {where}"
        return f"exit status {status}; {where}"

    async def _reap(self, child: asyncio.subprocess.Process) -> None:
        """Wait for a child whose socket is closed, and kill its group if it stays."""
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await child.wait()
        except (TimeoutError, asyncio.CancelledError):
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            await child.wait()

    def _send(self, order: Order) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(self._orders.encode(order))
