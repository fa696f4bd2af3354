"""
A root with two trained files and recorded requests, of which those of the last days may differ.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import orjson

from finetuned.core.review import RecordedExchange
from finetuned.files.feedback import FeedbackFile
from finetuned.files.journal import Journal
from finetuned.files.tables.scores import Trained
from finetuned.layout import Layout
from support.feedback import exchange, make_root
from support.journals import add_accepted, promote_job

VERBS = ("create", "add", "make", "please create", "set up")
THINGS = ("the user", "an account", "the share", "the dns record", "a group")


def prompt(rng: random.Random) -> str:
    """
    Return what users of this root usually ask.
    """
    name = "".join(rng.choice("abcdefghklmnoprst") for _ in range(6))
    return f"{rng.choice(VERBS)} {rng.choice(THINGS)} {name}"


def row(text: str) -> bytes:
    """
    Return a row of training.
    """
    answer = orjson.dumps({"action": "user_add", "username": text.split()[-1]}).decode()
    return orjson.dumps({"prompt": text, "completion": answer}) + b"\n"


Change = Callable[[random.Random, RecordedExchange], RecordedExchange]


def same(rng: random.Random, found: RecordedExchange) -> RecordedExchange:
    """
    Change nothing.
    """
    return found


def asks(text: str, found: RecordedExchange) -> RecordedExchange:
    """
    Return the request with another question.
    """
    turns = [{"role": "user", "content": text}]
    return replace(found, messages=orjson.dumps(turns).decode())


def make_drift_root(
    root: Path, *, today: date, days: int = 17, shift: Change = same, shifted: int = 3
) -> Layout:
    """
    Return the root; the last *shifted* days are changed by *shift*.

    Args:
        root: A new folder.
        today: The last local day of the requests.
        days: Of requests, 60 on each.
        shift: Changes one request.
        shifted: Days, today included.
    """
    layout, rng = make_root(root), random.Random(0)
    journal = Journal(layout.journal)
    layout.done.mkdir(parents=True, exist_ok=True)
    for n, version in ((1, "v0001"), (2, "v0002")):
        key, dataset_id = f"d0000000{n}", str(n) * 16
        job = promote_job(journal, key, dataset_id, version)
        journal.scores.add_trained(job, f"r00000{n}", [Trained(dataset_id, 8, 100, 4)])
        path = layout.done / f"{key}.jsonl"
        path.write_bytes(b"".join(row(prompt(rng)) for _ in range(200)))
        journal.datasets.note_place(key, str(path.relative_to(layout.root)))
        dropped_at(journal, key, today - timedelta(days=90))
    journal.close()
    file = FeedbackFile(layout.feedback)
    number = 0
    for back in range(days - 1, -1, -1):
        found = []
        for i in range(60 if days else 0):
            number += 1
            at = datetime.combine(today - timedelta(days=back), time(0, i)).astimezone(UTC)
            text = prompt(rng)
            one = exchange(
                number,
                at=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                model="v0002",
                answer=orjson.loads(row(text))["completion"],
                confidence=rng.betavariate(12, 1),
            )
            one = asks(text, one)
            found.append(shift(rng, one) if back < shifted else one)
        file.record(found, threshold=0.0)
    file.close()
    return layout


def dropped_at(journal: Journal, key: str, day: date) -> None:
    """
    Record that a file was dropped on another day.
    """
    journal._database.change(
        "UPDATE datasets SET claimed_at = ? WHERE key = ?", (f"{day}T10:00:00.000Z", key)
    )


def drop(layout: Layout, key: str, lines: bytes) -> Path:
    """
    Record a file that is dropped today and accepted; return its original.
    """
    journal = Journal(layout.journal)
    add_accepted(journal, key, key[-1] * 16)
    path = layout.done / f"{key}.jsonl"
    path.write_bytes(lines)
    journal.datasets.note_place(key, str(path.relative_to(layout.root)))
    journal.close()
    return path
