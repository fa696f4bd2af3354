"""
A real Chromium, and the live page of a root served to it.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import uvicorn

from finetuned.layout import Layout
from finetuned.serving.gateway.page import LivePage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """
    Run a browser without a window; skips the test if there is none.
    """
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra test)")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("needs a Chromium (Debian: chromium; or set CHROMIUM to its path)")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # it refuses to be root with one
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@contextmanager
def served(layout: Layout, *, name: str = "finetuned") -> Iterator[tuple[str, uvicorn.Server]]:
    """
    Serve the live page of *layout* on a free port of loopback; yield its address.
    """
    page = LivePage(layout, name=name, closing=lambda: server.should_exit)
    config = uvicorn.Config(page.alone(), port=0, log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="live page", daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the page cannot be served"
        assert time.monotonic() < end, "the page is not served after 30 s"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        thread.join(30)
        page.close()
