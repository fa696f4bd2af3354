"""
A request said otherwise by a model that is served somewhere: its address, one question, one check.

The service speaks OpenAI's interface (``POST .../chat/completions``): finetuned serve, vLLM,
llama.cpp, Ollama and others do. Whether the meaning is the same cannot be proved; what can be is
that the answer's values and all numbers are still there, and that it is one request of a similar
length. Knows HTTP; does not know rows.
"""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from finetuned.errors import NoAnswer
from finetuned.sources.augment.exchange import Exchange, instruction_end
from finetuned.sources.augment.transform import Transform, lost_something, words_in_order

NAME: Final = "served"
"""Of the transform."""

SECONDS: Final = 60.0
"""Longest time for one answer."""
_TRIES: Final = 3
_WAIT_SECONDS: Final = 1.0
"""Before the second try; twice as long before the third."""
_LONGEST_ANSWER: Final = 2**20
_LATER: Final = (408, 429, 500, 502, 503, 504)

_SYSTEM: Final = (
    "Rewrite the user's message as another person would say it. Keep its meaning, its language, "
    "and every name, number, address, path and quoted text exactly as written. Do not answer the "
    "message. Reply with the rewritten message only."
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    Where a model is asked.
    """

    url: str
    """Such as http://127.0.0.1:8000/v1."""
    model: str
    key: str = field(default="", repr=False)
    """Sent as a bearer token; none if empty."""
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.url!r} is no address such as http://127.0.0.1:8000/v1")


def paraphrase(endpoint: Endpoint, prompt: str, seed: int) -> str:
    """
    Return what the model makes of a request.

    Raises:
        NoAnswer: It cannot be reached, refuses, or answers something else than OpenAI's shape.
    """
    asked = {
        "model": endpoint.model,
        "messages": [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": prompt},
        ],
        "temperature": 0.9,
        "seed": seed,
        "max_tokens": 64 + len(prompt),
    }
    answer = _posted(endpoint, json.dumps(asked).encode())
    try:
        said = json.loads(answer)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        said = None
    if not isinstance(said, str):
        raise NoAnswer(f"{endpoint.url}: the answer is not a chat completion as OpenAI writes it")
    return said.strip()


def _posted(endpoint: Endpoint, body: bytes) -> bytes:
    headers = {"content-type": "application/json"}
    if endpoint.key:
        headers["authorization"] = f"Bearer {endpoint.key}"
    url = f"{endpoint.url.rstrip('/')}/chat/completions"
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - http or https, see Endpoint
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_WAIT_SECONDS * 2 ** (attempt - 1))
        try:
            with urllib.request.urlopen(request, timeout=endpoint.seconds) as answer:  # noqa: S310
                data: bytes = answer.read(_LONGEST_ANSWER)
                return data
        except urllib.error.HTTPError as error:
            problem = f"it answered {error.code} {error.reason}"
            error.close()
            if error.code not in _LATER:
                break
        except TimeoutError:
            problem = f"it said nothing for {endpoint.seconds:g} s"
        except OSError as error:
            problem = str(getattr(error, "reason", error))
    raise NoAnswer(f"{url}: {problem}")


def served(endpoint: Endpoint) -> Transform:
    """
    Return the transform that asks the model at *endpoint*; its draw raises NoAnswer.
    """

    def draw(exchange: Exchange, rng: random.Random) -> Exchange | None:
        end = instruction_end(exchange.prompt)
        payload = exchange.prompt[end:]
        said = paraphrase(endpoint, exchange.prompt[:end], rng.randrange(2**31))
        return replace(exchange, prompt=said + payload) if said else None

    return Transform(
        NAME,
        "the answer, its values and all numbers in the prompt, what the request is about, "
        "and its length within a half and three times",
        draw,
        complaint,
    )


def complaint(parent: Exchange, child: Exchange) -> str | None:
    """
    Return what a paraphrase lost, in one word; None if nothing can be shown to be lost.
    """
    if lost := lost_something(parent, child):
        return lost
    payload = parent.prompt[instruction_end(parent.prompt) :]
    if not child.prompt.endswith(payload):
        return "payload_changed"
    before, after = words_in_order(parent.prompt), words_in_order(child.prompt)
    if not len(before) / 2 <= len(after) <= 3 * len(before) + 4:
        return "another_length"
    if before == after:
        return "same_words"
    return "answers" if _says_answer(parent, child) else None


def _says_answer(parent: Exchange, child: Exchange) -> bool:
    """Return whether the paraphrase holds the whole answer, as a model gives that answers it."""
    answer = " ".join(words_in_order(parent.answer))
    said = " ".join(words_in_order(child.prompt))
    told = " ".join(words_in_order(parent.prompt))
    return bool(answer) and answer in said and answer not in told
