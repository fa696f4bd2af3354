"""
Knobs of the service that answers requests: ``finetuned serve``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from finetuned.config.checks import check, ranges
from finetuned.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ENGINE = re.compile(r"own|https?://[^\s/?#@]+(?:/[^\s?#@]*)?")
_TIER = re.compile(r"\s*([a-z][a-z0-9-]{0,30})=(\d{1,9})/(\d{1,12})\s*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tier:
    """
    How much each key of one tier may use in a minute; 0 is without a limit.
    """

    name: str
    requests_per_minute: int
    tokens_per_minute: int
    """Tokens of prompts and answers together, counted when an answer ends."""

    def __post_init__(self) -> None:
        for limit in ("requests_per_minute", "tokens_per_minute"):
            if getattr(self, limit) < 0:
                raise ConfigError(
                    f"tier {self.name!r}: {limit} is {getattr(self, limit)}, expected 0 "
                    "(no limit) or more"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingConfig:
    name: str = "finetuned"
    """
    The name of the model for clients. It always means the version in use; NAME@v0007 is one
    version, NAME@base the base model. Letters, digits, ".", "_" and "-".
    """

    host: str = "127.0.0.1"
    """Address to listen on. The default serves this machine only; "0.0.0.0" serves all networks."""

    port: int = 9000
    """Port of every route, 1 to 65535."""

    chat_port: int = 4000
    """A second port with the same routes, for clients of POST /chat, 0 to 65535; 0 has none."""

    tls_cert: str = ""
    """File of the certificate chain in PEM; "" serves without TLS. Read again if it changes."""

    tls_key: str = ""
    """File of the certificate's private key in PEM; needed with tls_cert."""

    allowed_origins: str = ""
    """
    Origins, separated by commas, whose pages may call the service from a browser, such as
    "https://desk.example.org"; "" allows none. The variable ALLOWED_ORIGINS replaces it.
    """

    max_running: int = 16
    """Requests that the engine answers at once, 1 to 1024."""

    max_queue: int = 64
    """Requests that wait for their turn, 0 to 100000. One more is refused with 503."""

    max_tokens: int = 1024
    """Longest answer that a client may ask for, in tokens, 1 to 1000000."""

    request_seconds: float = 60.0
    """
    Deadline of a request from its arrival to its whole answer, waiting included, in seconds,
    0.1 to 3600. An answer that is not whole by then ends with an error.
    """

    drain_seconds: float = 30.0
    """
    How long running requests may take to end after SIGTERM, in seconds, 0 to 3600; then they
    end with an error.
    """

    body_bytes: int = 2 * 2**20
    """Largest body of a request, in bytes, 1024 to 16777216. A larger one is refused with 413."""

    cache_bytes: int = 32 * 2**20
    """
    Memory for answers that are given again to the same request at temperature 0, in bytes,
    >= 0; 0 has no cache.
    """

    kv_bytes: int = 0
    """
    Memory of the engine for keys and values of attention, in bytes, >= 0; 0 takes a quarter of
    what is free at the start.
    """

    engine: str = "own"
    """
    What generates: "own" is an engine that the service starts; "http://HOST:PORT/v1" is a server
    with OpenAI's interface, such as vLLM, SGLang or llama.cpp. If it wants a key, the variable
    FINETUNED_ENGINE_KEY has it.
    """

    engine_stuck_seconds: float = 60.0
    """
    The engine is ended and started again if it says nothing for this long, in seconds, 2 to 3600.
    Must be longer than its slowest step or load.
    """

    embeddings: bool = False
    """Whether POST /v1/embeddings answers: means of the last hidden states."""

    log_prompts: bool = False
    """Whether prompts and answers are written to the log, with secrets masked."""

    record: bool = True
    """
    Whether requests and their answers are kept, with passwords replaced, so that users can say
    what they were worth (POST /v1/feedback) and a person can correct them (finetuned review).
    """

    review_confidence: float = 0.9
    """
    An answer in which the model was less sure than this waits for review, 0 to 1; 0 is none. The
    confidence is the probability that the answer is right, by the version's map; without a map it
    is exp(mean(ln p)) over the tokens of the answer, p their probabilities.
    """

    min_confidence: float = 0.0
    """
    POST /generate and POST /chat do not give an answer in which the model was less sure than this,
    0 to 1, but "clarify": a program may carry out what it is answered. 0 gives every answer.
    """

    feedback_days: float = 30.0
    """
    How long a recorded answer is kept, in days, 0.001 to 36500. One that a person approved stays
    until it is in inbox/.
    """

    feedback_bytes: int = 256 * 2**20
    """
    Most bytes of recorded answers, >= 1048576. Beyond that the oldest go, those that wait for
    review last; how many went is counted and logged.
    """

    tiers: str = ""
    """
    More tiers of keys, or other limits of those that there are: NAME=REQUESTS/TOKENS a minute,
    separated by commas, 0 for no limit. There are standard=60/100000, high=1200/2000000 and
    unlimited=0/0. The variable RATE_LIMIT_PER_MINUTE replaces the requests of standard.
    """

    limits_store: str = ""
    """
    Where requests are counted: "" is this process; "redis://HOST:PORT/0" lets several gateways
    count together.
    """

    def __post_init__(self) -> None:
        ranges(
            "serving",
            self,
            port=(1, 65535),
            chat_port=(0, 65535),
            max_running=(1, 1024),
            max_queue=(0, 100000),
            max_tokens=(1, 1000000),
            request_seconds=(0.1, 3600),
            drain_seconds=(0, 3600),
            body_bytes=(1024, 16 << 20),
            cache_bytes=(0, None),
            kv_bytes=(0, None),
            engine_stuck_seconds=(2, 3600),
            review_confidence=(0, 1),
            min_confidence=(0, 1),
            feedback_days=(0.001, 36500),
            feedback_bytes=(1 << 20, None),
        )
        check(
            bool(_NAME.fullmatch(self.name)),
            "serving.name",
            'letters, digits, ".", "_" and "-", at most 63',
            self.name,
        )
        check(
            bool(_ENGINE.fullmatch(self.engine)),
            "serving.engine",
            '"own" or an address such as "http://127.0.0.1:8000/v1", without a key or a query '
            "(the key belongs into the variable FINETUNED_ENGINE_KEY)",
            _without_password(self.engine),
        )
        check(self.chat_port != self.port, "serving.chat_port", "another port", self.chat_port)
        check(
            bool(self.tls_cert) == bool(self.tls_key),
            "serving.tls_key",
            "set if tls_cert is, and only then",
            self.tls_key,
        )
        parse_tiers(self.tiers)


def _without_password(address: str) -> str:
    """An error message is logged, and must not have what somebody wrote before an @."""
    scheme, slashes, rest = address.partition("://")
    return f"{scheme}{slashes}***@{rest.rpartition('@')[2]}" if "@" in rest else address


def parse_tiers(text: str) -> tuple[Tier, ...]:
    """
    Return the tiers that ``serving.tiers`` names, in its order.

    Raises:
        ConfigError: A part is not NAME=REQUESTS/TOKENS, or a name stands twice.
    """
    tiers = []
    for part in text.split(",") if text.strip() else ():
        match = _TIER.fullmatch(part)
        if match is None:
            raise ConfigError(
                "serving.tiers must be NAME=REQUESTS/TOKENS a minute, separated by commas, such "
                f"as standard=60/100000; got {part!r}"
            )
        name, requests, tokens = match.groups()
        found = Tier(name=name, requests_per_minute=int(requests), tokens_per_minute=int(tokens))
        tiers.append(found)
    names = [tier.name for tier in tiers]
    check(len(names) == len(set(names)), "serving.tiers", "names that differ", text)
    return tuple(tiers)
