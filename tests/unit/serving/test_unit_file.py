"""
systemd/finetuned-serve.*: what systemd-analyze says of them, without booting anything.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[3] / "systemd"
SERVICE = SYSTEMD / "finetuned-serve.service"
SOCKET = SYSTEMD / "finetuned-serve.socket"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (package systemd)"
)


def verify(folder: Path, service: str, socket: str) -> str:
    program = "/opt/finetuned/.venv/bin/finetuned"
    (folder / SERVICE.name).write_text(service.replace(program, "/bin/true"))
    (folder / SOCKET.name).write_text(socket)
    result = subprocess.run(
        ["systemd-analyze", "verify", folder / SOCKET.name, folder / SERVICE.name],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


def exposure(folder: Path, text: str) -> float:
    unit = folder / SERVICE.name
    unit.write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"exposure level for .*: ([\d.]+)", result.stdout)
    assert found is not None, result.stdout
    return float(found[1])


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """
    A misspelled directive is ignored by systemd with a line in the log that nobody reads.
    """
    service, socket = SERVICE.read_text(), SOCKET.read_text()

    assert "" == verify(tmp_path, service, socket)
    assert "Unknown key" in verify(tmp_path, service.replace("PrivateTmp", "PrivateTemp"), socket)
    assert "Unknown key" in verify(tmp_path, service, socket.replace("Backlog", "Backlogs"))


def test_the_service_is_hardened(tmp_path: Path) -> None:
    """
    Exposure of at most 1.3 of 10 by systemd's own scale, also without the socket unit.
    """
    text = SERVICE.read_text()
    own_network = text.replace("PrivateNetwork=yes", "PrivateNetwork=no").replace(
        "RestrictAddressFamilies=AF_UNIX", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    )
    local = own_network.replace("IPAddressDeny=any", "IPAddressDeny=any\nIPAddressAllow=localhost")

    assert exposure(tmp_path, text) <= 1.3
    assert exposure(tmp_path, local) <= 1.3
    assert exposure(tmp_path, "[Service]\nExecStart=/bin/true\n") > 9


def test_nobody_else_reaches_it_unless_told() -> None:
    """
    Every address is this machine's.
    """
    found = re.findall(r"^ListenStream=(.*)$", SOCKET.read_text(), re.MULTILINE)

    assert ["127.0.0.1:9000", "127.0.0.1:4000"] == found
