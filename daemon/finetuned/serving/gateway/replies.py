"""
Answers in OpenAI's shapes: whole ones, and the chunks of a stream.

Pure: knows the engine's values and OpenAI's keys, not how they travel.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any

from finetuned.core.generation import Embedded, Finished, TokenLogprob
from finetuned.serving.gateway.metering import Answer

Json = dict[str, Any]


def usage(finished: Finished) -> Json:
    """
    Return the token counts of an answer.
    """
    return {
        "prompt_tokens": finished.prompt_tokens,
        "completion_tokens": finished.answer_tokens,
        "total_tokens": finished.prompt_tokens + finished.answer_tokens,
        "prompt_tokens_details": {"cached_tokens": finished.cached_tokens},
    }


def copied(finished: Finished) -> Json:
    """
    Return whether the answer's values stand in the prompt, and those that do not.
    """
    invented = [{"path": one.path, "value": one.value} for one in finished.invented]
    return {"copied": finished.copied, "invented": invented}


def tool_calls(finished: Finished, request_id: str) -> list[Json]:
    """
    Return the calls of an answer with ids of their own.
    """
    suffix = request_id.partition("-")[2]
    return [
        {"id": f"call_{suffix}_{at}", "type": "function", "function": call["function"]}
        for at, call in enumerate(finished.tool_calls)
    ]


def _token(found: TokenLogprob) -> Json:
    def one(text: str, logprob: float) -> Json:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    top = [one(text, logprob) for text, logprob in found.top]
    return {**one(found.text, found.logprob), "top_logprobs": top}


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> Json:
    """
    Return the probabilities of tokens as chats have them.
    """
    return {"content": [_token(token) for token in tokens], "refusal": None}


def text_logprobs(tokens: Sequence[TokenLogprob], offset: int = 0) -> Json:
    """
    Return the probabilities of tokens as completions have them.

    Args:
        tokens: In order.
        offset: Characters of the answer before the first of them.
    """
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.top) for token in tokens],
        "text_offset": offsets,
    }


def _copied_if_known(finished: Finished) -> Json:
    """OpenAI's shape has these keys only if a schema asks for them."""
    return {} if finished.copied is None else copied(finished)


class ChatReply:
    """
    One chat's answer, whole or in chunks.
    """

    def __init__(self, *, request_id: str, created: int, model: str, logprobs: bool) -> None:
        """
        Args:
            request_id: As ``id`` of every chunk.
            created: Seconds since 1970.
            model: What answers, such as finetuned@v0007.
            logprobs: Whether the client asked for probabilities.
        """
        self._head = {"id": request_id, "created": created, "model": model}
        self._id = request_id
        self._logprobs = logprobs

    def whole(self, answer: Answer) -> Json:
        """
        Return the body of a response that is not streamed.
        """
        message: Json = {"role": "assistant", "content": answer.text, "refusal": None}
        calls = tool_calls(answer.finished, self._id)
        if calls:
            message |= {"content": answer.text or None, "tool_calls": calls}
        if answer.finished.reasoning is not None:
            message["reasoning_content"] = answer.finished.reasoning
        choice = {
            "index": 0,
            "message": message,
            "logprobs": chat_logprobs(answer.logprobs) if self._logprobs else None,
            "finish_reason": str(answer.finished.reason),
            **_copied_if_known(answer.finished),
        }
        body = {**self._head, "object": "chat.completion", "choices": [choice]}
        return {**body, "usage": usage(answer.finished)}

    def begin(self) -> list[Json]:
        """
        Return the chunks before the first text.
        """
        return [self._chunk({"role": "assistant", "content": ""})]

    def piece(self, text: str, logprobs: Sequence[TokenLogprob]) -> Json:
        """
        Return the chunk of more text.
        """
        return self._chunk({"content": text}, logprobs=logprobs)

    def end(self, finished: Finished) -> list[Json]:
        """
        Return the chunks after the last text.
        """
        chunks = []
        if finished.reasoning is not None:
            chunks.append(self._chunk({"reasoning_content": finished.reasoning}))
        calls = tool_calls(finished, self._id)
        if calls:
            numbered = [{"index": at, **call} for at, call in enumerate(calls)]
            chunks.append(self._chunk({"tool_calls": numbered}))
        last = self._chunk({}, reason=str(finished.reason))
        last["choices"][0] |= _copied_if_known(finished)
        return [*chunks, last]

    def counts(self, finished: Finished) -> Json:
        """
        Return the chunk of ``stream_options.include_usage``.
        """
        body = {**self._head, "object": "chat.completion.chunk", "choices": []}
        return {**body, "usage": usage(finished)}

    def _chunk(
        self, delta: Json, *, logprobs: Sequence[TokenLogprob] = (), reason: str | None = None
    ) -> Json:
        choice: Json = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        if self._logprobs and logprobs:
            choice["logprobs"] = chat_logprobs(logprobs)
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}


class TextReply:
    """
    The same for a completion.
    """

    def __init__(self, *, request_id: str, created: int, model: str, logprobs: bool) -> None:
        """Take what ChatReply takes."""
        self._head = {
            "id": request_id,
            "object": "text_completion",
            "created": created,
            "model": model,
        }
        self._logprobs = logprobs
        self._written = 0

    def whole(self, answer: Answer) -> Json:
        """Return the body of a response that is not streamed."""
        logprobs = text_logprobs(answer.logprobs) if self._logprobs else None
        choice = self._choice(answer.text, logprobs, str(answer.finished.reason))
        return {**self._head, "choices": [choice], "usage": usage(answer.finished)}

    def begin(self) -> list[Json]:
        """Return the chunks before the first text: none."""
        return []

    def piece(self, text: str, logprobs: Sequence[TokenLogprob]) -> Json:
        """Return the chunk of more text."""
        found = text_logprobs(logprobs, self._written) if self._logprobs else None
        self._written += len(text)
        return {**self._head, "choices": [self._choice(text, found, None)]}

    def end(self, finished: Finished) -> list[Json]:
        """Return the chunks after the last text."""
        return [{**self._head, "choices": [self._choice("", None, str(finished.reason))]}]

    def counts(self, finished: Finished) -> Json:
        """Return the chunk of ``stream_options.include_usage``."""
        return {**self._head, "choices": [], "usage": usage(finished)}

    def _choice(self, text: str, logprobs: Json | None, reason: str | None) -> Json:
        return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}


Reply = ChatReply | TextReply


def embeddings(found: Embedded, *, model: str, as_base64: bool) -> Json:
    """
    Return the body of an answer to /v1/embeddings.
    """

    def shown(vector: Sequence[float]) -> str | list[float]:
        if not as_base64:
            return list(vector)
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

    data = [
        {"object": "embedding", "index": at, "embedding": shown(vector)}
        for at, vector in enumerate(found.vectors)
    ]
    counts = {"prompt_tokens": found.prompt_tokens, "total_tokens": found.prompt_tokens}
    return {"object": "list", "data": data, "model": model, "usage": counts}
