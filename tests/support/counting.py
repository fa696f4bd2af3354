"""
A real redis-server for one test, in which gateways count (redis.py would hide the library).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """
    Run a server on a socket in *folder*, and return the URI for ``serving.limits_store``.

    Debian's redis-tools has the server under the name of redis-check-rdb; it is what it is
    called as. Debian's redis-server adds that name, and starts one for the whole machine.
    """
    found = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    if found is None:
        pytest.skip("needs redis-server (Debian: redis-tools)")
    path = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(
        ["redis-server", *options], executable=found, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    for line in server.stdout:
        if "ready to accept connections" in line.lower():
            break
    try:
        yield f"redis+unix://{path}"
    finally:
        server.terminate()
        server.communicate(timeout=10)
