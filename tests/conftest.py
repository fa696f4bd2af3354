from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from collections.abc import Generator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

MOST_MEMORY = 6 << 30
"""Bytes that a test process, and each process it starts, may allocate; most take below 1 GiB."""


def _limit_memory(most_bytes: int) -> None:
    if not Path("/dev/nvidiactl").exists():  # CUDA reserves far more than it uses
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, hard))


def pytest_configure() -> None:
    """
    Limit the memory of tests, and let Ctrl-C interrupt them wherever they were started.

    Without a limit the kernel kills the whole test process, and nobody learns which test it was.
    A shell starts what it puts into the background with SIGINT ignored: tests that send one to
    themselves would wait for ever.
    """
    _limit_memory(MOST_MEMORY)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Leave out what holds a law once more in another setting, unless FINETUNED_LONG is set.
    """
    if os.environ.get("FINETUNED_LONG"):
        return
    left_out = pytest.mark.skip(reason="a law that another test holds: FINETUNED_LONG=1 runs it")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """
    Fail a test that ran out of memory with the place where it did, and let go of its values.
    """
    try:
        return (yield)
    except MemoryError as error:
        _limit_memory(MOST_MEMORY + (1 << 30))  # for the report
        place = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)[-4:]))
    pytest.fail(f"out of memory (limit {MOST_MEMORY >> 30} GiB) in\n{place}", pytrace=False)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A tiny base model, made once per test session.
    """
    from support.tiny_base import make_tiny_base

    return make_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    """
    The folder whose files are the faults of the next worker.
    """
    folder = tmp_path / "faults"
    folder.mkdir()
    return folder
