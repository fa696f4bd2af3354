"""
systemd/finetuned-report.*: what systemd-analyze says of them, without booting anything.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
SERVICE = SYSTEMD / "finetuned-report.service"
TIMER = SYSTEMD / "finetuned-report.timer"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (package systemd)"
)


def verify(folder: Path, service: str) -> str:
    text = service.replace("/opt/finetuned/.venv/bin/finetuned", "/bin/true")
    (folder / SERVICE.name).write_text(text)
    (folder / TIMER.name).write_text(TIMER.read_text())
    result = subprocess.run(
        ["systemd-analyze", "verify", folder / TIMER.name, folder / SERVICE.name],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


def test_systemd_understands_every_line_and_the_unit_is_hardened(tmp_path: Path) -> None:
    """
    A misspelled directive is seen; the unit that alone has the network may do little else.
    """
    service = SERVICE.read_text()

    assert "" == verify(tmp_path, service)
    assert "Unknown key" in verify(tmp_path, service.replace("PrivateTmp", "PrivateTemp"))
    (tmp_path / SERVICE.name).write_text(service)
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", tmp_path / SERVICE.name],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.search(r"exposure level for .*: ([\d.]+)", said)
    assert found is not None
    assert float(found[1]) <= 1.5
