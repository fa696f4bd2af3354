"""
/v1/models, /v1/chat/completions, /v1/completions and /v1/embeddings, as OpenAI has them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from finetuned.core.access import Caller
from finetuned.core.generation import Embed
from finetuned.serving.gateway.answers import (
    REFUSED,
    STREAMED,
    ChatAnswer,
    EmbeddingsAnswer,
    ModelCard,
    ModelList,
    TextAnswer,
)
from finetuned.serving.gateway.errors import Refusal, no_model
from finetuned.serving.gateway.exchange import Exchange, embedded, unless_gone
from finetuned.serving.gateway.orders import chat_order, completion_order, new_id
from finetuned.serving.gateway.replies import ChatReply, Json, Reply, TextReply, embeddings
from finetuned.serving.gateway.service import Service
from finetuned.serving.gateway.shapes import ChatRequest, CompletionRequest, EmbeddingsRequest
from finetuned.serving.gateway.sse import DONE, Stream, error_event, event, with_pings

router = APIRouter(prefix="/v1")


def service_of(request: Request) -> Service:
    """
    Return the service that *request* came to.
    """
    service: Service = request.app.state.service
    return service


def caller_of(request: Request) -> Caller:
    """
    Return who asks, as KeyGuard left it.
    """
    caller: Caller = request.state.caller
    return caller


TheService = Annotated[Service, Depends(service_of)]
TheCaller = Annotated[Caller, Depends(caller_of)]


def as_json(body: object, headers: dict[str, str]) -> Response:
    """
    Return a response with *body* as JSON.
    """
    return Response(orjson.dumps(body), headers=headers, media_type="application/json")


@router.get("/models", response_model=ModelList, responses=REFUSED)
async def list_models(service: TheService) -> Response:
    """
    List the stable name, and each version that can be asked.
    """
    data = [_card(name) for name in names_of(service)]
    return as_json({"object": "list", "data": data}, {})


@router.get("/models/{name}", response_model=ModelCard, responses=REFUSED)
async def show_model(name: str, service: TheService) -> Response:
    """
    Show one of them.
    """
    names = names_of(service)
    if name not in names:
        raise no_model(name, names)
    return as_json(_card(name), {})


def names_of(service: Service) -> list[str]:
    """
    Return what can be asked: the stable name, what is loaded, the base, every other version.
    """
    return service.versions.known()


def _card(name: str) -> Json:
    created = int(time.time())
    return {"id": name, "object": "model", "created": created, "owned_by": "finetuned"}


@router.post("/chat/completions", response_model=ChatAnswer, responses=STREAMED)
async def chat(
    body: ChatRequest, request: Request, service: TheService, caller: TheCaller
) -> Response:
    """
    Answer a conversation.
    """
    model = await service.versions.resolve(body.model)
    order = chat_order(
        body,
        model=model,
        most_tokens=service.config.max_tokens,
        default=service.answer_format,
    )
    reply = ChatReply(
        request_id=order.id,
        created=int(time.time()),
        model=service.public(model),
        logprobs=body.logprobs,
    )
    exchange = await Exchange.open(
        service, route="/v1/chat/completions", caller=caller, order=order
    )
    return await _respond(request, exchange, reply, body.stream, body.include_usage)


@router.post("/completions", response_model=TextAnswer, responses=STREAMED)
async def complete(
    body: CompletionRequest, request: Request, service: TheService, caller: TheCaller
) -> Response:
    """
    Go on with a text.
    """
    model = await service.versions.resolve(body.model)
    order = completion_order(body, model=model, most_tokens=service.config.max_tokens)
    reply = TextReply(
        request_id=order.id,
        created=int(time.time()),
        model=service.public(model),
        logprobs=body.logprobs is not None,
    )
    exchange = await Exchange.open(service, route="/v1/completions", caller=caller, order=order)
    return await _respond(request, exchange, reply, body.stream, body.include_usage)


@router.post("/embeddings", response_model=EmbeddingsAnswer, responses=REFUSED)
async def embed(
    body: EmbeddingsRequest, request: Request, service: TheService, caller: TheCaller
) -> Response:
    """
    Return a vector for each text, if ``serving.embeddings`` allows it.
    """
    if not service.config.embeddings:
        raise Refusal(
            404,
            "embeddings are switched off; set embeddings = true under [serving] in config.toml",
            code="not_enabled",
        )
    model = await service.versions.resolve(body.model)
    limits = await service.admit(caller, 0)
    ticket = service.queue.submit(Embed(id=new_id("embd"), model=model, texts=body.texts))
    try:
        found = embedded(await unless_gone(request, ticket.next()))
    finally:
        service.queue.cancel(ticket)
    service.charge(caller, found.prompt_tokens)
    as_base64 = body.encoding_format == "base64"
    answer = embeddings(found, model=service.public(model), as_base64=as_base64)
    return as_json(answer, {**limits, "x-request-id": ticket.id})


async def _respond(
    request: Request, exchange: Exchange, reply: Reply, stream: bool, include_usage: bool
) -> Response:
    """Wait for the first token, then stream, or for all of the answer."""
    try:
        if not stream:
            answer = await unless_gone(request, exchange.whole())
            exchange.close()
            return as_json(reply.whole(answer), exchange.headers)
        await unless_gone(request, exchange.first())
    except BaseException:
        exchange.close()
        raise
    chunks = with_pings(_chunks(exchange, reply, include_usage))
    return Stream(chunks, headers=exchange.headers, closed=exchange.close)


async def _chunks(exchange: Exchange, reply: Reply, include_usage: bool) -> AsyncIterator[bytes]:
    for chunk in reply.begin():
        yield event(chunk)
    try:
        async for piece in exchange.pieces():
            yield event(reply.piece(piece.text, piece.logprobs))
    except Refusal as refusal:
        yield error_event(refusal)
        return
    finished = exchange.answer.finished
    for chunk in reply.end(finished):
        yield event(chunk)
    if include_usage:
        yield event(reply.counts(finished))
    yield DONE
