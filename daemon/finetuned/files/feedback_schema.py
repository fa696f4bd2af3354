"""
The tables of models/serving/feedback.sqlite3, and one row of them as a value.

The first columns of ``ai_decisions`` are those of the table of that name that users' queries
know; nothing is carried out here, so those of a playbook and of its execution stay NULL.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Final

import orjson

from finetuned.core.review import Entry, Reason, RecordedExchange, ReviewState, Thumbs

VERSION: Final = 3
"""PRAGMA user_version of a file that this program writes."""

TABLES: Final = """
CREATE TABLE IF NOT EXISTS ai_decisions (
    id TEXT PRIMARY KEY,           -- of the request
    timestamp TEXT NOT NULL,       -- RFC 3339 UTC
    appliance_id TEXT,             -- NULL: this service has none
    customer_id TEXT NOT NULL,     -- id of the key, '' if none was needed
    query TEXT GENERATED ALWAYS AS (json_extract(messages, '$[#-1].content')) VIRTUAL,
    query_hash TEXT NOT NULL,      -- SHA-256 of query, in hex
    parsed_intent TEXT GENERATED ALWAYS AS
        (CASE WHEN json_valid(answer) THEN json(answer) END) VIRTUAL,
    confidence REAL NOT NULL,      -- exp(mean(ln p)) over the tokens of the answer
    llm_model TEXT NOT NULL,       -- version, such as v0007
    llm_tokens_used INTEGER NOT NULL,
    llm_duration_ms INTEGER NOT NULL,
    playbook_yaml TEXT, playbook_hash TEXT,
    execution_status TEXT, execution_duration_seconds REAL,
    tasks_executed INTEGER, tasks_ok INTEGER, tasks_changed INTEGER, tasks_failed INTEGER,
    execution_output TEXT, execution_errors TEXT,
    user_feedback TEXT,            -- thumbs_up, thumbs_down
    user_comment TEXT,
    is_training_data INTEGER GENERATED ALWAYS AS (review = 'delivered') VIRTUAL,
    human_verified INTEGER GENERATED ALWAYS AS (approved IS NOT NULL) VIRTUAL,
    correct_intent TEXT GENERATED ALWAYS AS
        (CASE WHEN json_valid(coalesce(approved, correction))
         THEN json(coalesce(approved, correction)) END) VIRTUAL,
    route TEXT NOT NULL,
    messages TEXT NOT NULL,        -- JSON: the turns before the answer
    plain INTEGER NOT NULL,        -- 1: the prompt was text without a template
    tools TEXT,
    answer TEXT NOT NULL, tool_calls TEXT, reasoning TEXT,
    finish_reason TEXT NOT NULL,
    correction TEXT,               -- the user's
    review TEXT NOT NULL,          -- a state of core/review.py
    reasons TEXT NOT NULL,         -- why it waits or waited, separated by blanks
    revision INTEGER NOT NULL DEFAULT 0,
    approved TEXT,                 -- the answer that a person accepted
    decided_at TEXT, decided_by TEXT,
    batch TEXT,                    -- name of the file in inbox/ that it belongs to
    fingerprint TEXT NOT NULL,     -- equal if question and answer are
    bytes INTEGER NOT NULL,
    invented TEXT,                 -- JSON: places in the answer of values that the question lacks
    origin TEXT                    -- JSON: where an imported row was found; NULL if asked here
);
CREATE INDEX IF NOT EXISTS ai_decisions_timestamp ON ai_decisions (timestamp);
CREATE INDEX IF NOT EXISTS ai_decisions_query_hash ON ai_decisions (query_hash);
CREATE INDEX IF NOT EXISTS ai_decisions_confidence ON ai_decisions (confidence);
CREATE INDEX IF NOT EXISTS ai_decisions_review ON ai_decisions (review, timestamp);
CREATE INDEX IF NOT EXISTS ai_decisions_bytes ON ai_decisions (timestamp, id, review, bytes);
CREATE INDEX IF NOT EXISTS ai_decisions_queued ON ai_decisions (fingerprint)
    WHERE review <> 'none';
CREATE TABLE IF NOT EXISTS batches (
    name TEXT PRIMARY KEY,         -- of the file in inbox/
    sha256 TEXT NOT NULL, n_rows INTEGER NOT NULL, at TEXT NOT NULL,
    data BLOB                      -- its bytes; NULL once it was delivered
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS removed (
    review TEXT PRIMARY KEY, n INTEGER NOT NULL
) WITHOUT ROWID;
"""

SINCE: Final = {
    1: "ALTER TABLE ai_decisions ADD COLUMN invented TEXT",
    2: "ALTER TABLE ai_decisions ADD COLUMN origin TEXT",
}
"""What makes a file of a version one of the next."""

COLUMNS: Final = (
    "id, timestamp, customer_id, route, llm_model, messages, plain, tools, answer, tool_calls,"
    " reasoning, finish_reason, confidence, llm_tokens_used, llm_duration_ms, user_feedback,"
    " correction, user_comment, review, reasons, revision, approved, decided_at, decided_by,"
    " invented, origin"
)
"""What entry_of() reads."""


def fingerprint(exchange: RecordedExchange) -> str:
    """
    Return a text that two exchanges share if question and answer are the same.
    """
    parts = (exchange.messages, exchange.tools, exchange.answer, exchange.tool_calls)
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:32]


def query_hash(exchange: RecordedExchange) -> str:
    """
    Return the SHA-256 of the last turn's content, in hex.
    """
    last = orjson.loads(exchange.messages)[-1]
    return hashlib.sha256(str(last.get("content", "")).encode()).hexdigest()


def entry_of(row: sqlite3.Row) -> Entry:
    """
    Return a row of COLUMNS as a value.

    Raises:
        ValueError: A word in it is not one that this program writes.
    """
    exchange = RecordedExchange(
        id=row["id"],
        at=row["timestamp"],
        key_id=row["customer_id"],
        route=row["route"],
        model=row["llm_model"],
        messages=row["messages"],
        plain=bool(row["plain"]),
        tools=row["tools"],
        answer=row["answer"],
        tool_calls=row["tool_calls"],
        reasoning=row["reasoning"],
        finish_reason=row["finish_reason"],
        confidence=row["confidence"],
        tokens=row["llm_tokens_used"],
        duration_ms=row["llm_duration_ms"],
        invented=tuple(map(str, orjson.loads(row["invented"] or "[]"))),
        origin=row["origin"],
    )
    thumbs = row["user_feedback"]
    return Entry(
        exchange=exchange,
        thumbs=None if thumbs is None else Thumbs(thumbs),
        correction=row["correction"],
        comment=row["user_comment"],
        review=ReviewState(row["review"]),
        reasons=tuple(Reason(word) for word in row["reasons"].split()),
        revision=row["revision"],
        approved=row["approved"],
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
    )
