"""
A cgroup with a memory limit, for a process that a test starts.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_MOUNT = Path("/sys/fs/cgroup")


@contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[Path]:
    """
    Yield a cgroup below this process's own; who writes its pid into cgroup.procs is in it.

    Skips the test if cgroups cannot be made here.
    """
    own = {
        controllers: name
        for _, controllers, name in (
            line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()
        )
    }
    if "memory" in own:
        parent, limit = _MOUNT / "memory" / own["memory"].lstrip("/"), "memory.limit_in_bytes"
    else:
        parent, limit = _MOUNT / own.get("", "/").lstrip("/"), "memory.max"
    folder = parent / f"finetuned-test-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        try:
            (folder / limit).write_text(str(limit_bytes))
        except OSError as error:
            pytest.skip(f"this cgroup cannot limit memory: {error}")
        yield folder
    finally:
        folder.rmdir()
