"""
One gateway put together: service, keys, page and what is done beside the requests.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.types import ASGIApp

from finetuned.config import Config, ServingConfig
from finetuned.config.serving import parse_tiers
from finetuned.core.access import parse_origins, read_environment
from finetuned.core.generation import EngineSettings
from finetuned.data.answer_formats import configured_format
from finetuned.layout import Layout
from finetuned.serving.gateway.app import build_app
from finetuned.serving.gateway.engines import own
from finetuned.serving.gateway.engines.interface import EngineMaker
from finetuned.serving.gateway.feedback import FeedbackRoutes, with_feedback
from finetuned.serving.gateway.guard import guarded
from finetuned.serving.gateway.http_metrics import CountHttp
from finetuned.serving.gateway.keys import KeyRing
from finetuned.serving.gateway.metrics import Metrics, metrics_router
from finetuned.serving.gateway.page import LivePage
from finetuned.serving.gateway.prompt_log import PromptLog
from finetuned.serving.gateway.serve import addresses
from finetuned.serving.gateway.service import Chore, Service, Setting
from finetuned.serving.gateway.tls import Certificate

USE_EVERY = 15
"""Chores between two notes of when keys were used last."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """
    What serve() needs.
    """

    service: Service
    app: ASGIApp
    certificate: Certificate | None
    feedback: FeedbackRoutes
    """To be closed when nothing is answered any more."""


def build(
    layout: Layout, config: Config, sockets: Sequence[socket.socket], environment: Mapping[str, str]
) -> Gateway:
    """
    Return a gateway of one root. Its application starts and ends the engine.

    Args:
        layout: Of the root.
        config: All of it.
        sockets: That it will listen on.
        environment: Usually os.environ.

    Raises:
        ConfigError: A variable of the environment, a file of TLS, or model.answer_format cannot
            be used.
    """
    serving = config.serving
    said = read_environment(environment)
    local_key = secrets.token_urlsafe(32)
    ring = KeyRing(
        layout,
        tiers=said.tiers({tier.name: tier for tier in parse_tiers(serving.tiers)}),
        api_key=said.api_key,
        local_key=local_key,
    )
    certificate = _certificate(serving)
    feedback = FeedbackRoutes.begin(layout, serving)
    metrics = Metrics(
        layout,
        name=serving.name,
        keys_problem=lambda: ring.problem,
        recorder=feedback.recorder,
    )
    service = Service(
        Setting(
            layout=layout,
            config=serving,
            base=config.model.base,
            engine=_engine(layout, config, said.engine_key),
            addresses=addresses(sockets, tls=certificate is not None),
            local_key=local_key,
            answer_format=configured_format(config.model.answer_format, layout.root),
            meters=(metrics, feedback, *((PromptLog(),) if serving.log_prompts else ())),
            chores=(_Seldom(ring.save_last_use), *((certificate.renew,) if certificate else ())),
        )
    )
    page = LivePage(layout, name=serving.name, closing=lambda: service.queue.closed)
    routes = build_app(service, page)
    routes.include_router(metrics_router(metrics))
    app = guarded(
        with_feedback(routes, feedback),
        ring,
        origins=said.allowed_origins or parse_origins(serving.allowed_origins),
        body_bytes=serving.body_bytes,
    )
    return Gateway(service, CountHttp(app, metrics), certificate, feedback)


def _engine(layout: Layout, config: Config, key: str | None) -> EngineMaker:
    if config.serving.engine != "own":
        from finetuned.serving.gateway.engines.openai_server import server_engine

        return server_engine(config, key)
    return own.own_engine(
        own.EngineProcess(
            command=own.engine_command(engine_settings(config)),
            cwd=layout.root,
            log=layout.logs / "engine.log",
            stuck_seconds=config.serving.engine_stuck_seconds,
        )
    )


def engine_settings(config: Config) -> EngineSettings:
    """
    Return what an engine of this configuration is started with.
    """
    return EngineSettings(
        max_running=config.serving.max_running,
        kv_bytes=config.serving.kv_bytes,
        dtype=config.model.dtype,
        device=config.model.device,
        enable_thinking=config.model.enable_thinking,
    )


def _certificate(serving: ServingConfig) -> Certificate | None:
    if not serving.tls_cert:
        return None
    return Certificate(Path(serving.tls_cert), Path(serving.tls_key))


class _Seldom:
    """A chore that is done at the first call and then at every USE_EVERY-th."""

    def __init__(self, chore: Chore) -> None:
        self._chore = chore
        self._calls = 0

    def __call__(self) -> None:
        if self._calls % USE_EVERY == 0:
            self._chore()
        self._calls += 1
