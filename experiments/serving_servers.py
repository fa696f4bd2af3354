"""
The servers that are measured: `finetuned serve`, and `transformers serve` with the same weights.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

from finetuned.config import load_config
from finetuned.files.model_manifest import read_model_manifest
from finetuned.layout import Layout
from finetuned.process.environment import child_environment
from finetuned.registry.current_model import linked_version
from finetuned.registry.weights import weights_of

START_SECONDS = 180.0
TRANSFORMERS = "from transformers.cli.transformers import app; app()"

CONFIG = """\
[model]
base = "{base}"

[serving]
cache_bytes = 0
max_queue = 256
kv_bytes = {kv_bytes}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """
    One that answers.
    """

    port: int
    model: str
    """What requests name."""
    key: str
    processes: dict[str, psutil.Process]
    """By what they do."""

    def cpu_seconds(self) -> dict[str, float]:
        """
        Return what each process has used since its start.
        """
        times = {name: process.cpu_times() for name, process in self.processes.items()}
        return {name: t.user + t.system for name, t in times.items()}

    def memory(self) -> dict[str, int]:
        """
        Return the resident bytes of each process.
        """
        return {name: process.memory_info().rss for name, process in self.processes.items()}


def make_root(folder: Path, root: Path | None, *, kv_bytes: int) -> str:
    """
    Make *folder* a root that serves what *root* does, without its settings and its cache.

    Returns:
        The name of the version; ``base`` without a root or a version.
    """
    layout = Layout(folder)
    layout.models.mkdir(parents=True)
    version, base = None, "micro"
    if root is not None:
        given = Layout(root.resolve())
        version, base = linked_version(given), load_config(given.config).model.base
        if given.bases.is_dir():
            layout.bases.symlink_to(given.bases)
    if version is not None:
        found: str | None = version
        while found is not None:  # an adapter may sit on a consolidated version
            shutil.copytree(given.versions / found, layout.versions / found)
            found = read_model_manifest(layout.versions / found).base_version
        layout.current_model.symlink_to(layout.versions.relative_to(folder) / version)
    layout.config.write_text(CONFIG.format(base=base, kv_bytes=kv_bytes))
    return version or "base"


def write_merged(root: Path, folder: Path) -> None:
    """
    Write what *root* serves as one model in float32, which is what our engine computes in.
    """
    from transformers import PreTrainedTokenizerFast

    from finetuned.model.load import load_version

    config = load_config(Layout(root).config).model
    where = weights_of(Layout(root), linked_version(Layout(root)), config.base)
    model = load_version(where.base, where.folder, config)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    model.save_pretrained(folder)
    PreTrainedTokenizerFast.from_pretrained(where.base).save_pretrained(folder)


@contextmanager
def ours(root: Path) -> Iterator[Server]:
    """
    Run ``finetuned serve`` on a root.
    """
    port = _free_port()
    command = [sys.executable, "-m", "finetuned", "serve", "--root", str(root)]
    with _running([*command, "--port", str(port), "--chat-port", "0"]) as process:

        def state() -> Server | None:
            try:
                said = json.loads(Layout(root).serving_state.read_bytes())
            except (OSError, ValueError):
                return None
            if said["pid"] != process.pid or said["model"] is None:
                return None
            parts = {
                "gateway": psutil.Process(process.pid),
                "engine": psutil.Process(said["engine"]),
            }
            return Server(port, said["name"], said["key"], parts)

        yield _wait(process, state)


@contextmanager
def transformers_serve(model: Path, *options: str) -> Iterator[Server]:
    """
    Run ``transformers serve`` on a model's folder.
    """
    port = _free_port()
    command = [sys.executable, "-c", TRANSFORMERS, "serve", str(model), "--host", "127.0.0.1"]
    more = ["--port", str(port), "--device", "cpu", "--dtype", "float32", *options]
    with _running([*command, *more]) as process:

        def healthy() -> Server | None:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status != 200:
                    return None
            except (OSError, HTTPException):
                return None
            finally:
                connection.close()
            return Server(port, str(model), "", {"server": psutil.Process(process.pid)})

        yield _wait(process, healthy)


@contextmanager
def _running(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the end of the block; what it prints is shown if it does not start."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if "SHOW" not in os.environ else None,
        env=child_environment(HF_HUB_OFFLINE="1"),
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], found: Callable[[], Server | None]) -> Server:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        server = found()
        if server is not None:
            return server
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} did not start; with SHOW=1 it is seen why")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
