"""
What the watch of a promoted version is told of its requests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from finetuned.config.serving import Tier
from finetuned.core.access import Caller
from finetuned.core.generation import FailureKind, Finished, FinishReason, Generate, Sampling
from finetuned.core.promotion_watch import Health
from finetuned.files.health import read_health
from finetuned.layout import Layout
from finetuned.serving.gateway.metering import Answer, Record
from finetuned.serving.gateway.watch_signal import WatchSignal

TIER = Tier(name="t", requests_per_minute=0, tokens_per_minute=0)
CALLER = Caller(id="a", name="a", scopes=(), tier=TIER)
ORDER = Generate(id="r", model="v0002", sampling=Sampling(max_tokens=1))
ANSWER = Answer(
    "x",
    Finished(
        id="r",
        model="v0002",
        reason=FinishReason.STOP,
        prompt_tokens=1,
        cached_tokens=0,
        answer_tokens=1,
        confidence=1.0,
    ),
)


def record(**more: object) -> Record:
    values = {"model": "v0002", "status": 200, **more}
    return Record(request_id="r", route="/generate", caller=CALLER, order=ORDER, **values)


@pytest.fixture
def signal(tmp_path: Path) -> WatchSignal:
    found = WatchSignal(Layout(tmp_path))
    found.begin("v0002")
    return found


def test_answers_and_failures_of_the_version_in_use_count(
    signal: WatchSignal, tmp_path: Path
) -> None:
    """
    The supervisor reads the counts since the version came into use.
    """
    signal.ended(record(answer=ANSWER))
    signal.ended(record(status=503, failure=FailureKind.ENGINE))
    signal.save()

    assert Health("v0002", 2, 1) == read_health(Layout(tmp_path))
    signal.begin("v0003")
    signal.save()
    assert Health("v0003", 0, 0) == read_health(Layout(tmp_path))


@pytest.mark.parametrize(
    "other",
    [
        {"model": "v0001", "answer": ANSWER},
        {"answer": ANSWER, "cached": True},
        {"status": 429},
        {"status": 499, "failure": FailureKind.CANCELLED},
        {"status": 400, "failure": FailureKind.BAD_REQUEST},
        {"status": 503, "failure": FailureKind.DEADLINE},
        {"status": 503, "failure": FailureKind.STOPPED},
    ],
)
def test_what_says_nothing_of_the_version_does_not_count(
    signal: WatchSignal, tmp_path: Path, other: dict[str, object]
) -> None:
    """
    A client's mistake or an operator's stop must not take a version back.
    """
    signal.ended(record(**other))
    signal.save()

    assert Health("v0002", 0, 0) == read_health(Layout(tmp_path))
