"""
What systemd hears, over a real datagram socket.
"""

import os
import socket

import pytest

from finetuned.process import notify


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """
    The receiving end, as systemd has it: a path, or Linux's abstract namespace.
    """
    name = str(tmp_path / "notify") if request.param == "path" else f"@finetuned-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(name.replace("@", "\0", 1))
        s.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield s


@pytest.mark.parametrize(
    ("call", "heard"),
    [
        (lambda: notify.ready("watching inbox/"), b"READY=1\nSTATUS=watching inbox/"),
        (lambda: notify.status("step 7"), b"STATUS=step 7"),
        (lambda: notify.watchdog(), b"WATCHDOG=1"),
        (lambda: notify.stopping("saving"), b"STOPPING=1\nSTATUS=saving"),
        (lambda: notify.extend_timeout(1.5), b"EXTEND_TIMEOUT_USEC=1500000"),
        (lambda: notify.status("a\nREADY=1"), b"STATUS=a\\nREADY=1"),
    ],
)
def test_each_message_is_one_datagram(manager, call, heard):
    """
    One assignment per line; a file name with a newline cannot add one of its own.
    """
    assert call() is True
    assert heard == manager.recv(4096)


@pytest.mark.parametrize("address", [None, "", "/nobody/listens", "vsock:2:1234", "@nobody"])
def test_without_a_listener_nothing_happens(monkeypatch, address):
    """
    Started by hand, or under a manager that died, the daemon just works.
    """
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)

    assert notify.ready("up") is False


def test_a_manager_that_reads_nothing_cannot_hang_the_loop(manager, monkeypatch):
    """
    Sending gives up when the queue is full instead of waiting for ever.
    """
    monkeypatch.setattr(notify, "SEND_SECONDS", 0.05)
    sent = 0
    while notify.watchdog():
        sent += 1

    assert 0 < sent < 100_000
