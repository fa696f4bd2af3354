"""
The requests of OpenAI's interface that are supported, and no other field.

A field that is not here is refused by its name, and so is a value that would have to be
ignored, such as ``n: 2``. Does not know models or routes.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

MOST_MESSAGES = 512
MOST_TOOLS = 128
MOST_STOPS = 16
MOST_TEXTS = 256
MOST_BYTES_OF_SCHEMA = 64 << 10
DEEPEST_OBJECT = 32

Short = Annotated[str, Field(max_length=256)]
Stop = Annotated[str, Field(min_length=1, max_length=256)]
Zero = Annotated[float, Field(ge=0, le=0)]


def _plain_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what Python reads as JSON and others do not: NaN, half characters, long numbers."""
    depth = depth_of(value)
    if depth > DEEPEST_OBJECT:
        raise ValueError(f"is nested {depth} deep, expected at most {DEEPEST_OBJECT}")
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        orjson.dumps(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"must be plain JSON: {error}") from None
    return value


JsonObject = Annotated[dict[str, Any], AfterValidator(_plain_json)]


class Shape(BaseModel):
    """
    Refuses fields that it does not name, and converts nothing.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("*")
    @classmethod
    def _is_utf8(cls, value: object) -> object:
        """Refuse halves of characters, which JSON can spell and UTF-8 cannot."""
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str) and any("\ud800" <= c <= "\udfff" for c in text):
                raise ValueError("holds half a surrogate pair, expected text that UTF-8 can hold")
        return value


class TextPart(Shape):
    type: Literal["text"]
    text: str


class CalledFunction(Shape):
    name: Short
    arguments: str


class ToolCall(Shape):
    id: Short
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Shape):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = Field(default=None, max_length=MOST_TOOLS)
    tool_call_id: Short | None = None

    @model_validator(mode="after")
    def _has_content(self) -> Message:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("content must be text; only a message with tool_calls may have none")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("tool_calls belong to a message of role assistant")
        if (self.tool_call_id is None) == (self.role == "tool"):
            raise ValueError("tool_call_id belongs to messages of role tool, and each needs it")
        return self


class FunctionShape(Shape):
    name: Short
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class Tool(Shape):
    type: Literal["function"]
    function: FunctionShape


class StreamOptions(Shape):
    include_usage: bool = False


class TextFormat(Shape):
    type: Literal["text"]


class JsonObjectFormat(Shape):
    type: Literal["json_object"]


class NamedSchema(Shape):
    name: Short
    description: str | None = None
    json_schema: JsonObject = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(Shape):
    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
]


class Common(Shape):
    """
    What both kinds of generation take.
    """

    model: Short
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0, le=100000)
    """Not OpenAI's; as vLLM has it. 0 is all."""
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: Stop | Annotated[list[Stop], Field(max_length=MOST_STOPS)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1
    frequency_penalty: Zero = 0.0
    presence_penalty: Zero = 0.0
    user: Short | None = None
    """A label of the client's; it changes no answer."""

    @model_validator(mode="after")
    def _streams(self) -> Common:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for stream: true only")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(Common):
    """
    POST /v1/chat/completions.
    """

    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    tools: list[Tool] | None = Field(default=None, max_length=MOST_TOOLS)
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: Literal[True] | None = None
    response_format: ResponseFormat | None = None
    store: Literal[False] | None = None

    @model_validator(mode="after")
    def _fits(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("max_tokens and max_completion_tokens mean the same; send one")
        if self.tools and isinstance(self.response_format, JsonObjectFormat | JsonSchemaFormat):
            raise ValueError("response_format and tools cannot be combined; send one of them")
        return self

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(Common):
    """
    POST /v1/completions: text that is taken as it is, without a template.
    """

    prompt: str = Field(min_length=1)
    max_tokens: int = Field(default=16, ge=1)
    logprobs: int | None = Field(default=None, ge=0, le=5)
    echo: Literal[False] = False
    best_of: Literal[1] = 1


class EmbeddingsRequest(Shape):
    """
    POST /v1/embeddings.
    """

    model: Short
    input: str | Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS)]
    encoding_format: Literal["float", "base64"] = "float"
    user: Short | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.input,) if isinstance(self.input, str) else tuple(self.input)


class PlainRequest(Shape):
    """
    POST /generate.
    """

    prompt: str = Field(min_length=1)
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    model: Short | None = None
    response_format: ResponseFormat | None = None
    """As of a chat; ``{"type": "text"}`` holds the answer to nothing."""


class TalkRequest(Shape):
    """
    POST /chat.
    """

    message: str = Field(min_length=1)
    model: Short | None = None
    stream: bool = False
    context: JsonObject | None = None
    """Given to the model as a system message, as JSON."""
    response_format: ResponseFormat | None = None
    """As of a chat; ``{"type": "text"}`` holds the answer to nothing."""


def depth_of(value: object) -> int:
    """
    Return how deep lists and objects are nested in *value*; 0 for any other.
    """
    deepest, waiting = 0, [(value, 0)]
    while waiting:
        found, depth = waiting.pop()
        deepest = max(deepest, depth)
        if isinstance(found, dict | list):
            inner = found.values() if isinstance(found, dict) else found
            waiting.extend((item, depth + 1) for item in inner)
    return deepest
