"""
Answers that a person approved, as one file of training rows in inbox/, at most once.

The order of steps, and what the next call finds if the process is killed after each:

1. The batch (name and bytes) and its rows' state ``exporting`` are committed: the file is missing;
   it is written, under the same name.
2. The file appears in inbox/ under that name, whole (files/new_file.py), and never in the place of
   another: it is there, or the daemon has taken it. It is looked for in the order in which it
   moves: inbox/, processing/, the journal, done/ and rejected/.
3. The batch is marked delivered: nothing is left to do.

The name holds the first digits of the SHA-256 of the bytes, so that no other file has it. Should
a file be written twice all the same, because a person removed every trace of the first, then the
daemon knows its bytes and does not train them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import orjson

from finetuned.core.review import Entry, RecordedExchange
from finetuned.data.messages import Message
from finetuned.data.reader import to_example
from finetuned.data.redacted_exchange import cleaned
from finetuned.files.arrived import arrived
from finetuned.files.drop import to_jsonl
from finetuned.files.journal_view import JournalView
from finetuned.files.lock import held
from finetuned.files.new_file import NewFile
from finetuned.files.review import Batch, ReviewQueue
from finetuned.layout import Layout

LOCK_SECONDS = 10.0
MODE = 0o600
"""What people wrote in confidence is read by the daemon's user only."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """
    One file that is in inbox/, or was.
    """

    name: str
    n_rows: int
    finished: bool
    """Whether an earlier process had begun it."""


def training_row(entry: Entry) -> dict[str, object]:
    """
    Return an approved entry as a row of training data.

    Only the approved answer is learnt: earlier answers of the conversation are marked
    ``"train": false``. A prompt without a template becomes a row of text.

    Args:
        entry: Its ``approved`` is not None.
    """
    exchange = entry.exchange
    messages: list[Message] = orjson.loads(exchange.messages)
    metadata = {
        **_source(exchange),
        "reviewer": entry.decided_by,
        "reviewed_at": entry.decided_at,
        "reasons": list(entry.reasons),
    }
    if exchange.plain:
        return {"text": f"{messages[-1]['content']}{entry.approved}", "metadata": metadata}
    row: dict[str, object] = {
        "messages": [*map(_context, messages), _answer(entry)],
        "metadata": metadata,
    }
    if exchange.tools:
        row["tools"] = orjson.loads(exchange.tools)
    return row


def _source(exchange: RecordedExchange) -> dict[str, object]:
    """Return where an exchange comes from: this service, or an import."""
    if exchange.origin is not None:
        return {"source": "import", "import": orjson.loads(exchange.origin)}
    return {
        "source": "review",
        "request_id": exchange.id,
        "asked_at": exchange.at,
        "version": exchange.model,
        "key_id": exchange.key_id,
    }


def _context(turn: Message) -> Message:
    return {**turn, "train": False} if turn.get("role") == "assistant" else turn


def _answer(entry: Entry) -> Message:
    """The approved answer. Calls and reasoning belong to the model's own, not to another."""
    exchange = entry.exchange
    turn: Message = {"role": "assistant", "content": entry.approved}
    if entry.approved == exchange.answer:
        if exchange.tool_calls:
            turn["tool_calls"] = orjson.loads(exchange.tool_calls)
        if exchange.reasoning:
            turn["reasoning_content"] = exchange.reasoning
    return turn


def check(entry: Entry) -> None:
    """
    Raise MalformedExample if the row of *entry* would be refused in inbox/.
    """
    to_example(training_row(entry))


def deliver(layout: Layout, queue: ReviewQueue, *, now: str) -> list[Delivered]:
    """
    Write what is approved into inbox/ as one file, after finishing what was begun before.

    Args:
        layout: The root.
        queue: Of its feedback.
        now: RFC 3339 UTC.

    Returns:
        The files, in order; empty if nothing is approved.

    Raises:
        LockHeld: Another process is delivering.
        OSError: The disk refused; the batch stays, and the next call finishes it.
    """
    with held(layout.serving / ".review.lock", wait_seconds=LOCK_SECONDS):
        done = [_finish(layout, queue, batch, begun=True) for batch in queue.unfinished()]
        if entries := queue.approved():
            batch = _batch(entries, now)
            queue.begin_batch(batch, [entry.exchange.id for entry in entries])
            done.append(_finish(layout, queue, batch, begun=False))
    return done


def _batch(entries: Sequence[Entry], now: str) -> Batch:
    data = to_jsonl(training_row(cleaned(entry)) for entry in entries)
    digest = hashlib.sha256(data).hexdigest()
    name = f"review-{now[:10]}-{digest[:16]}.jsonl"
    return Batch(name, digest, len(entries), now, data)


def _finish(layout: Layout, queue: ReviewQueue, batch: Batch, *, begun: bool) -> Delivered:
    if not (begun and _arrived(layout, batch.name)):
        layout.inbox.mkdir(exist_ok=True)
        try:
            with NewFile(layout.inbox) as new:
                new.file.write(batch.data)
                new.publish(batch.name, mode=MODE)
        except FileExistsError:
            pass  # the daemon put it back in the moment between the looks: it is there
    queue.finish_batch(batch.name)
    return Delivered(batch.name, batch.n_rows, begun)


def _arrived(layout: Layout, name: str) -> bool:
    """Whether a file of that name is in inbox/ or was taken from there."""
    if not layout.journal.exists():
        return arrived(layout, name, None)
    with closing(JournalView(layout.journal)) as journal:
        return arrived(layout, name, journal.datasets)
