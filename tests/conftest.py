from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


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
