"""
Promotions and rollbacks under load, through the real gateway and the real engine.

Clients ask all the time. No request fails, each answer says which version gave it and is what
that version answers alone, and a change of current_model is followed soon.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from experiments.serving_servers import Server, make_root, ours
from finetuned.core.generation import HeldModel
from finetuned.layout import Layout
from finetuned.registry.commit import commit_version
from finetuned.registry.current_model import promote, rollback
from support.candidates import make_candidate
from support.serving import MICRO, alone_each, make_adapter

LONG = bool(os.environ.get("FINETUNED_LONG"))
REQUESTS, SWAPS = (5000, 20) if LONG else (240, 2)
"""Swaps in each direction."""
CLIENTS = 8
MAX_TOKENS = 24
FOLLOW_SECONDS = 1.0
"""Most time until new requests are answered by the new version."""
QUESTIONS = [
    "please add a dns record for web01.example.com pointing to 10.0.0.7",
    "create the user jdoe with home /home/jdoe",
    "share /srv/data as public over samba, read only",
    "delete the AAAA record of mail.example.org",
    "remove the account of msmith",
]


@dataclass(frozen=True)
class Said:
    """
    One answer.
    """

    begun: float
    """Unix time."""
    ended: float
    question: int
    label: str
    text: str


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """
    A root with two versions, the first in use.
    """
    path = tmp_path / "root"
    make_root(path, None, kv_bytes=128 << 20)
    layout = Layout(path)
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    for seed in (1, 2):
        run_id = f"r{seed:06d}"
        candidate = make_candidate(layout.runs / run_id / "candidate")
        make_adapter(candidate, seed)
        facts = {"run_id": run_id, "base": "micro", "parent": None, "verdict": "promoted"}
        commit_version(layout, candidate, facts)
    promote(layout, "v0001")
    return path


class Crowd:
    """
    Clients that ask until there are enough answers.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._numbers = itertools.count()
        self._enough = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        self.said: list[Said] = []
        self.failures: list[str] = []

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int, version: str) -> None:
        """
        Wait until there are *count* answers, and one of *version* that was begun after this call.
        """
        began, label = time.time(), f"finetuned@{version}"
        end = began + 300
        while len(self.said) < count or not any(
            s.label == label and s.begun > began for s in self.said[-4 * CLIENTS :]
        ):
            assert not self.failures, self.failures[:3]
            assert time.time() < end, f"{len(self.said)} answers, none of {version}"
            time.sleep(0.02)

    def _ask(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        headers = {
            "authorization": f"Bearer {self._server.key}",
            "content-type": "application/json",
        }
        while not self._enough.is_set():
            question = next(self._numbers) % len(QUESTIONS)
            body = {
                "model": "finetuned",
                "messages": [{"role": "user", "content": QUESTIONS[question]}],
                "max_tokens": MAX_TOKENS,
                "temperature": 0,
            }
            begun = time.time()
            try:
                connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
                response = connection.getresponse()
                found = json.loads(response.read())
                assert response.status == 200, found
                text = found["choices"][0]["message"]["content"]
                version = response.headers["x-finetuned-version"]
                assert found["model"] == f"finetuned@{version}"
                self.said.append(Said(begun, time.time(), question, found["model"], text))
            except Exception as error:  # any failure is what this test looks for
                self.failures.append(repr(error))
                return
        connection.close()


@pytest.mark.timeout(3600 if LONG else 300)
def test_no_request_fails_and_each_answer_is_its_versions(root: Path) -> None:
    """
    5,000 requests over 20 promotions and 20 rollbacks with FINETUNED_LONG, fewer without.
    """
    layout = Layout(root)
    expected = {}
    for version in ("v0001", "v0002"):
        source = HeldModel(name=version, base=MICRO, folder=layout.versions / version)
        expected[f"finetuned@{version}"] = alone_each(source, QUESTIONS, MAX_TOKENS)
    changes = []
    with ours(root) as server, Crowd(server) as crowd:
        crowd.wait_for(1, "v0001")
        for swap in range(2 * SWAPS):
            target = ("v0002", "v0001")[swap % 2]
            if target == "v0002":
                promote(layout, target)
            else:
                rollback(layout, to=target)
            changes.append((os.lstat(layout.current_model).st_ctime, target))
            crowd.wait_for(REQUESTS * (swap + 1) // (2 * SWAPS), target)

    assert [] == crowd.failures
    assert len(crowd.said) >= REQUESTS
    wrong = [s for s in crowd.said if expected[s.label][s.question] != s.text]
    assert [] == wrong[:3]
    delays = follow_delays(changes, crowd.said)
    first, later = delays[0], sorted(delays[1:])
    median = later[len(later) // 2]
    print(
        f"{len(crowd.said)} requests, {len(changes)} swaps, 0 failed, 0 wrong; followed after "
        f"{first:.2f} s the first time, when the version had to be loaded, then {median:.2f} s "
        f"(median) and {later[-1]:.2f} s (longest)"
    )
    assert median < FOLLOW_SECONDS
    assert max(delays) < 10 * FOLLOW_SECONDS  # somebody else may use the machine


def follow_delays(changes: list[tuple[float, str]], said: list[Said]) -> list[float]:
    """
    Return how long after each change the last request was begun that the version before answered.
    """
    ends = [at for at, _ in changes[1:]] + [float("inf")]
    delays = []
    for (at, target), end in zip(changes, ends, strict=True):
        # One that ended after the next change may have been given by the version after it.
        here = (s for s in said if at < s.begun and s.ended < end)
        late = [s.begun for s in here if s.label != f"finetuned@{target}"]
        delays.append(max(late, default=at) - at)
    return delays
