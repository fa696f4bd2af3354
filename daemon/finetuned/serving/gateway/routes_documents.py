"""
The routes of the project's own documents: /generate, /chat, /status, / and /models.

Thin: each asks as routes_openai does and answers in its own keys.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from time import monotonic

from fastapi import APIRouter, Request
from starlette.responses import Response

from finetuned.core.access import Caller, Scope
from finetuned.serving.gateway.answers import (
    PAGED,
    REFUSED,
    TALKED,
    About,
    DocumentCard,
    DocumentCards,
    PlainAnswer,
    StatusAnswer,
    TalkAnswer,
)
from finetuned.serving.gateway.errors import Refusal, no_model
from finetuned.serving.gateway.exchange import Exchange, unless_gone
from finetuned.serving.gateway.metering import Answer
from finetuned.serving.gateway.orders import plain_order, talk_order
from finetuned.serving.gateway.page import LivePage
from finetuned.serving.gateway.replies import Json, copied, usage
from finetuned.serving.gateway.routes_openai import TheCaller, TheService, as_json, names_of
from finetuned.serving.gateway.service import Service
from finetuned.serving.gateway.shapes import PlainRequest, TalkRequest
from finetuned.serving.gateway.sse import Stream
from finetuned.serving.gateway.unsure import Decision, Given, given

router = APIRouter()

DECISION_HEADER = "x-finetuned-decision"
"""Of a streamed answer, if ``serving.min_confidence`` is set."""

INTERFACE_VERSION = "2.0.0"
"""Of the documents' gateway; what its clients compare."""

ENDPOINTS = {
    "chat": "POST /chat",
    "generate": "POST /generate",
    "openai": "POST /v1/chat/completions",
    "completions": "POST /v1/completions",
    "feedback": "POST /v1/feedback",
    "status": "GET /status",
    "models": "GET /models",
    "health": "GET /health",
    "metrics": "GET /metrics",
    "interface": "GET /openapi.json",
}


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@router.post("/generate", response_model=PlainAnswer, responses=REFUSED)
async def generate(
    body: PlainRequest, request: Request, service: TheService, caller: TheCaller
) -> Response:
    """
    Answer one prompt.
    """
    model = await service.versions.resolve(body.model or service.config.name)
    most, default = service.config.max_tokens, service.answer_format
    order = plain_order(body, model=model, most_tokens=most, default=default)
    exchange = await Exchange.open(service, route="/generate", caller=caller, order=order)
    answer = await _whole(request, exchange)
    shown = given(answer.text, answer.finished, service.config.min_confidence)
    found = {
        "text": shown.text,
        "model": service.public(model),
        "finish_reason": str(answer.finished.reason),
        **_sureness(answer, shown),
        "request_id": order.id,
        "usage": usage(answer.finished),
    }
    return as_json(found, exchange.headers)


@router.post("/chat", response_model=TalkAnswer, responses=TALKED)
async def talk(
    body: TalkRequest, request: Request, service: TheService, caller: TheCaller
) -> Response:
    """
    Answer one message; with ``stream`` as plain text.
    """
    return await _talk(body, request, service, caller, body.model or service.config.name)


@router.post("/chat/{model_id}", response_model=TalkAnswer, responses=TALKED)
async def talk_to(
    model_id: str, body: TalkRequest, request: Request, service: TheService, caller: TheCaller
) -> Response:
    """
    The same, of the model in the path.
    """
    if body.model not in {None, model_id}:
        raise Refusal(
            400,
            f"model is {body.model!r} and the path names {model_id!r}; send one of them",
            param="model",
            code="invalid_value",
        )
    return await _talk(body, request, service, caller, model_id)


async def _talk(
    body: TalkRequest, request: Request, service: Service, caller: Caller, asked: str
) -> Response:
    began = monotonic()
    model = await service.versions.resolve(asked)
    most, default = service.config.max_tokens, service.answer_format
    order = talk_order(body, model=model, most_tokens=most, default=default)
    exchange = await Exchange.open(service, route="/chat", caller=caller, order=order)
    least = service.config.min_confidence
    if body.stream and least == 0:
        return await _plain_stream(request, exchange)
    answer = await _whole(request, exchange)
    shown = given(answer.text, answer.finished, least)
    if body.stream:  # nothing of a guess may have been sent before it is known to be one
        headers = {**exchange.headers, DECISION_HEADER: shown.decision}
        return Response(shown.text, headers=headers, media_type="text/plain; charset=utf-8")
    found = {
        "response": shown.text,
        "model_used": service.public(model),
        "timestamp": _timestamp(),
        "processing_time": round(monotonic() - began, 4),
        "tokens_used": answer.finished.prompt_tokens + answer.finished.answer_tokens,
        **_sureness(answer, shown),
    }
    return as_json(found, exchange.headers)


def _sureness(answer: Answer, shown: Given) -> Json:
    """Return how sure the model is; the invented values only of an answer that is given."""
    finished = answer.finished
    found = {
        "decision": str(shown.decision),
        "confidence": finished.confidence,
        "confidence_source": finished.confidence_source,
        **copied(finished),
    }
    return found if shown.decision is Decision.ANSWER else {**found, "invented": []}


@router.get("/", response_model=About, responses=PAGED)
async def about(request: Request, service: TheService, caller: TheCaller) -> Response:
    """
    Say what this service is and where it answers; a browser gets the live page.
    """
    if "text/html" in request.headers.get("accept", ""):
        return await _page(request, caller)
    found = {
        "service": service.config.name,
        "version": INTERFACE_VERSION,
        "models": [service.config.name, *map(service.public, service.versions.held)],
        "endpoints": ENDPOINTS,
    }
    return as_json(found, {})


async def _page(request: Request, caller: Caller) -> Response:
    if not caller.may(Scope.ADMIN):
        raise Refusal(
            403,
            f"key {caller.id} does not open the page, which shows training data; make one that "
            "does: finetuned keys create NAME --scope admin",
            kind="permission_error",
            code="insufficient_scope",
        )
    page: LivePage = request.app.state.page
    return await page.index(request)


@router.get("/models", response_model=DocumentCards, responses=REFUSED)
async def models(service: TheService) -> Response:
    """
    Describe the models that can be asked.
    """
    return as_json({"models": {name: _card(service, name) for name in names_of(service)}}, {})


@router.get("/{model_id}/models", response_model=DocumentCard, responses=REFUSED)
async def model(model_id: str, service: TheService) -> Response:
    """
    Describe one model.
    """
    names = names_of(service)
    if model_id not in names:
        raise no_model(model_id, names)
    return as_json(_card(service, model_id), {})


@router.get("/status", response_model=StatusAnswer, responses=REFUSED)
async def status(service: TheService) -> Response:
    """
    Return the state of the service, its requests, and what is wrong.
    """
    found = {
        name: {
            "name": name,
            "status": _state(service),
            "url": "/v1",
            "model_id": _model_of(service, name),
            "last_health_check": _timestamp(),
        }
        for name in names_of(service)
    }
    answer = {
        "status": _state(service),
        "models": found,
        "uptime": round(monotonic() - service.started, 1),
        "total_requests": service.requests,
        "requests_by_model": dict(service.requests_by_model),
        "running": service.queue.running,
        "waiting": service.queue.waiting,
        "problems": service.problems,
        "engine": service.engine.place,
        "engine_note": service.engine.note,
        "engine_problem": service.engine_problem,
    }
    return as_json(answer, {})


def _state(service: Service) -> str:
    return "healthy" if service.ready else "unavailable"


def _model_of(service: Service, name: str) -> str | None:
    return service.versions.current if name == service.config.name else name.partition("@")[2]


def _card(service: Service, name: str) -> Json:
    stable = name == service.config.name
    described = "the version in use" if stable else f"version {name.partition('@')[2]}"
    return {
        "name": name,
        "description": described,
        "strengths": [],
        "status": _state(service),
        "model_id": _model_of(service, name),
    }


async def _whole(request: Request, exchange: Exchange) -> Answer:
    try:
        return await unless_gone(request, exchange.whole())
    finally:
        exchange.close()


async def _plain_stream(request: Request, exchange: Exchange) -> Response:
    try:
        await unless_gone(request, exchange.first())
    except BaseException:
        exchange.close()
        raise
    return Stream(
        _texts(exchange),
        media_type="text/plain; charset=utf-8",
        headers=exchange.headers,
        closed=exchange.close,
    )


async def _texts(exchange: Exchange) -> AsyncIterator[bytes]:
    try:
        async for piece in exchange.pieces():
            yield piece.text.encode()
    except Refusal as refusal:
        yield f"\n[error: {refusal.message}]\n".encode()
        return
