"""
Recorded exchanges for tests: small, and told apart by their numbers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson

from finetuned.core.review import Entry, RecordedExchange, ReviewState
from finetuned.files.review import ReviewQueue
from finetuned.layout import Layout

USER = {
    "action": "user_add",
    "username": "ann",
    "password": "s3cretly",
}
"""A command with a password, as a model may answer it."""


def exchange(number: int = 1, **values: object) -> RecordedExchange:
    """
    Return an exchange whose model was unsure, so that it waits for review.
    """
    messages = [{"role": "user", "content": f"question {number}"}]
    made = RecordedExchange(
        id=f"chatcmpl-{number}",
        at=f"2026-11-29T02:00:{number:02d}.000Z",
        key_id="k1",
        route="/v1/chat/completions",
        model="v0007",
        messages=orjson.dumps(messages).decode(),
        answer=f"answer {number}",
        finish_reason="stop",
        confidence=0.5,
        tokens=10,
        duration_ms=40,
    )
    return replace(made, **values)  # type: ignore[arg-type]


def make_root(root: Path) -> Layout:
    """
    Return a root with the folders that feedback and inbox need.
    """
    layout = Layout(root)
    for folder in (*layout.folders(), layout.serving):
        folder.mkdir(parents=True, exist_ok=True)
    return layout


def rule(queue: ReviewQueue, entry: Entry, answer: str | None) -> bool:
    """
    Approve *answer*, or reject the entry if it is None.
    """
    review = ReviewState.REJECTED if answer is None else ReviewState.APPROVED
    at = "2026-11-29T03:00:00.000Z"
    return queue.decide(
        replace(entry, review=review, approved=answer, decided_by="ada", decided_at=at)
    )
