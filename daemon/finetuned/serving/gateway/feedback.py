"""
What users say of answers: every answer is recorded, and POST /v1/feedback adds to the record.

A thread of its own owns the file, so that a slow disk holds up no request. What arrives is
bounded in bytes; beyond that, exchanges are left out and counted. Recorded text is in the file
only: events name ids and counts. Does not know how it is reviewed (cli/review.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, FastAPI
from pydantic import AfterValidator, Field, model_validator
from starlette.responses import Response

from finetuned.config import ServingConfig
from finetuned.core.masking import masked
from finetuned.core.review import Entry, Feedback, RecordedExchange, Thumbs
from finetuned.layout import Layout
from finetuned.serving.gateway.answers import REFUSED
from finetuned.serving.gateway.errors import Refusal, unavailable
from finetuned.serving.gateway.metering import Record
from finetuned.serving.gateway.recorder import Bounds, Recorder
from finetuned.serving.gateway.routes_openai import TheCaller, TheService, as_json
from finetuned.serving.gateway.shapes import JsonObject, Shape

ROUTE = "/v1/feedback"
MOST_CHARACTERS = 100_000
UNKNOWN_SECONDS = 0.3
"""An answer is recorded when its last byte was sent: feedback that is faster waits so long."""


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be text that can be written in UTF-8") from None
    return value


Text = Annotated[str, Field(max_length=MOST_CHARACTERS), AfterValidator(_text)]


class FeedbackRequest(Shape):
    """
    POST /v1/feedback: at least one of thumbs, correct_answer and comment.
    """

    request_id: Annotated[str, Field(min_length=1, max_length=256)]
    """``id`` of the answer, which is also its header x-request-id."""
    thumbs: Literal["up", "down"] | None = None
    correct_answer: Text | JsonObject | None = None
    """What the answer should have been: text, or a JSON object."""
    comment: Annotated[Text, Field(max_length=4096)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackRequest:
        if self.thumbs is None and self.correct_answer is None and self.comment is None:
            raise ValueError("one of thumbs, correct_answer and comment is needed")
        return self

    def feedback(self, key_id: str) -> Feedback:
        """
        Return it as said by the user of a key.
        """
        correct = self.correct_answer
        return Feedback(
            request_id=self.request_id,
            key_id=key_id,
            thumbs=None if self.thumbs is None else Thumbs(f"thumbs_{self.thumbs}"),
            correction=orjson.dumps(correct).decode() if isinstance(correct, dict) else correct,
            comment=None if self.comment is None else masked(self.comment),
        )


class FeedbackSaid(Shape):
    """
    The answer to it.
    """

    object: Literal["feedback"]
    request_id: str
    review: str
    """Where the answer is now: none, waiting, rejected, approved, exporting or delivered."""
    reasons: list[str]
    """Why a person should look at it."""


@dataclass(frozen=True, slots=True)
class FeedbackRoutes:
    """
    What ``finetuned serve`` adds to the gateway.
    """

    recorder: Recorder | None
    """None if recording is switched off."""

    @classmethod
    def begin(cls, layout: Layout, config: ServingConfig) -> FeedbackRoutes:
        """
        Start a recorder, unless ``serving.record`` is off.
        """
        if not config.record:
            return cls(None)
        layout.serving.mkdir(mode=0o700, parents=True, exist_ok=True)
        bounds = Bounds(
            confidence=config.review_confidence,
            days=config.feedback_days,
            max_bytes=config.feedback_bytes,
        )
        return cls(Recorder(layout.feedback, bounds))

    def close(self) -> None:
        """
        Write what waits; harmless the second time.
        """
        if self.recorder is not None:
            self.recorder.close()

    def ended(self, record: Record) -> None:
        """
        Record a request that was answered whole; the others are no training rows. As a Meter.
        """
        if self.recorder is None or record.answer is None or record.status != 200:
            return
        try:
            self.recorder.add(recorded(record, at=utc_now()))
        except (TypeError, ValueError):  # a half of a character, which no file can hold
            self.recorder.leave_out()

    def router(self) -> APIRouter:
        """
        Return the route.
        """
        router = APIRouter()
        router.add_api_route(
            ROUTE,
            self.say,
            methods=["POST"],
            response_model=FeedbackSaid,
            responses=REFUSED,
            name="give_feedback",
        )
        return router

    async def say(self, body: FeedbackRequest, service: TheService, caller: TheCaller) -> Response:
        """
        Say what an answer was worth, and what it should have been.
        """
        if self.recorder is None:
            raise Refusal(
                404,
                "answers are not recorded here, so nothing can be said of them; set record = true "
                "under [serving] in config.toml",
                code="not_enabled",
            )
        limits = await service.admit(caller, 0)
        entry = await said(self.recorder, body.feedback(caller.id))
        if entry is None:
            raise Refusal(
                404,
                f"no answer to this key has the id {body.request_id[:100]!r}; send the id of an "
                "answer (also its header x-request-id) with the key that asked for it",
                param="request_id",
                code="request_not_found",
            )
        found = {
            "object": "feedback",
            "request_id": body.request_id,
            "review": str(entry.review),
            "reasons": [str(reason) for reason in entry.reasons],
        }
        return as_json(found, {**limits, "cache-control": "no-store"})


async def said(recorder: Recorder, feedback: Feedback) -> Entry | None:
    """
    Write what a user said, and return the entry as it is then; None if there is no such answer.

    Raises:
        Refusal: 503: the file cannot be written now.
    """
    for wait in (UNKNOWN_SECONDS, 0.0):
        future: Future[Entry | None] = recorder.say(feedback)
        try:
            entry = await asyncio.wrap_future(future)
        except OSError as error:
            raise unavailable(
                f"feedback cannot be written now: {error.strerror or error}; send it again later",
                retry_seconds=10,
                code="feedback_unavailable",
            ) from None
        if entry is not None or not wait:
            return entry
        await asyncio.sleep(wait)
    return None


def with_feedback(app: FastAPI, feedback: FeedbackRoutes) -> FastAPI:
    """
    Return *app* with the route.
    """
    app.include_router(feedback.router())
    return app


def utc_now() -> str:
    """
    Return the wall clock as RFC 3339 UTC with milliseconds.
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def recorded(record: Record, *, at: str) -> RecordedExchange:
    """
    Return what is kept of an answered request.

    Raises:
        TypeError, ValueError: It holds text that cannot be written.
    """
    order, answer = record.order, record.answer
    if answer is None:
        raise ValueError("it has no answer")
    finished = answer.finished
    messages: Sequence[Mapping[str, object]] = order.messages
    if order.text is not None:
        messages = [{"role": "user", "content": order.text}]
    f"{answer.text}{finished.reasoning}".encode()
    return RecordedExchange(
        id=record.request_id,
        at=at,
        key_id=record.caller.id,
        route=record.route,
        model=finished.model or record.model,
        messages=_json(messages) or "[]",
        plain=order.text is not None,
        tools=_json(order.tools),
        answer=answer.text,
        tool_calls=_json(finished.tool_calls),
        reasoning=finished.reasoning,
        finish_reason=str(finished.reason),
        confidence=_CERTAIN if finished.confidence is None else finished.confidence,
        tokens=finished.prompt_tokens + finished.answer_tokens,
        duration_ms=round(record.seconds * 1000),
        invented=tuple(one.path for one in finished.invented),
    )


_CERTAIN = 1.0
"""What is noted of an answer without probabilities: it does not wait for review by itself."""


def _json(value: Sequence[Mapping[str, object]]) -> str | None:
    return orjson.dumps([*value]).decode() if value else None
