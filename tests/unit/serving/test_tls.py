"""
The certificate is read again when its files change; a wrong one leaves the old in use.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from finetuned.errors import ConfigError
from finetuned.serving.gateway.tls import Certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def make(folder: Path, name: str, *, password: str = "") -> None:
    protect = ["-passout", f"pass:{password}"] if password else ["-nodes"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", f"/CN={name}"]
    subprocess.run([*command, *protect, *files, "-days", "2"], check=True, capture_output=True)


def subject(certificate: Certificate) -> bytes:
    """Return the certificate that a client is shown."""
    ours, theirs = socket.socketpair()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE

    def serve() -> None:
        with certificate.context.wrap_socket(theirs, server_side=True) as served:
            served.recv(1)

    server = threading.Thread(target=serve)
    server.start()
    with client.wrap_socket(ours) as connection:
        found = connection.getpeercert(binary_form=True)
        connection.sendall(b"x")
    server.join(10)
    assert found is not None
    return found


def test_new_files_are_taken_and_wrong_ones_are_not(tmp_path: Path) -> None:
    """
    Connections that begin after the change see the new certificate.
    """
    make(tmp_path, "one")
    certificate = Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert b"one" in subject(certificate)

    make(tmp_path, "two")
    certificate.renew()
    assert b"two" in subject(certificate)

    (tmp_path / "cert.pem").write_text("no certificate")
    certificate.renew()
    assert b"two" in subject(certificate)


def test_files_that_cannot_be_used_end_the_start(tmp_path: Path) -> None:
    """
    One that is missing, or a key with a password: nobody can type one into a service.
    """
    with pytest.raises(ConfigError, match=r"serving\.tls_cert"):
        Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
    make(tmp_path, "one", password="secret")
    with pytest.raises(ConfigError, match=r"serving\.tls_cert"):
        Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
