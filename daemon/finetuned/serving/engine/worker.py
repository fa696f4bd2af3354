"""
The engine process: orders from a socket, reports to it, and one pass after the other between.

Started as ``python -m finetuned.serving.engine.worker --fd N --settings JSON``, where N is a
Unix socket that it inherits: what libraries print cannot get into it. It ends when the socket
does, or on SIGTERM; requests that were begun are then answered with a failure.

Exit status: 0 the socket has ended or SIGTERM came, 70 a bug or a line that no gateway of
this version writes, 78 this machine lacks the configured device.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final

import orjson
import psutil
import torch

import finetuned.model.lean_imports  # noqa: F401 - before the libraries it is about
from finetuned.core.generation import (
    Beat,
    Cancel,
    Embed,
    EngineSettings,
    Generate,
    Hold,
    Order,
    Report,
)
from finetuned.core.record import from_json
from finetuned.errors import EXIT_CONFIG, EXIT_OK, EXIT_SOFTWARE, ConfigError, RecordError
from finetuned.model.load import pick_device
from finetuned.process.channel import MAX_LINE_BYTES, Channel
from finetuned.serving.engine.scheduler import Scheduler
from finetuned.serving.engine.swap import Loaded, Models
from finetuned.telemetry.log import configure

BEAT_SECONDS: Final = 1.0


class SocketEnded(Exception):
    """
    The gateway has closed its end.
    """


_Event = Order | Loaded | Exception | None
"""None: SIGTERM came."""


class Engine:
    """
    The loop of the process.
    """

    def __init__(self, connection: socket.socket, settings: EngineSettings) -> None:
        self._connection = connection
        self._events: SimpleQueue[_Event] = SimpleQueue()
        self._reports: Channel[Report] = Channel(Report, "engine")
        self._unsent = bytearray()
        self._scheduler = Scheduler(settings, self._write)
        self._models = Models(settings, self._events.put)
        self._device = settings.device
        self._next_beat = 0.0

    def run(self) -> int:
        """
        Work until the socket ends or SIGTERM comes, and return the exit status.
        """
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the gateway's to act on
        threading.Thread(target=self._read, name="orders", daemon=True).start()
        more = False
        try:
            while True:
                self._beat_if_due()
                self._send()
                if not self._take_events(wait=not more):
                    self._scheduler.end_all("the engine was stopped; ask again")
                    self._send()
                    return EXIT_OK
                more = self._scheduler.step()
        except (SocketEnded, ConnectionError):
            return EXIT_OK

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._events.put(None)

    def _read(self) -> None:
        """Put the orders into the queue; the reading thread."""
        orders: Channel[Order] = Channel(Order, "gateway")
        rest = b""
        try:
            while data := self._connection.recv(1 << 16):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > MAX_LINE_BYTES:
                    raise RecordError("gateway", "", f"a line of more than {MAX_LINE_BYTES} bytes")
                for line in lines:
                    self._events.put(orders.decode(line))
        except Exception as error:  # raised in the main thread, which ends the process
            self._events.put(error)
        else:
            self._events.put(SocketEnded())

    def _take_events(self, *, wait: bool) -> bool:
        """
        Do all that is ordered by now; with *wait*, wait for an order until the next beat.

        Returns:
            False if SIGTERM came.
        """
        try:
            left = max(0.0, self._next_beat - time.monotonic())
            event = self._events.get(block=wait, timeout=left if wait else None)
            while event is not None:
                self._do(event)
                event = self._events.get_nowait()
        except Empty:
            return True
        return False

    def _do(self, event: Order | Loaded | Exception) -> None:
        match event:
            case Generate():
                held = self._models.get(event.model)
                self._scheduler.submit(event, None if held is None else held.served_for(event))
            case Embed():
                held = self._models.get(event.model)
                self._scheduler.embed(event, None if held is None else held.own)
            case Cancel():
                self._scheduler.cancel(event.id)
            case Hold():
                self._write(self._models.want(event))
            case Loaded():
                if event.held is not None:
                    self._device = str(event.held.own.lm.device)
                self._write(self._models.loaded(event))
            case Exception():
                raise event

    def _beat_if_due(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_SECONDS
            self._write(
                Beat(
                    running=self._scheduler.running,
                    waiting=self._scheduler.waiting,
                    cache_bytes=self._scheduler.reserved_bytes(),
                    cache_limit=self._scheduler.cache_limit,
                    device=self._device,
                )
            )

    def _write(self, report: Report) -> None:
        self._unsent += self._reports.encode(report)

    def _send(self) -> None:
        if self._unsent:
            self._connection.sendall(self._unsent)
            self._unsent.clear()


def main(argv: list[str] | None = None) -> int:
    """
    Run the engine; see the module's text for arguments and exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m finetuned.serving.engine.worker")
    parser.add_argument("--fd", type=int, required=True, help="the inherited socket")
    parser.add_argument("--settings", default="{}", help="EngineSettings as JSON")
    arguments = parser.parse_args(argv)
    settings = from_json(EngineSettings, orjson.loads(arguments.settings), source="--settings")
    connection = socket.socket(fileno=arguments.fd)
    configure(None, console=True)
    # One core is left to the gateway: a product waits for the slowest of its threads.
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    try:
        return Engine(connection, _sized(settings)).run()
    except (RecordError, ConfigError) as error:
        print(f"engine: {error}", file=sys.stderr)
        return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_SOFTWARE


def _sized(settings: EngineSettings) -> EngineSettings:
    """Return *settings* with a memory for keys and values, if it is left to the machine."""
    if settings.kv_bytes:
        return settings
    device = pick_device(settings.device)
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    return replace(settings, kv_bytes=free // 4)


if __name__ == "__main__":
    raise SystemExit(main())
