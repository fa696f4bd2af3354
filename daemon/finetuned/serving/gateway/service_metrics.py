"""
What the service is at this moment, as samples: queue, engine, models, cache and guard.

Reads a few attributes of the running service and waits for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import psutil

from finetuned import __version__
from finetuned.serving.gateway import metric_list as m
from finetuned.serving.gateway.metric_list import Sample
from finetuned.serving.gateway.service import Service

FRESH_SECONDS = 10.0
"""The engine says once a second what it does; older words are not shown as true."""


def service_samples(service: Service, keys_problem: object) -> list[Sample]:
    """
    Return what *service* is now.

    Args:
        service: In its event loop.
        keys_problem: Why the list of keys cannot be read; None if it can.
    """
    name = (service.config.name,)
    return [
        Sample(m.BUILD, 1, (__version__,)),
        Sample(m.RUNNING, service.queue.running, name),
        Sample(m.WAITING, service.queue.waiting, name),
        Sample(m.MAX_RUNNING, service.config.max_running),
        Sample(m.MAX_WAITING, service.config.max_queue),
        Sample(m.TURNED_AWAY, service.queue.turned_away),
        Sample(m.READY, float(service.ready), name),
        *_engine(service),
        *_models(service),
        *_cache(service),
        Sample(m.GUARD_PROBLEM, float(bool(keys_problem)), ("keys",)),
        Sample(m.GUARD_PROBLEM, float(bool(service.limiter.problem)), ("limits",)),
    ]


def _engine(service: Service) -> Iterator[Sample]:
    yield Sample(m.ENGINE_UP, float(service.has_engine))
    yield Sample(m.ENGINE_STARTS, service.engine.starts)
    memory = None if service.engine.pid is None else _memory(service.engine.pid)
    if memory is not None:
        yield Sample(m.ENGINE_MEMORY, memory)
    beat = service.beat
    if beat is None:
        return
    age = time.monotonic() - service.beat_at
    yield Sample(m.ENGINE_AGE, age)
    if age < FRESH_SECONDS and beat.cache_limit:  # a server of others does not say it
        yield Sample(m.KV_BYTES, beat.cache_bytes)
        yield Sample(m.KV_LIMIT, beat.cache_limit)


def _memory(pid: int) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:  # it ended just now
        return None


def _models(service: Service) -> Iterator[Sample]:
    versions = service.versions
    if versions.current is not None:
        yield Sample(m.IN_USE, 1, (versions.current,))
    for held in versions.held:
        yield Sample(m.HELD, 1, (held,))
    yield Sample(m.SWAPS, versions.swaps)
    yield Sample(m.MODEL_PROBLEMS, len(versions.problems))


def _cache(service: Service) -> Iterator[Sample]:
    yield Sample(m.CACHE_BYTES, service.cache.n_bytes)
    yield Sample(m.CACHE_LIMIT, service.cache.max_bytes)
    yield Sample(m.CACHE_ENTRIES, len(service.cache))
