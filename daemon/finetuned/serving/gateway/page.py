"""
The live page: routes that show a root and change nothing.

One reader for all browsers looks once a second while a browser listens. Each browser is sent
the parts that differ from what it was sent before, already escaped. A slow browser gets fewer
looks, never a queue of them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import orjson
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from finetuned.core.text import visible
from finetuned.errors import FinetunedError
from finetuned.files.journal_view import JournalView
from finetuned.files.run import utc_now
from finetuned.layout import Layout
from finetuned.reports import html
from finetuned.reports.examples import differing_words
from finetuned.serving.gateway import detail
from finetuned.serving.gateway.headers import SECURITY
from finetuned.serving.gateway.live import LiveReader
from finetuned.serving.gateway.snapshot import Curve, Example, Snapshot

HEADERS: Final = dict(SECURITY)
LOOK_SECONDS = 1.0

_REPORTS = Path(html.__file__).parent
STATIC: Final = {
    "page.css": (_REPORTS / "templates" / "page.css", "text/css"),
    "live.css": (_REPORTS / "static" / "live.css", "text/css"),
    "live.js": (_REPORTS / "static" / "live.js", "text/javascript"),
    "uPlot.min.css": (_REPORTS / "static" / "uPlot.min.css", "text/css"),
    "uPlot.iife.min.js": (_REPORTS / "static" / "uPlot.iife.min.js", "text/javascript"),
}
PARTS: Final = (
    *("now", "unreadable", "examples", "queue", "versions", "forgetting", "host"),
    *("incidents", "log"),
)


class LivePage:
    """
    What browsers are shown of one root. Owns a reader.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        name: str = "finetuned",
        closing: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            layout: Of the root.
            name: At the head of the page.
            closing: Returns whether the service ends; streams then end within LOOK_SECONDS, so
                that an open page does not hold it up.
        """
        self._layout = layout
        self._name = name
        self._closing = closing
        self._reader = LiveReader(layout)
        self._looking = asyncio.Lock()
        self._looked = -LOOK_SECONDS
        self._snapshot = Snapshot()
        self._parts: dict[str, tuple[object, str]] = {}

    async def look(self) -> Snapshot:
        """
        Return the root as it is, at most LOOK_SECONDS old.
        """
        async with self._looking:
            clock = asyncio.get_running_loop().time()
            if clock - self._looked >= 0.9 * LOOK_SECONDS:
                self._snapshot = await asyncio.to_thread(self._reader.look)
                self._looked = clock
            return self._snapshot

    def rendered(self, part: str, snapshot: Snapshot) -> str:
        """
        Return one part as HTML, made anew only if it changed.
        """
        value = getattr(snapshot, part)
        known = self._parts.get(part)
        if known is None or known[0] != value:
            shown = [_diff(e) for e in value] if part == "examples" else value
            known = (value, html.part("live_parts.html", part, shown))
            self._parts[part] = known
        return known[1]

    async def index(self, _: Request) -> Response:
        """
        Answer with the whole page.
        """
        snapshot = await self.look()
        curves = _curves(snapshot.curves)
        values = {
            "title": _title(self._name, snapshot),
            "name": self._name,
            "parts": {p: Markup(self.rendered(p, snapshot)) for p in PARTS},  # noqa: S704
            "has_curves": bool(curves),
            "has_loss": "loss" in curves,
            "has_accuracy": "accuracy" in curves,
            # In a script element nothing is unescaped, so that only "<" could end it.
            "curves": Markup(orjson.dumps(curves).decode().replace("<", "\\u003c")),  # noqa: S704
        }
        return HTMLResponse(html.served("live.html", values), headers=HEADERS)

    async def events(self, request: Request) -> Response:
        """
        Answer with a stream of what changed, and a sign of life every LOOK_SECONDS.
        """
        return StreamingResponse(
            self._stream(request), media_type="text/event-stream", headers=HEADERS
        )

    async def _stream(self, request: Request) -> AsyncIterator[bytes]:
        sent: dict[str, str] = {}
        curves: tuple[Curve, ...] | None = None
        yield b"retry: 1000\n\n"
        while not (self._closing() or await request.is_disconnected()):
            snapshot = await self.look()
            said: dict[str, Any] = {"now": utc_now(), "title": _title(self._name, snapshot)}
            parts = {part: self.rendered(part, snapshot) for part in PARTS}
            said["sections"] = {p: text for p, text in parts.items() if sent.get(p) != text}
            sent = parts
            if snapshot.curves != curves:
                curves = snapshot.curves
                said["curves"] = orjson.dumps(_curves(curves)).decode()
            yield b"event: live\ndata: " + orjson.dumps(said) + b"\n\n"
            await asyncio.sleep(LOOK_SECONDS)

    async def snapshot(self, _: Request) -> Response:
        """
        Answer with the snapshot as JSON.
        """
        return Response(
            orjson.dumps(await self.look()), media_type="application/json", headers=HEADERS
        )

    async def versions(self, _: Request) -> Response:
        """
        Answer with all versions.
        """
        snapshot = await self.look()
        values = {"title": "versions", "name": self._name, "found": snapshot.versions}
        return HTMLResponse(html.served("live_versions.html", values), headers=HEADERS)

    async def version(self, request: Request) -> Response:
        """
        Answer with the page of one version.
        """
        name = request.path_params["name"]
        return await self._detail("live_version.html", name, detail.version_values)

    async def dataset(self, request: Request) -> Response:
        """
        Answer with the page of one dropped file.
        """
        key = request.path_params["key"]
        return await self._detail("live_dataset.html", key, detail.dataset_values)

    async def _detail(
        self,
        template: str,
        name: str,
        read: Callable[[Layout, JournalView, str], dict[str, object] | None],
    ) -> Response:
        def values() -> dict[str, object] | None:
            journal = JournalView(self._layout.journal)
            try:
                return read(self._layout, journal, name)
            finally:
                journal.close()

        try:
            found = await asyncio.to_thread(values)
        except FileNotFoundError:
            found = None
        except (FinetunedError, sqlite3.Error, OSError) as error:
            raise HTTPException(503, f"the journal cannot be read: {error}") from error
        if found is None:
            raise HTTPException(404, "there is nothing of that name here")
        page = html.served(template, {"title": name, "name": self._name, **found})
        return HTMLResponse(page, headers=HEADERS)

    async def static(self, request: Request) -> Response:
        """
        Answer with one of our own files.
        """
        known = STATIC.get(request.path_params["file"])
        if known is None:
            raise HTTPException(404)
        return FileResponse(known[0], media_type=known[1], headers=HEADERS)

    def close(self) -> None:
        """
        Close what was opened for reading.
        """
        self._reader.close()

    def routes(self) -> list[BaseRoute]:
        """
        Return the routes but index(), to be put into an application that answers errors.
        """
        return [
            Route("/live/events", self.events),
            Route("/live/snapshot", self.snapshot),
            Route("/versions", self.versions),
            Route("/versions/{name}", self.version),
            Route("/datasets/{key}", self.dataset),
            Route("/static/{file}", self.static),
        ]

    def alone(self) -> Starlette:
        """
        Return an application that has these routes and no other.
        """
        return Starlette(routes=[Route("/", self.index), *self.routes()])


def _diff(example: Example) -> dict[str, object]:
    """Return an example with its answer in pieces: same, ins or del."""
    words = differing_words(example.golden, example.answer)
    return {
        "step": example.step,
        "file": example.file,
        "prompt": example.prompt,
        "golden": example.golden,
        "right": example.right,
        "words": [(what, visible(text)) for what, text in words],
    }


def _title(name: str, snapshot: Snapshot) -> str:
    return f"{snapshot.now.headline} - {name}"


def _curves(curves: tuple[Curve, ...]) -> dict[str, Curve]:
    """Return the curves by the place where the page draws them."""
    return {("accuracy" if c.unit == "evaluation" else "loss"): c for c in curves}
