"""
A refused request, and OpenAI's shape of it: ``{"error": {message, type, param, code}}``.

Does not know routes, nor how a refusal travels: as an answer, or inside a stream (sse.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from pydantic_core import ErrorDetails
from starlette.responses import Response

from finetuned.core.generation import Failed, FailureKind
from finetuned.core.text import printable
from finetuned.serving.gateway.refusal import Refused

BAD_REQUEST: Final = "invalid_request_error"
SERVER_ERROR: Final = "server_error"
_FORMATS: Final = ("text", "json_object", "json_schema")

_FAILURES: Final[Mapping[FailureKind, tuple[int, str, str]]] = {
    FailureKind.BAD_REQUEST: (400, BAD_REQUEST, "invalid_value"),
    FailureKind.TOO_LONG: (400, BAD_REQUEST, "context_length_exceeded"),
    FailureKind.DEADLINE: (503, SERVER_ERROR, "deadline_exceeded"),
    FailureKind.CANCELLED: (499, BAD_REQUEST, "cancelled"),
    FailureKind.NO_MODEL: (404, BAD_REQUEST, "model_not_found"),
    FailureKind.ENGINE: (503, SERVER_ERROR, "engine_failed"),
    FailureKind.UNAVAILABLE: (503, SERVER_ERROR, "engine_unavailable"),
    FailureKind.STOPPED: (503, SERVER_ERROR, "shutting_down"),
}
"""Status, type and code of each kind of failure. 503 and not 500: asking again may help."""


class Refusal(Exception):
    """
    A request that gets no answer, and why.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = BAD_REQUEST,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            status: Of HTTP, 400 to 599.
            message: What was found, what was expected, what to do.
            kind: OpenAI's ``type``.
            param: The field of the request that is wrong.
            code: A word for programs.
            headers: Added to the response.
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @classmethod
    def of(cls, refused: Refused) -> Refusal:
        """
        Return the refusal of a guard, for a route to raise.
        """
        return cls(
            refused.status,
            refused.message,
            kind=refused.kind,
            code=refused.code,
            headers=dict(refused.headers),
        )

    def as_dict(self) -> dict[str, dict[str, str | None]]:
        """
        Return the body of the response.
        """
        return {
            "error": {
                "message": printable(self.message),
                "type": self.kind,
                "param": None if self.param is None else printable(self.param),
                "code": self.code,
            }
        }

    def response(self) -> Response:
        """
        Return the whole response.
        """
        body = orjson.dumps(self.as_dict())
        return Response(body, self.status, self.headers, media_type="application/json")


def refusal_of(failed: Failed) -> Refusal:
    """
    Return what a client is told of a request that the engine could not answer.
    """
    status, kind, code = _FAILURES[failed.kind]
    headers = {"retry-after": "1"} if status == 503 else {}
    return Refusal(
        status, failed.message, kind=kind, param=failed.field, code=code, headers=headers
    )


def unavailable(message: str, *, retry_seconds: float, code: str) -> Refusal:
    """
    Return a 503 that says when to ask again.
    """
    after = {"retry-after": str(max(1, math.ceil(retry_seconds)))}
    return Refusal(503, message, kind=SERVER_ERROR, code=code, headers=after)


def no_model(asked: str, known: Sequence[str], why: str = "") -> Refusal:
    """
    Return a 404 for a model name that means nothing here.
    """
    reason = f": {why}" if why else ""
    return Refusal(
        404,
        f"model {asked[:100]!r} is not served{reason}; expected one of {', '.join(known)}",
        param="model",
        code="model_not_found",
    )


def invalid_body(problems: Sequence[ErrorDetails]) -> Refusal:
    """
    Return a 400 that names the first wrong field of a body, from pydantic's list of problems.
    """
    first = problems[0]
    where = [part for part in first["loc"] if part not in {"body", "query", "path"}]
    param = _field_path(where) or _named_field(first)
    match first["type"]:
        case "extra_forbidden":
            message = f"{param} is not supported by this service; remove it"
            code = "unsupported_parameter"
        case "missing":
            message = f"{param or 'the body'} is missing; the request needs it"
            code = "missing_required_parameter"
        case "json_invalid":
            reason = first.get("ctx", {}).get("error", "")
            message, param, code = f"the body is not JSON: {reason}", None, "invalid_json"
        case _:
            found = "" if isinstance(first.get("input"), dict | list) else _short(first["input"])
            message = f"{param or 'the body'}: {_sentence(str(first['msg']))}{found}"
            code = "invalid_value"
    return Refusal(400, message, param=param, code=code)


def _named_field(problem: ErrorDetails) -> str | None:
    """Return the field that a rule about several fields begins its message with."""
    word = _sentence(str(problem["msg"])).partition(" ")[0]
    body = problem.get("input")
    return word if isinstance(body, dict) and word in body else None


def _short(value: object) -> str:
    return f", got {value!r:.60}"


def _sentence(message: str) -> str:
    plain = message.removeprefix("Value error, ")
    return plain[:1].lower() + plain[1:] if plain.startswith(("Input", "String", "List")) else plain


_NO_FIELD = re.compile(r"(constrained-)?(str|int|float|bool|list|dict)|.*[\[(].*")
"""What pydantic puts into the path of a union: the branch that was tried, which is no field."""


def _field_path(where: Sequence[str | int]) -> str:
    path = ""
    for at, part in enumerate(where):
        tag = at > 0 and where[at - 1] == "response_format" and part in _FORMATS
        if tag or (isinstance(part, str) and _NO_FIELD.fullmatch(part)):
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
