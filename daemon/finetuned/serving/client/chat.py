"""
A question asked of a running service, streamed from its /v1/chat/completions.
"""

from __future__ import annotations

import json
import time

from finetuned.core.copied import Invented
from finetuned.core.generation import FinishReason
from finetuned.core.question import Answer, AnswerEnd, Question
from finetuned.errors import EXIT_SOFTWARE, NoAnswer
from finetuned.serving.client.connection import events, posted
from finetuned.serving.client.find import RunningService

PATH = "/v1/chat/completions"


class ServiceModel:
    """
    One model of a running service.
    """

    def __init__(self, service: RunningService, model: str) -> None:
        """
        Args:
            service: That is asked.
            model: A name of it, such as finetuned or finetuned@v0007.
        """
        self.service = service
        self.model = model

    def answer(self, question: Question) -> Answer:
        """
        Ask, and yield the text as the service sends it.

        Raises:
            NoAnswer: The service refused, is gone, or ended the answer early.
        """
        began = time.monotonic()
        reading = _Reading(began, self.model)
        with posted(self.service, PATH, json.dumps(self._body(question)).encode()) as response:
            request_id = response.headers.get("x-request-id")
            for event in events(response):
                if text := reading.take(event):
                    yield text
        yield reading.end(request_id)

    def _body(self, question: Question) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self.model,
            "messages": list(question.messages),
            "temperature": question.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if question.max_tokens is not None:
            body["max_tokens"] = question.max_tokens
        if question.seed is not None:
            body["seed"] = question.seed
        if question.schema is not None:
            named = {"name": "answer", "schema": question.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif question.free:
            body["response_format"] = {"type": "text"}
        return body


class _Reading:
    """
    What the chunks of one stream have said so far.
    """

    def __init__(self, began: float, model: str) -> None:
        self._began = began
        self._model = model
        self._first: float | None = None
        self._reason: FinishReason | None = None
        self._reasoning: str | None = None
        self._tokens = (0, 0)
        self._invented: tuple[Invented, ...] = ()

    def take(self, chunk: dict[str, object]) -> str:
        """
        Return the text of a chunk, which may be empty.
        """
        match chunk:
            case {"usage": {"prompt_tokens": int(prompt), "completion_tokens": int(answer)}}:
                self._tokens = (prompt, answer)
        match chunk:
            case {"model": str(model)}:
                self._model = model
        match chunk:
            case {"choices": [{"finish_reason": str(reason)}, *_]}:
                self._reason = FinishReason(reason)
        match chunk:
            case {"choices": [{"invented": list(found)}, *_]}:
                self._invented = tuple(
                    Invented(path=str(one["path"]), value=str(one["value"])) for one in found
                )
        match chunk:
            case {"choices": [{"delta": {"reasoning_content": str(reasoning)}}, *_]}:
                self._reasoning = reasoning
        match chunk:
            case {"choices": [{"delta": {"content": str(text)}}, *_]} if text:
                self._first = self._first or time.monotonic()
                return text
        return ""

    def end(self, request_id: str | None) -> AnswerEnd:
        """
        Return the end of the answer.
        """
        if self._reason is None:
            raise NoAnswer(
                "the service ended its answer without a reason; is it of this program's version?",
                exit_status=EXIT_SOFTWARE,
            )
        now = time.monotonic()
        return AnswerEnd(
            model=self._model,
            reason=self._reason,
            prompt_tokens=self._tokens[0],
            answer_tokens=self._tokens[1],
            first_seconds=(self._first or now) - self._began,
            seconds=now - self._began,
            reasoning=self._reasoning,
            invented=self._invented,
            request_id=request_id,
        )
