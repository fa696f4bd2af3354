"""
Strings that drive terminals, pages and logs, sent wherever a client may send one.

The law: what is kept is what was sent, and what is shown is spelled out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from finetuned.core.text import printable
from support.daemon import PACKAGE_PARENT
from support.program import HEADERS, Program, program
from support.terminal import Terminal

OWN = (
    "\x1b[2J\x1b]0;owned\x07\x1b[31m",
    "\x1bP+q544e\x1b\\ \x9b31m \x85",
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>",
    "\u202eabc\u2066def\u200b\ufeff",
    "one\r\ntwo: three\r\n\r\nHTTP/1.1 200 OK",
    '{"event": "forged", "level": "error"}\n{"event": "forged"}',
    "{{7*7}} ${7*7} %s%n $(touch /tmp/owned) `id` ' OR 1=1 --",
    "\x00\x08\x7f",
    "\U0001f9d1\u200d\U0001f4bb Z\u0351\u036b\u0343 \ufdfa",
    "../../../../etc/passwd",
)
"""Our own; the list of shared/data is added where it is."""
STRIDE = 1 if os.environ.get("FINETUNED_LONG") else 12
FILE = Path(__file__).resolve().parents[2].parent / "shared/data/hostile/naughty_strings.json"
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
"""What may stand in no log and on no terminal; a newline ends a line."""


def naughty() -> list[str]:
    """
    Return all of them that JSON can carry.
    """
    listed = json.loads(FILE.read_text()) if FILE.is_file() else []
    return [text for text in dict.fromkeys((*OWN, *listed[::STRIDE])) if text.strip()]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """
    A service that logs prompts and records answers.
    """
    config = "log_prompts = true\nreview_confidence = 0.95"
    with program(tmp_path_factory.mktemp("served"), config=config) as running:
        yield running


@pytest.fixture(scope="module")
def client(served: Program) -> Iterator[httpx.Client]:
    with served.client() as found:
        yield found


def test_an_answer_carries_them_and_a_refusal_spells_them_out(client: httpx.Client) -> None:
    """
    In the prompt as they are; in a model's name, a field's name and a path, which are refused.
    """
    for text in naughty():
        found = client.post("/generate", json={"prompt": text})
        assert f"base says: {text}" == found.json()["text"]
        refusals = [
            client.post("/generate", json={"prompt": "x", "model": text[:200]}),
            client.post("/generate", json={"prompt": "x", text[:200]: 1}),
            client.post("/v1/chat/completions", json={"model": text[:200], "messages": [{}]}),
            client.get(f"/v1/models/{httpx.QueryParams({'a': text[:100]})}"),
            client.get("/v1/models", headers={"x-api-key": "bad " + printable(text)[:90]})
            if text.isascii()
            else found,
        ]
        for refusal in refusals:
            assert refusal is found or 400 <= refusal.status_code < 500, (text, refusal.text)
            assert None is UNSEEN.search(refusal.text) or refusal is found, (text, refusal.text)


def test_the_log_has_them_escaped_and_each_line_is_one_event(
    served: Program, client: httpx.Client
) -> None:
    """
    Also what the program prints, and the engine's log.
    """
    secret = "ft_0123abcd_" + "A1b2" * 10
    asked = [*naughty(), f"my key is {secret}"]
    for text in asked:
        client.post("/generate", json={"prompt": text, "temperature": 1})
    for path in (served.layout.logs / "serving.log", served.root / "serve.out"):
        written = path.read_bytes().decode()
        assert None is UNSEEN.search(written), path
        events = [json.loads(line) for line in written.splitlines()]
        assert "forged" not in {event["event"] for event in events}
        assert secret not in written
    shown = {event.get("prompt") for event in events}
    assert {f"user: {printable(text)}" for text in OWN if "\n" not in text} <= shown


def test_the_page_has_them_escaped(client: httpx.Client) -> None:
    """
    In the log of the page, and in paths that a browser is sent to.
    """
    for text in OWN:
        for path in ("/versions/", "/datasets/", "/static/"):
            found = client.get(path + httpx.QueryParams({"": text}).__str__()[1:])
            if "html" in found.headers["content-type"]:
                assert "<script>alert" not in found.text
            else:
                assert "nosniff" == found.headers["x-content-type-options"]
            assert None is UNSEEN.search(found.text)
    page = client.get("/", headers={"accept": "text/html"}).text
    assert "<script>alert" not in page
    assert "onerror=alert(2)>" not in page
    assert None is UNSEEN.search(page)


def test_a_terminal_is_not_driven_by_an_answer_or_by_feedback(
    served: Program, client: httpx.Client
) -> None:
    """
    finetuned ask shows the model's words; finetuned review what users wrote.
    """
    evil = "before \x1b]0;owned\x07\x1b[2J\x9b31m\u202e after"
    unknown = client.post("/v1/feedback", json={"request_id": evil, "thumbs": "up"})
    assert 404 == unknown.status_code
    assert None is UNSEEN.search(unknown.text)
    asked = client.post("/generate", json={"prompt": "hello \x1b]0;owned\x07"}).json()
    said = {"request_id": asked["request_id"], "thumbs": "down", "comment": evil}
    assert 200 == client.post("/v1/feedback", json={**said, "correct_answer": evil}).status_code
    assert 404 == client.post("/v1/feedback", json=said, headers=HEADERS).status_code

    terminal = Terminal("ask", "--root", str(served.root), "--model", "base", evil)
    terminal.wait_for("after")
    terminal.close()
    review = Terminal("review", "--root", str(served.root))
    review.wait_for("after")
    review.type("q\r")
    review.close()
    for shown in (terminal.shown, review.shown):
        assert "\x1b]" not in shown
        assert "\x1b[2J" not in shown
        assert "\x9b" not in shown
        assert "\u202e" not in shown


def test_a_key_has_a_name_that_cannot_hurt(served: Program) -> None:
    """
    Others are refused, with a message that is safe to print.
    """
    for text in (OWN[1] + OWN[3], OWN[4], OWN[9]):
        found = subprocess.run(
            [
                sys.executable,
                "-m",
                "finetuned",
                "keys",
                "create",
                "--root",
                served.root,
                "--",
                text,
            ],
            env={"PYTHONPATH": str(PACKAGE_PARENT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode in (1, 2), found
        assert None is UNSEEN.search(found.stdout + found.stderr), (text, found.stderr)
    assert not (served.layout.serving / "keys.json").exists()
