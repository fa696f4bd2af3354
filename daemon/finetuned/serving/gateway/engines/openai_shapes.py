"""
Orders as requests of OpenAI's interface, and its streams as reports.

Pure: knows both shapes, not how they travel. Servers differ in small things, which stand here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import orjson

from finetuned.core.confidence.calibration import UNCALIBRATED
from finetuned.core.copy_marks import without_marks
from finetuned.core.generation import (
    Embed,
    Embedded,
    Failed,
    FailureKind,
    Finished,
    FinishReason,
    Generate,
    Guide,
    JsonObject,
    Piece,
    Sampling,
    TokenLogprob,
    copy_check,
)
from finetuned.core.json_schema import schema_complaint

KNOW_TEMPLATE_ARGUMENTS = frozenset({"vllm", "sglang", "llamacpp"})
"""``owned_by`` of servers that take chat_template_kwargs; others may refuse the field."""


def part(value: object, *path: str | int) -> object:
    """
    Return what stands at *path* in JSON; None if there is nothing.
    """
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def request(order: Generate, model: str, template: JsonObject | None) -> tuple[str, JsonObject]:
    """
    Return the path and the body of a request that streams the answer to *order*.

    Args:
        order: What to answer.
        model: The server's name of the model.
        template: Arguments of the chat template, None for a server that does not take them.
    """
    sampling = order.sampling
    body: JsonObject = {
        "model": model,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    alternatives = max(1, sampling.top_logprobs or 0)  # llama.cpp gives none at all for 0
    if order.text is not None:
        return "completions", {**body, "prompt": order.text, "logprobs": alternatives}
    if not order.tools or sampling.top_logprobs is not None:
        # llama.cpp refuses probabilities together with tools: they are not asked for unprompted.
        body |= {"logprobs": True, "top_logprobs": alternatives}
    if order.tools:
        body["tools"] = list(order.tools)
    if sampling.guide is not Guide.NONE:
        body["response_format"] = _format(sampling)
    if template is not None:
        body["chat_template_kwargs"] = template
    return "chat/completions", {**body, "messages": [_message(m) for m in order.messages]}


def embedding_request(order: Embed, model: str) -> tuple[str, JsonObject]:
    """
    Return the path and the body of a request for vectors.
    """
    return "embeddings", {"model": model, "input": list(order.texts), "encoding_format": "float"}


def embedded(order: Embed, body: object) -> Embedded | Failed:
    """
    Return the vectors in an answer.
    """
    rows = sorted(_list(part(body, "data")), key=lambda row: _count(part(row, "index")))
    vectors = tuple(tuple(map(_number, _list(part(row, "embedding")))) for row in rows)
    if len(vectors) != len(order.texts) or not all(vectors):
        message = f"the engine gave {len(vectors)} vectors for {len(order.texts)} texts"
        return Failed(id=order.id, kind=FailureKind.ENGINE, message=message)
    tokens = _count(part(body, "usage", "prompt_tokens"))
    return Embedded(id=order.id, model=order.model, vectors=vectors, prompt_tokens=tokens)


class AnswerReader:
    """
    One answer, from the first chunk of its stream to the end.
    """

    def __init__(self, order: Generate) -> None:
        self._order = order
        self._reason: str | None = None
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._usage: object = None
        self._logprob = 0.0
        self._tokens = 0

    def read(self, chunk: object) -> Piece | None:
        """
        Take a chunk, and return the text that it brings.
        """
        self._usage = part(chunk, "usage") or self._usage
        choice = part(chunk, "choices", 0)
        reason = part(choice, "finish_reason")
        self._reason = reason if isinstance(reason, str) else self._reason
        delta = part(choice, "delta")
        thought = part(delta, "reasoning_content") or part(delta, "reasoning")
        if isinstance(thought, str):
            self._thoughts.append(thought)
        for call in _list(part(delta, "tool_calls")):
            self._call(call)
        text = part(choice, "text") if delta is None else part(delta, "content")
        logprobs = self._probabilities(part(choice, "logprobs"))
        if not isinstance(text, str) or not (text or logprobs):
            return None
        self._texts.append(text)
        return Piece(id=self._order.id, text=text, logprobs=logprobs)

    def end(self, *, seconds: float, seconds_to_first: float) -> Finished | Failed:
        """
        Return what became of the answer, once the stream has ended.
        """
        reasons = {reason.value: reason for reason in FinishReason}
        reason = reasons.get(self._reason or "")
        if reason is None:
            why = f"with finish_reason {self._reason!r}" if self._reason else "without saying why"
            return self._failed(f"the engine ended the answer {why}; ask again")
        if reason is FinishReason.STOP and self._calls:
            reason = FinishReason.TOOL_CALLS
        complaint = self._complaint() if reason is FinishReason.STOP else None
        if complaint is not None:
            return self._failed(f"the engine's answer is not what was asked for: {complaint}")
        check = copy_check(self._order, reason, "".join(self._texts))
        return Finished(
            id=self._order.id,
            model=self._order.model,
            reason=reason,
            prompt_tokens=_count(part(self._usage, "prompt_tokens")),
            cached_tokens=_count(part(self._usage, "prompt_tokens_details", "cached_tokens")),
            answer_tokens=_count(part(self._usage, "completion_tokens"))
            or max(self._tokens, len(self._texts)),
            confidence=min(1.0, math.exp(self._logprob / self._tokens)) if self._tokens else None,
            confidence_source=UNCALIBRATED if self._tokens else None,
            tool_calls=tuple(
                {"type": "function", "function": dict(call)}
                for _, call in sorted(self._calls.items())
            ),
            reasoning="".join(self._thoughts) or None,
            copied=None if check is None else check.copied,
            invented=() if check is None else check.invented,
            seconds_to_first=seconds_to_first,
            seconds=seconds,
        )

    def _failed(self, message: str) -> Failed:
        return Failed(id=self._order.id, kind=FailureKind.ENGINE, message=message)

    def _call(self, call: object) -> None:
        """Add a part of a tool call: the name comes once, the arguments in pieces."""
        known = self._calls.setdefault(_count(part(call, "index")), {"name": "", "arguments": ""})
        for key in known:
            more = part(call, "function", key)
            known[key] += more if isinstance(more, str) else ""

    def _probabilities(self, found: object) -> tuple[TokenLogprob, ...]:
        """Count the tokens' probabilities, and return those that the client asked for."""
        tokens = chat_tokens(found) if part(found, "content") else text_tokens(found)
        self._tokens += len(tokens)
        self._logprob += sum(token.logprob for token in tokens)
        wanted = self._order.sampling.top_logprobs
        if wanted is None:
            return ()
        return tuple(
            TokenLogprob(text=token.text, logprob=token.logprob, top=token.top[:wanted])
            for token in tokens
        )

    def _complaint(self) -> str | None:
        """The server was asked to hold the answer to a schema; whether it did is checked here."""
        sampling = self._order.sampling
        if sampling.guide is Guide.NONE:
            return None
        try:
            value = orjson.loads("".join(self._texts))
        except orjson.JSONDecodeError as error:
            return f"not JSON: {error}"
        return schema_complaint(value, sampling.schema or {"type": "object"})


def chat_tokens(found: object) -> list[TokenLogprob]:
    """
    Return the tokens of ``logprobs`` as chats have them; llama.cpp's completions likewise.
    """
    return [
        TokenLogprob(
            text=str(part(one, "token")),
            logprob=_number(part(one, "logprob")),
            top=tuple(
                (str(part(other, "token")), _number(part(other, "logprob")))
                for other in _list(part(one, "top_logprobs"))
            ),
        )
        for one in _list(part(found, "content"))
    ]


def text_tokens(found: object) -> list[TokenLogprob]:
    """
    Return the tokens of ``logprobs`` as completions have them.
    """
    tops = _list(part(found, "top_logprobs"))
    return [
        TokenLogprob(
            text=str(text),
            logprob=_number(part(found, "token_logprobs", at)),
            top=_pairs(tops[at] if at < len(tops) else None),
        )
        for at, text in enumerate(_list(part(found, "tokens")))
    ]


def _pairs(top: object) -> tuple[tuple[str, float], ...]:
    found = top.items() if isinstance(top, dict) else ()
    return tuple(sorted(((str(k), _number(v)) for k, v in found), key=lambda pair: -pair[1]))


def _format(sampling: Sampling) -> JsonObject:
    if sampling.guide is Guide.JSON_OBJECT:
        return {"type": "json_object"}
    schema = without_marks(sampling.schema or {})  # a keyword of ours, which others refuse
    named: JsonObject = {"name": "answer", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}


def _message(message: JsonObject) -> JsonObject:
    """A message as OpenAI has it: arguments of a call as text."""
    calls = message.get("tool_calls")
    if not isinstance(calls, Sequence):
        return message
    written = []
    for call in calls:
        arguments = orjson.dumps(part(call, "function", "arguments")).decode()
        function = {"name": part(call, "function", "name"), "arguments": arguments}
        written.append({"id": part(call, "id"), "type": "function", "function": function})
    return {**message, "tool_calls": written}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
