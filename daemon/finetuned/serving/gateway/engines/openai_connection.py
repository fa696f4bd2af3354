"""
HTTP to a server with OpenAI's interface: its list of models, one answer, a stream of chunks.

Says in which of three ways a request failed: nobody answers, the key is refused, or the server
refuses this request. Closing a stream early closes its connection: the server stops generating.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import httpx
import orjson

from finetuned.core.generation import FailureKind, JsonObject
from finetuned.serving.gateway.engines.openai_shapes import part

CONNECT_SECONDS = 5.0
MOST_ERROR_BYTES = 64 << 10
LONGEST_LINE = 16 << 20

_TOO_LONG = ("context length", "context size", "context_length_exceeded", "exceed_context_size")
"""Words of servers for a prompt that does not fit."""


class Unreachable(Exception):
    """
    The server does not answer, or not to us: no request can succeed now.
    """


class Refused(Exception):
    """
    The server answered a request with an error.
    """

    def __init__(self, status: int, message: str, body: object = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        param = part(body, "error", "param")
        self.field = param if isinstance(param, str) else None

    @property
    def kind(self) -> FailureKind:
        """What a client is told."""
        if self.status in (408, 425, 429, 502, 503, 504):
            return FailureKind.UNAVAILABLE
        if self.status not in (400, 413, 422):
            return FailureKind.NO_MODEL if self.status == 404 else FailureKind.ENGINE
        long = any(words in self.message.lower() for words in _TOO_LONG)
        return FailureKind.TOO_LONG if long else FailureKind.BAD_REQUEST


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """
    One model in a server's list.
    """

    id: str
    root: str = ""
    """vLLM: the folder, or the name at a hub, that it was loaded from."""
    parent: str = ""
    """vLLM: the model that this one is an adapter on; "" if it is none."""
    owner: str = ""
    """Who made the server: vllm, llamacpp, sglang, finetuned."""


class Connection:
    """
    To one server. Belongs to one event loop.
    """

    def __init__(self, url: str, key: str | None) -> None:
        """
        Args:
            url: Without a slash at the end, such as http://127.0.0.1:8000/v1.
            key: Sent as a Bearer token, None sends none.
        """
        self.url = url
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=False,  # a proxy for the internet must not get what users asked
        )

    async def close(self) -> None:
        """End all that runs."""
        await self._client.aclose()

    async def models(self, seconds: float) -> list[Card]:
        """
        Return the server's list.

        Raises:
            Unreachable: There is none within *seconds*, or it is not for us.
        """
        try:
            response = await self._client.get(f"{self.url}/models", timeout=seconds)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self.url} cannot be reached: {_why(error)}") from None
        if response.status_code in (401, 403):
            raise Unreachable(
                f"{self.url} refuses the key of this service ({response.status_code}); set "
                "FINETUNED_ENGINE_KEY in its environment, and start it again"
            )
        if response.status_code == 503:
            raise Unreachable(f"{self.url} is not ready yet (503): it may be loading its model")
        if response.status_code != 200:
            raise Unreachable(
                f"{self.url}/models answers {response.status_code}, expected 200; serving.engine "
                "must be the address that OpenAI clients are given, which mostly ends in /v1"
            )
        cards = [_card(one) for one in _models(response.content)]
        if not cards:
            raise Unreachable(f"{self.url}/models names no model; see the server's own log")
        return cards

    async def post(self, path: str, body: JsonObject, seconds: float | None = None) -> object:
        """
        Return the JSON, or the text, that the server answers with.

        Raises:
            Refused: It answered with an error.
            Unreachable: It did not answer.
        """
        data = orjson.dumps(body)
        headers = {"content-type": "application/json"}
        try:
            response = await self._client.post(
                f"{self.url}/{path}", content=data, headers=headers, timeout=seconds
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"{self.url}: {_why(error)}") from None
        if response.status_code >= 300:
            raise _refused(response.status_code, response.content)
        return _json(response.content)

    async def stream(self, path: str, body: JsonObject) -> AsyncGenerator[object]:
        """
        Yield the chunks of an answer up to ``[DONE]``.

        Raises:
            Refused: The server answered with an error, or says so inside the stream.
            Unreachable: The connection ended early.
        """
        data = orjson.dumps(body)
        headers = {"content-type": "application/json", "accept": "text/event-stream"}
        try:
            async with self._client.stream(
                "POST", f"{self.url}/{path}", content=data, headers=headers
            ) as response:
                if response.status_code >= 300:
                    raise _refused(response.status_code, await _beginning(response))
                async with aclosing(_events(response.aiter_bytes())) as events:
                    async for event in events:
                        if part(event, "error") is not None:
                            raise _refused(_status(event), orjson.dumps(event))
                        yield event
        except httpx.HTTPError as error:
            raise Unreachable(f"{self.url}: {_why(error)}") from None


async def _events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[object]:
    """
    Yield the JSON of a stream's events.

    Lines end at line feeds and nowhere else: a text may hold U+2028 or U+0085 as they are.
    """
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            name, _, data = line.strip(b"\r ").partition(b":")
            if name not in (b"data", b"error"):
                continue
            if data.strip() == b"[DONE]":
                return
            yield _json(data)
        if len(rest) > LONGEST_LINE:
            raise httpx.DecodingError(f"a line of more than {LONGEST_LINE} bytes")


async def _beginning(response: httpx.Response) -> bytes:
    found = b""
    async for chunk in response.aiter_bytes():
        found += chunk
        if len(found) > MOST_ERROR_BYTES:
            break
    return found[:MOST_ERROR_BYTES]


def _refused(status: int, content: bytes) -> Refused:
    body = _json(content)
    said = part(body, "error", "message") or part(body, "message") or part(body, "detail")
    text = said if isinstance(said, str) else content[:300].decode("utf-8", "replace")
    return Refused(status, f"the engine answered {status}: {text[:1000]}", body)


def _models(content: bytes) -> list[object]:
    data = part(_json(content), "data")
    return [one for one in data if part(one, "id")] if isinstance(data, list) else []


def _card(one: object) -> Card:
    def text(key: str) -> str:
        found = part(one, key)
        return found if isinstance(found, str) else ""

    return Card(
        id=str(part(one, "id")), root=text("root"), parent=text("parent"), owner=text("owned_by")
    )


def _json(content: bytes) -> object:
    try:
        found: object = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode("utf-8", "replace")
    return found


def _status(event: object) -> int:
    """An error inside a stream has its status, if any, as its code."""
    code = part(event, "error", "code")
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _why(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
