"""
Requests of clients as orders to the engine.

Pure: knows the shapes of both sides, not how either travels.
"""

from __future__ import annotations

import secrets

import orjson

from finetuned.core.answer_format import AnswerFormat
from finetuned.core.copy_marks import check_marks
from finetuned.core.generation import Generate, Guide, JsonObject, Sampling
from finetuned.serving.gateway.errors import Refusal
from finetuned.serving.gateway.shapes import (
    MOST_BYTES_OF_SCHEMA,
    ChatRequest,
    CompletionRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    Message,
    PlainRequest,
    ResponseFormat,
    TalkRequest,
    ToolCall,
)


def new_id(prefix: str) -> str:
    """
    Return a request id that nobody can guess, such as ``chatcmpl-9f...``.
    """
    return f"{prefix}-{secrets.token_hex(12)}"


def chat_order(
    request: ChatRequest, *, model: str, most_tokens: int, default: AnswerFormat | None = None
) -> Generate:
    """
    Return the order for a chat.

    Args:
        request: The client's.
        model: Name of a held model.
        most_tokens: ``serving.max_tokens``.
        default: What an answer is held to if the request does not say it, and has neither
            tools nor stop texts, which would cut it.

    Raises:
        Refusal: max_tokens is above the limit, or the schema is too large or has a wrong mark.
    """
    field = "max_tokens" if request.max_tokens is not None else "max_completion_tokens"
    default = None if request.tools or request.stops else default
    guide, schema = _guide(request.response_format, default)
    sampling = Sampling(
        max_tokens=_tokens(request.limit, most_tokens, field),
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        seed=request.seed,
        stop=request.stops,
        top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        guide=guide,
        schema=schema,
    )
    tools = () if request.tool_choice == "none" else tuple(request.tools or ())
    return Generate(
        id=new_id("chatcmpl"),
        model=model,
        sampling=sampling,
        messages=tuple(_message(message) for message in request.messages),
        tools=tuple(tool.model_dump(exclude_none=True) for tool in tools),
    )


def completion_order(request: CompletionRequest, *, model: str, most_tokens: int) -> Generate:
    """
    Return the order for a text that is gone on with. Arguments and errors as chat_order.
    """
    sampling = Sampling(
        max_tokens=_tokens(request.max_tokens, most_tokens, "max_tokens"),
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        seed=request.seed,
        stop=request.stops,
        top_logprobs=request.logprobs,
    )
    return Generate(id=new_id("cmpl"), model=model, sampling=sampling, text=request.prompt)


def plain_order(
    request: PlainRequest, *, model: str, most_tokens: int, default: AnswerFormat | None = None
) -> Generate:
    """
    Return the order for POST /generate: one message of a user. Otherwise as chat_order.
    """
    guide, schema = _guide(request.response_format, default)
    sampling = Sampling(
        max_tokens=_tokens(request.max_tokens, most_tokens, "max_tokens"),
        temperature=request.temperature,
        seed=request.seed,
        guide=guide,
        schema=schema,
    )
    user: JsonObject = {"role": "user", "content": request.prompt}
    return Generate(id=new_id("gen"), model=model, sampling=sampling, messages=(user,))


def talk_order(
    request: TalkRequest, *, model: str, most_tokens: int, default: AnswerFormat | None = None
) -> Generate:
    """
    Return the order for POST /chat: the context, if any, as a system message of JSON.
    """
    user: JsonObject = {"role": "user", "content": request.message}
    messages: tuple[JsonObject, ...] = (user,)
    if request.context:
        messages = ({"role": "system", "content": orjson.dumps(request.context).decode()}, user)
    guide, schema = _guide(request.response_format, default)
    sampling = Sampling(max_tokens=most_tokens, guide=guide, schema=schema)
    return Generate(id=new_id("chat"), model=model, sampling=sampling, messages=messages)


def _tokens(asked: int | None, most: int, field: str) -> int:
    if asked is not None and asked > most:
        raise Refusal(
            400,
            f"{field} is {asked}, at most {most} is allowed (serving.max_tokens)",
            param=field,
            code="invalid_value",
        )
    return most if asked is None else asked


def _guide(
    wanted: ResponseFormat | None, default: AnswerFormat | None
) -> tuple[Guide, JsonObject | None]:
    """Return what an answer is held to: by the request, else by *default*."""
    if wanted is None and default is not None:
        return Guide.JSON_SCHEMA, dict(default.schema)
    if isinstance(wanted, JsonObjectFormat):
        return Guide.JSON_OBJECT, None
    if not isinstance(wanted, JsonSchemaFormat):
        return Guide.NONE, None
    schema = wanted.json_schema.json_schema
    size = len(orjson.dumps(schema))
    if size > MOST_BYTES_OF_SCHEMA:
        raise Refusal(
            400,
            f"the schema has {size} bytes, at most {MOST_BYTES_OF_SCHEMA} are allowed",
            param="response_format.json_schema.schema",
            code="invalid_value",
        )
    try:
        check_marks(schema)
    except ValueError as error:
        raise Refusal(
            400, str(error), param="response_format.json_schema.schema", code="invalid_value"
        ) from None
    return Guide.JSON_SCHEMA, schema


def _message(message: Message) -> JsonObject:
    found: JsonObject = message.model_dump(exclude_none=True)
    if isinstance(message.content, list):
        found["content"] = "".join(part.text for part in message.content)
    found.setdefault("content", "")
    if message.tool_calls:
        found["tool_calls"] = [_call(call, at)
                               for at, call in enumerate(message.tool_calls)]  # fmt: skip
    if found["role"] == "developer":
        found["role"] = "system"  # OpenAI's newer word for it; templates know the older one
    return found


def _call(call: ToolCall, at: int) -> JsonObject:
    """A call as templates render it: its arguments as an object, not as text."""
    try:
        value = orjson.loads(call.function.arguments)
    except orjson.JSONDecodeError as error:
        where = f"messages.tool_calls[{at}].function.arguments"
        message = f"{where} must be JSON: {error}"
        raise Refusal(400, message, param=where, code="invalid_value") from None
    function: JsonObject = {"name": call.function.name, "arguments": value}
    return {"id": call.id, "type": "function", "function": function}
