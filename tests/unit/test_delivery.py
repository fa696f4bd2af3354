"""
Messages arrive at a real mail server and a real webhook, late rather than never.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer

import orjson
import pytest

from finetuned.core.delivery import DeliveryState, is_given_up, next_try
from finetuned.files.journal import Journal
from finetuned.reports.daily.deliver import deliver_due
from finetuned.reports.daily.message import Message, packed

pytest.importorskip("apprise")
pytest.importorskip("aiosmtpd")

PICTURE = b"\x89PNG picture"
HTML = '<html><body><h1>Training Summary</h1><img src="cid:curves.png"></body></html>'
MESSAGE = Message(text="told", markdown="# told\n- a\\_b", short="told", html=HTML)


@pytest.fixture
def journal(tmp_path):
    with closing(Journal(tmp_path / "journal.sqlite3")) as journal:
        yield journal


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@contextmanager
def mail_server(port):
    """
    Run a mail server on this machine and yield the mails that it took.
    """
    from aiosmtpd.controller import Controller

    mails = []

    class Keep:
        async def handle_DATA(self, server, session, envelope):  # noqa: N802  the library's name
            mails.append(message_from_bytes(envelope.content, policy=policy.default))
            return "250 OK"

    controller = Controller(Keep(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mails
    finally:
        controller.stop()


@contextmanager
def webhook(status=200):
    """
    Run a web server that takes POST requests; yield its port and what it got.
    """
    got = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, orjson.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port, got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def to(**addresses):
    """
    Return the environment that holds *addresses*.
    """
    return {f"FINETUNED_REPORT_{name.upper()}": url for name, url in addresses.items()}


def mail(port, user=""):
    return f"mailto://{user}127.0.0.1:{port}?from=ft@example.com&to=me@example.com&mode=insecure"


def later(journal):
    """
    Make every delivery that waits due.
    """
    for row in journal.messages.waiting():
        journal.messages._set(row, row.state, row.attempts, "2026-01-01T00:00:00Z", row.problem)


def test_a_mail_has_its_picture_inside_and_a_webhook_gets_the_words(journal):
    """
    The mail is HTML and text, and the picture is named by its Content-ID: mail programs show it.
    """
    journal.messages.add("Training Summary - ü", packed(MESSAGE), PICTURE, ["mail", "team"])
    port = free_port()
    with mail_server(port) as mails, webhook() as (hook, got):
        environment = to(mail=mail(port), team=f"json://127.0.0.1:{hook}/secret-path")
        outcomes = deliver_due(journal, ["mail", "team"], environment=environment)

    assert [None, None] == [outcome.problem for outcome in outcomes]
    (sent,) = mails
    parts = {part.get_content_type(): part for part in sent.walk()}
    assert "Training Summary - ü" == sent["Subject"]
    assert "multipart/related" == sent.get_content_type()
    assert 'src="cid:curves.png"' in parts["text/html"].get_content()
    assert "Training Summary" in parts["text/plain"].get_content()
    assert "<curves.png>" == parts["image/png"]["Content-ID"]
    assert PICTURE == parts["image/png"].get_payload(decode=True)
    kept = journal.messages.get(1)
    assert ("", None) == (kept.body, kept.picture)  # a journal is no album
    ((path, told),) = got
    assert "/secret-path" == path
    assert "Training Summary - ü" == told["title"]
    assert [] == journal.messages.waiting()
    assert [] == deliver_due(journal, ["mail", "team"], environment=environment)


def test_a_server_that_is_down_gets_the_message_when_it_is_up(journal):
    """
    The try is counted and put off, its reason kept without the password; then it arrives, once.
    """
    journal.messages.add("told", packed(MESSAGE), None, ["mail"])
    port = free_port()
    environment = to(mail=mail(port, "me:geheim4711@"))
    (outcome,) = deliver_due(journal, ["mail"], environment=environment)
    (row,) = journal.messages.waiting()

    assert outcome.problem is not None
    assert "geheim4711" not in outcome.problem
    assert (1, outcome.problem) == (row.attempts, row.problem)
    assert [row] == journal.messages.in_trouble(["mail"])
    assert [] == deliver_due(journal, ["mail"], environment=environment)  # not yet

    later(journal)
    with mail_server(port) as mails:
        (outcome,) = deliver_due(journal, ["mail"], environment=to(mail=mail(port)))
    assert outcome.problem is None
    assert 1 == len(mails)
    assert [] == journal.messages.in_trouble(["mail"])


def test_a_server_that_hangs_keeps_nobody_else_from_the_message(journal):
    """
    It accepts and never says a word: its try ends, and the next addressee is served.
    """
    journal.messages.add("told", packed(MESSAGE), None, ["mail", "team"])
    with socket.socket() as silent, webhook() as (hook, got):
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(200)
        port = silent.getsockname()[1]
        environment = to(mail=mail(port), team=f"json://127.0.0.1:{hook}/x")
        began = datetime.now(UTC)
        outcomes = deliver_due(journal, ["mail", "team"], seconds=1, environment=environment)

    assert datetime.now(UTC) - began < timedelta(seconds=30)
    problems = {outcome.addressee: outcome.problem for outcome in outcomes}
    assert problems["mail"] is not None
    assert problems["team"] is None
    assert 1 == len(got)
    assert ["mail"] == [row.addressee for row in journal.messages.waiting()]


def test_a_server_that_refuses_and_a_missing_address_are_named(journal):
    """
    The status code or the missing variable is the problem that the status shows.
    """
    journal.messages.add("told", packed(MESSAGE), None, ["team", "nobody"])
    with webhook(503) as (hook, _):
        outcomes = deliver_due(
            journal, ["team", "nobody"], environment=to(team=f"json://127.0.0.1:{hook}/token7777")
        )
    problems = {outcome.addressee: str(outcome.problem) for outcome in outcomes}

    assert "503" in problems["team"]
    assert "token7777" not in problems["team"]
    assert "FINETUNED_REPORT_NOBODY" in problems["nobody"]


def test_a_try_that_was_killed_is_made_again(tmp_path):
    """
    kill -9 while the server holds the message: the journal knows of the try, and the next
    process sends it. Twice is possible, never is not.
    """
    with closing(Journal(tmp_path / "journal.sqlite3")) as journal:
        journal.messages.add("told", packed(MESSAGE), None, ["team"])
    program = (
        "import sys; from pathlib import Path; from finetuned.files.journal import Journal;"
        "from finetuned.reports.daily.deliver import deliver_due;"
        "deliver_due(Journal(Path(sys.argv[1])), ['team'])"
    )
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(200)
        port = silent.getsockname()[1]
        environment = {**os.environ, **to(team=f"json://127.0.0.1:{port}/x")}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        command = [sys.executable, "-c", program, str(tmp_path / "journal.sqlite3")]
        with (
            subprocess.Popen(command, env=environment) as process,
            silent.accept()[0] as taken,
        ):
            taken.recv(1)  # it is being sent
            process.kill()
    with closing(Journal(tmp_path / "journal.sqlite3")) as journal, webhook() as (hook, got):
        (row,) = journal.messages.waiting()
        assert 1 == row.attempts
        assert "did not end" in str(row.problem)
        later(journal)
        environment = to(team=f"json://127.0.0.1:{hook}/x")
        (outcome,) = deliver_due(journal, ["team"], environment=environment)
        assert outcome.problem is None
    assert 1 == len(got)


def test_pauses_grow_and_a_week_is_the_end(journal):
    """
    One minute, then four times as long, six hours at most; after a week it is given up, visibly,
    until a later message arrives.
    """
    now = datetime(2026, 11, 16, tzinfo=UTC)
    pauses = [(next_try(n, now) - now).total_seconds() for n in range(1, 8)]
    assert [60, 240, 960, 3840, 15360, 21600, 21600] == pauses
    assert not is_given_up(now, now + timedelta(days=6))
    assert is_given_up(now, now + timedelta(days=8))

    number = journal.messages.add("told", packed(MESSAGE), None, ["mail", "gone"])
    assert [] == deliver_due(journal, [], environment={})
    assert [] == journal.messages.waiting()
    (row,) = journal.messages.in_trouble(["mail"])
    assert (number, DeliveryState.GIVEN_UP) == (row.message, row.state)
    journal.messages.add("told", packed(MESSAGE), None, ["mail"])
    journal.messages.note_sent(journal.messages.waiting()[0])
    assert [] == journal.messages.in_trouble(["mail"])
