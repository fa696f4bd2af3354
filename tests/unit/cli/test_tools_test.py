"""
tools/test says what it can do without doing it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_printed_and_nothing_is_installed(option: str) -> None:
    """
    Whoever asks for help may have no network.
    """
    found = subprocess.run(
        [TOOLS / "test", option], capture_output=True, text=True, check=True, timeout=20
    )

    assert "" == found.stderr
    for word in ("tools/test unit", "FINETUNED_KILLS", "Exit status: 0"):
        assert word in found.stdout
