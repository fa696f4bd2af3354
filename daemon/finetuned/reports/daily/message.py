"""
A message in every form that it may be sent in, as the journal keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from finetuned.core.record import from_json, to_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """
    One message. The subject is a line of its own in the journal.
    """

    text: str
    markdown: str
    short: str
    """For a service that takes only few characters."""
    html: str | None = None
    """For mail; refers to the picture by its Content-ID."""


def packed(message: Message) -> str:
    """
    Return *message* as JSON.
    """
    return orjson.dumps(to_json(message)).decode()


def unpacked(body: str) -> Message:
    """
    Return the message that packed() wrote.

    Raises:
        RecordError: It is of another version of the program.
    """
    return from_json(Message, orjson.loads(body), source="messages.body")
