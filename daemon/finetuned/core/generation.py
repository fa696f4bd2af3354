"""
What a serving engine is asked and what it answers: values that cross a process border.

The gateway has clients, keys and a queue; the engine has weights. They share these types and
nothing else. Does not know HTTP, models or how the values travel (process/channel.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from finetuned.core.copied import CopyCheck, Invented, check_copied
from finetuned.core.copy_marks import has_marks

JsonObject = dict[str, object]
"""What a client wrote as a JSON object; only the template or the schema's reader looks inside."""


AS_STARTED = "as-started"
"""
Name of the model of a server that takes no adapters: nobody here knows which version it is.
"""


class FinishReason(StrEnum):
    """
    Why an answer ended, in OpenAI's words.
    """

    STOP = "stop"  # the model ended it, or a stop text was reached
    LENGTH = "length"  # max_tokens or the model's longest input was reached
    TOOL_CALLS = "tool_calls"


class Guide(StrEnum):
    """
    What an answer is held to, token by token.
    """

    NONE = "none"
    JSON_OBJECT = "json_object"  # any JSON object
    JSON_SCHEMA = "json_schema"


class FailureKind(StrEnum):
    """
    Why a request has no answer.
    """

    BAD_REQUEST = "bad_request"  # the template refuses the messages, or the schema is not usable
    TOO_LONG = "too_long"  # prompt and answer can never fit
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    NO_MODEL = "no_model"  # nothing of that name is held
    ENGINE = "engine"  # a bug, an answer that is not what it was held to, or the engine died
    UNAVAILABLE = "unavailable"  # a server has too much to do, or is gone; no fault of the model
    STOPPED = "stopped"  # somebody stops the service


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """
    What an engine is told when it is started, and cannot be changed while it runs.
    """

    max_running: int = 16
    """Most requests that are answered at once, >= 1."""
    kv_bytes: int = 1 << 30
    """
    Most memory for keys and values of running requests and of kept prompts; 0 is a quarter of
    what is free at the start.
    """
    dtype: str = "auto"
    """``model.dtype`` of the configuration."""
    device: str = "auto"
    """``model.device`` of the configuration."""
    enable_thinking: bool = False
    """``model.enable_thinking`` of the configuration."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldModel:
    """
    A model that the engine is told to hold, by its folders.
    """

    name: str
    """``v0007``, ``base``, or the name of a folder: what answers are labelled with."""
    base: Path
    """Directory of a full model."""
    folder: Path | None = None
    """The version whose adapter goes on top; None if the base is the whole model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """
    How tokens are chosen, and when an answer ends.
    """

    max_tokens: int
    """>= 1."""
    temperature: float = 0.0
    """0 takes the likeliest token; up to 2."""
    top_p: float = 1.0
    """Only the likeliest tokens that hold this share together, > 0 to 1."""
    top_k: int = 0
    """Only so many likeliest tokens; 0 is all."""
    seed: int | None = None
    """The same seed, prompt and model give the same answer; None draws one."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer and are not part of it."""
    top_logprobs: int | None = None
    """Alternatives that are reported for each token, 0 to 20; None reports no probability."""
    guide: Guide = Guide.NONE
    schema: JsonObject | None = None
    """The JSON schema of Guide.JSON_SCHEMA."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Generate:
    """
    Answer one prompt: messages, or text that is taken as it is.
    """

    id: str
    model: str
    """Name of a held model."""
    sampling: Sampling
    messages: tuple[JsonObject, ...] = ()
    """As data.messages describes them; empty with *text*."""
    tools: tuple[JsonObject, ...] = ()
    text: str | None = None
    seconds: float = 60.0
    """Until the answer has to be whole; the time before the engine had it does not count."""


def copy_check(order: Generate, reason: FinishReason, answer: str) -> CopyCheck | None:
    """
    Return whether the values of a whole answer stand in the messages; None if nothing is to be
    looked for.
    """
    schema = order.sampling.schema
    if schema is None or reason is not FinishReason.STOP or not has_marks(schema):
        return None
    told = [str(message.get("content") or "") for message in order.messages]
    return check_copied(answer, schema, "\n".join(told))


@dataclass(frozen=True, kw_only=True, slots=True)
class Embed:
    """
    Return the mean of the last hidden states over the tokens of each text.
    """

    id: str
    model: str
    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """
    Nobody waits for this request any more.
    """

    id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """
    Load these models, and keep no other than those that requests still run on.

    The first is what new requests of the stable name go to once it is loaded.
    """

    models: tuple[HeldModel, ...]


Order = Generate | Embed | Cancel | Hold
"""What the gateway writes; the end of its input ends the engine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLogprob:
    """
    A token's text, the natural logarithm of its probability, and the likeliest others.
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """
    More of an answer: whole characters, in order.
    """

    id: str
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """
    The end of an answer.
    """

    id: str
    model: str
    """Name of the model that gave all of it."""
    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    """Tokens of the prompt that were not computed again."""
    answer_tokens: int
    confidence: float | None
    """
    How likely the answer is right, 0 to 1, if the model's version has a map for it; else the mean
    probability of its tokens (geometric). None if the engine gave no probabilities.
    """
    confidence_source: str | None = None
    """Which of the two, for people; None like confidence."""
    tool_calls: tuple[JsonObject, ...] = ()
    """As OpenAI writes them, without ids."""
    reasoning: str | None = None
    """A reasoning block that the answer began with; never part of its text."""
    copied: bool | None = None
    """
    Whether every value that the schema marks as copied stands in the prompt; None if it marks
    none, or if the answer was cut.
    """
    invented: tuple[Invented, ...] = ()
    """The values that do not."""
    seconds_to_first: float = 0.0
    """From the order's arrival in the engine to its first token."""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedded:
    """
    The vectors of one Embed, in the order of its texts.
    """

    id: str
    model: str
    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """
    A request that has no answer, or whose answer ended early.
    """

    id: str
    kind: FailureKind
    message: str
    """What was found, what was expected, what to do."""
    field: str | None = None
    """Of the request, if one field is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """
    What the engine has loaded; written after each change and at the start.
    """

    names: tuple[str, ...]
    problems: dict[str, str] = field(default_factory=dict)
    """Why a model that it was told to hold is not loaded, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """
    What the engine is doing; written once a second.
    """

    running: int
    waiting: int
    cache_bytes: int
    cache_limit: int
    device: str


Report = Piece | Finished | Embedded | Failed | Holding | Beat
"""What the engine writes."""
