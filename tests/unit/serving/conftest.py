"""
One gateway for the tests of a file: a start costs two processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from finetuned.config import ServingConfig
from support.gateway import Gateway, free_port, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """
    A running service over the fake engine, with embeddings on.
    """
    root: Path = tmp_path_factory.mktemp("root")
    config = ServingConfig(port=free_port(), chat_port=0, embeddings=True, request_seconds=20.0)
    with running_gateway(root, config) as running:
        yield running
