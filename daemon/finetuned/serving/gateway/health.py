"""
/health/live: the process answers. /health/ready and /health: a token was really generated.

A look asks the engine for one token, unless it gave an answer a moment ago.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from time import monotonic

import orjson
from fastapi import APIRouter
from starlette.responses import Response

from finetuned.core.generation import Failed, Generate, Piece, Sampling
from finetuned.serving.gateway.answers import REFUSED, Alive, Readiness, Responses
from finetuned.serving.gateway.errors import Refusal
from finetuned.serving.gateway.orders import new_id
from finetuned.serving.gateway.routes_openai import TheService
from finetuned.serving.gateway.service import Service

router = APIRouter(prefix="/health")

FRESH_SECONDS = 5.0
"""An answer of this age still shows that the engine generates."""
PROBE_SECONDS = 5.0
"""How long the engine may take for one token."""


READY: Responses = {503: {"model": Readiness}, **REFUSED}


@router.get("/live", response_model=Alive, responses=REFUSED)
async def live() -> dict[str, str]:
    """
    Say that the process answers.
    """
    return {"status": "ok"}


@router.get("", response_model=Readiness, responses=READY)
@router.get("/ready", response_model=Readiness, responses=READY)
async def ready(service: TheService) -> Response:
    """
    Say whether requests are answered, by generating a token: 200 or 503.
    """
    why = await why_not_ready(service)
    body = {
        "status": "ok" if not why else "unavailable",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "model": service.versions.current,
        "reason": why,
        "problems": service.problems,
        "engine": service.engine.place,
        "engine_note": service.engine.note,
    }
    return Response(orjson.dumps(body), 503 if why else 200, media_type="application/json")


async def why_not_ready(service: Service) -> str:
    """
    Return why requests are not answered; "" if they are.
    """
    if not service.ready:
        problems = service.versions.problems.values()
        return service.engine_problem or next(iter(problems), "the model is being loaded")
    if service.answered_at is not None and monotonic() - service.answered_at < FRESH_SECONDS:
        return ""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await _one_token(service)
    except TimeoutError:
        return f"the engine did not generate a token within {PROBE_SECONDS:g} s"
    except Refusal as refusal:
        return refusal.message


async def _one_token(service: Service) -> str:
    model = await service.versions.resolve(service.config.name)
    sampling = Sampling(max_tokens=1)
    order = Generate(id=new_id("probe"), model=model, sampling=sampling, text="0")
    ticket = service.queue.submit(order)
    try:
        while True:
            report = await ticket.next()
            if isinstance(report, Failed):
                return report.message
            if not isinstance(report, Piece):
                service.answered()
                return ""
    finally:
        service.queue.cancel(ticket)
