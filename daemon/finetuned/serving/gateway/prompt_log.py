"""
Prompts and answers in the log, if ``serving.log_prompts`` asks for them; secrets are masked.
"""

from __future__ import annotations

from typing import Final

import structlog

from finetuned.core.masking import masked
from finetuned.serving.gateway.metering import Record

log = structlog.get_logger()

MOST_CHARS: Final = 20_000
"""Of a prompt or an answer in one line of the log."""


class PromptLog:
    """
    A Meter that writes each request down.
    """

    def ended(self, record: Record) -> None:
        """
        Write one line.
        """
        order = record.order
        asked = order.text if order.text is not None else _spoken(order.messages)
        log.info(
            "request_ended",
            request_id=record.request_id,
            key=record.caller.id,
            route=record.route,
            status=record.status,
            version=record.model,
            seconds=round(record.seconds, 3),
            prompt=_bounded(masked(asked)),
            answer=None if record.answer is None else _bounded(masked(record.answer.text)),
        )


def _bounded(text: str) -> str:
    """Return *text*, or its beginning and how many characters were left out."""
    left = len(text) - MOST_CHARS
    return text if left <= 0 else f"{text[:MOST_CHARS]} ... ({left} characters left out)"


def _spoken(messages: tuple[dict[str, object], ...]) -> str:
    return "\n".join(f"{m.get('role')}: {m.get('content')}" for m in messages)
