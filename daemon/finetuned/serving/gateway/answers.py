"""
The answers of every route as types, for the OpenAPI document. Nothing is converted by them.

tests/faults/test_gateway_schema.py holds what is really answered to them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from finetuned.serving.gateway.unsure import Decision


class Shown(BaseModel):
    """
    An object with these keys and no other.
    """

    model_config = ConfigDict(extra="forbid")


class ErrorDetails(Shown):
    message: str
    """What was found, what was expected, what to do."""
    type: str
    param: str | None
    """The field of the request that is wrong."""
    code: str | None
    """A word for programs."""


class ErrorAnswer(Shown):
    """
    OpenAI's shape of every refusal.
    """

    error: ErrorDetails


class ModelCard(Shown):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(Shown):
    object: Literal["list"]
    data: list[ModelCard]


class CachedTokens(Shown):
    cached_tokens: int


class Usage(Shown):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class TokenChance(Shown):
    token: str
    logprob: float
    bytes: list[int]


class TokenChances(TokenChance):
    top_logprobs: list[TokenChance]


class ChatChances(Shown):
    content: list[TokenChances]
    refusal: None


class FunctionCall(Shown):
    name: str
    arguments: str


class Call(Shown):
    id: str
    type: Literal["function"]
    function: FunctionCall


class Said(BaseModel):
    """
    The message of an answer; tool_calls and reasoning_content are there only if there are any.
    """

    model_config = ConfigDict(extra="forbid")

    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[Call] = Field(default=[])
    reasoning_content: str = ""


Reason = Literal["stop", "length", "tool_calls"]


class InventedValue(Shown):
    """
    A value of an answer that its format says is copied, and that the messages do not have.
    """

    path: str
    """Where it is in the answer, such as $.zone."""
    value: str


class ChatChoice(Shown):
    """
    copied and invented are there only if the answer's schema marks values as copied.
    """

    index: int
    message: Said
    logprobs: ChatChances | None
    finish_reason: Reason
    copied: bool = True
    """Whether all marked values stand in the messages."""
    invented: list[InventedValue] = Field(default=[])


class ChatAnswer(Shown):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class TextChances(Shown):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Shown):
    index: int
    text: str
    logprobs: TextChances | None
    finish_reason: Reason


class TextAnswer(Shown):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage


class Embedding(Shown):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str
    """Numbers, or 32-bit floats in base64 if that was asked for."""


class EmbeddingsUsage(Shown):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(Shown):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage


class PlainAnswer(Shown):
    """
    Of POST /generate.
    """

    text: str
    """Not the model's answer if the decision is clarify: a command that asks, or nothing."""
    decision: Decision
    model: str
    finish_reason: Reason
    confidence: float | None
    """0 to 1; null if the engine gave no probabilities."""
    confidence_source: str | None
    """Whether it is calibrated, and on what."""
    copied: bool | None
    """Whether all values that the schema says are copied stand in the prompt; null without such."""
    invented: list[InventedValue]
    request_id: str
    usage: Usage


class TalkAnswer(Shown):
    """
    Of POST /chat.
    """

    response: str
    """As the text of POST /generate."""
    decision: Decision
    confidence: float | None
    confidence_source: str | None
    model_used: str
    timestamp: str
    processing_time: float
    tokens_used: int
    copied: bool | None
    invented: list[InventedValue]


class About(Shown):
    service: str
    version: str
    models: list[str]
    endpoints: dict[str, str]


class DocumentCard(Shown):
    name: str
    description: str
    strengths: list[str]
    status: Literal["healthy", "unavailable"]
    model_id: str | None


class DocumentCards(Shown):
    models: dict[str, DocumentCard]


class ModelStatus(Shown):
    name: str
    status: Literal["healthy", "unavailable"]
    url: str
    model_id: str | None
    last_health_check: str


class StatusAnswer(Shown):
    status: Literal["healthy", "unavailable"]
    models: dict[str, ModelStatus]
    uptime: float
    total_requests: int
    requests_by_model: dict[str, int]
    running: int
    waiting: int
    problems: dict[str, str]
    engine: str
    engine_note: str
    engine_problem: str


class Alive(Shown):
    status: Literal["ok"]


class Readiness(Shown):
    status: Literal["ok", "unavailable"]
    timestamp: str
    model: str | None
    reason: str
    problems: dict[str, str]
    engine: str
    engine_note: str


Responses = dict[int | str, dict[str, Any]]

REFUSED: Responses = {"4XX": {"model": ErrorAnswer}, "5XX": {"model": ErrorAnswer}}
"""What every route may answer instead."""

STREAMED: Responses = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
    **REFUSED,
}
"""Of a route that streams if it is asked to."""

TALKED: Responses = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **REFUSED}
"""Of POST /chat, which streams plain text."""

PAGED: Responses = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}, **REFUSED}
"""Of GET /, which gives a browser the live page."""
