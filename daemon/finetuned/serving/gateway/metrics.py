"""
GET /metrics: counts every request that ended, and asks service and training at each scrape.

Has a registry of its own. Counting a request never waits or raises; a scrape reads files in a
thread, one at a time, so that no answer waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import structlog
from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from starlette.responses import Response

from finetuned.layout import Layout
from finetuned.serving.gateway import metric_list as m
from finetuned.serving.gateway.answers import REFUSED, Responses
from finetuned.serving.gateway.exchange import CLIENT_GONE
from finetuned.serving.gateway.feedback_metrics import FeedbackSource
from finetuned.serving.gateway.metering import Record
from finetuned.serving.gateway.metric_list import Kind, Metric, Sample
from finetuned.serving.gateway.recorder import Recorder
from finetuned.serving.gateway.routes_openai import TheService
from finetuned.serving.gateway.service import Service
from finetuned.serving.gateway.service_metrics import service_samples
from finetuned.serving.gateway.training_metrics import TrainingSource

log = structlog.get_logger()

KEEP_SECONDS = 600.0
"""How long a model has series after the engine let it go, so that its last requests are seen."""

_COUNTED = (
    *(m.REQUESTS, m.PROMPT_TOKENS, m.GENERATION_TOKENS, m.PREFIX_TOKENS, m.CHECKED),
    m.LOOKUPS,
)
_BY_KEY = (m.KEY_REQUESTS, m.KEY_TOKENS)
_TIMED = (m.FIRST_TOKEN, m.BETWEEN_TOKENS, m.WHOLE, m.QUEUE_TIME)


class Metrics:
    """
    A meter of requests, and the page that shows it. Belongs to one event loop.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        name: str,
        keys_problem: Callable[[], object] = lambda: None,
        recorder: Recorder | None = None,
    ) -> None:
        """
        Args:
            layout: The root whose training is shown.
            name: ``serving.name``, the label model_name.
            keys_problem: Returns why the list of keys cannot be read; None if it can.
            recorder: Of answers; None if they are not recorded.
        """
        self.registry = CollectorRegistry()
        self._name = name
        self._keys_problem = keys_problem
        self._training = TrainingSource(layout)
        self._feedback = FeedbackSource(layout, recorder)
        self._counters = {
            metric: Counter(metric.name, metric.meaning, metric.labels, registry=self.registry)
            for metric in (*_COUNTED, *_BY_KEY, m.HTTP_REQUESTS)
        }
        self._times = {
            metric: Histogram(
                metric.name,
                metric.meaning,
                metric.labels,
                buckets=metric.buckets,
                registry=self.registry,
            )
            for metric in (*_TIMED, m.HTTP_SECONDS)
        }
        self._models: OrderedDict[str, float] = OrderedDict()
        self._keys: OrderedDict[str, None] = OrderedDict()
        ProcessCollector(registry=self.registry)
        self._scrape = asyncio.Lock()

    def ended(self, record: Record) -> None:
        """
        Count one request that ended.
        """
        try:
            self._count(record)
        except Exception as error:  # a bug here must not cost an answer
            log.error("request_not_counted", request_id=record.request_id, exc_info=error)

    def http(self, handler: str, method: str, status: int, seconds: float) -> None:
        """
        Count one HTTP request; the words come from a bounded set.
        """
        self._counters[m.HTTP_REQUESTS].labels(handler, method, str(status)).inc()
        self._times[m.HTTP_SECONDS].labels(handler, method).observe(seconds)

    async def page(self, service: Service, accept: str) -> tuple[bytes, str]:
        """
        Return the text of a scrape and its content type.

        Args:
            service: What is asked.
            accept: The header Accept, which chooses between Prometheus' formats.
        """
        async with self._scrape:
            self._forget(service.versions.held)
            samples = service_samples(service, self._keys_problem())
            return await asyncio.to_thread(self._text, samples, accept)

    def _text(self, samples: list[Sample], accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        shown = CollectorRegistry()
        read = [*self._feedback.samples(), *self._training.samples()]
        shown.register(_Shown(self.registry, [*samples, *read]))
        return encode(shown), content_type

    def _count(self, record: Record) -> None:
        model = (self._name, self._known_model(record.model))
        answer = record.answer
        reason = _reason(record)
        count = self._counters
        count[m.REQUESTS].labels(model[0], record.route, str(record.status), model[1], reason).inc()
        count[m.LOOKUPS].labels(_lookup(record)).inc()
        self._count_key(record)
        if record.cached:
            return
        times = self._times
        if record.sent:
            times[m.QUEUE_TIME].labels(*model).observe(record.queue_seconds)
        if record.first_seconds is not None:
            times[m.FIRST_TOKEN].labels(*model).observe(record.first_seconds)
        between = times[m.BETWEEN_TOKENS].labels(*model)
        for gap in record.gaps:
            between.observe(gap)
        if answer is None:
            return
        times[m.WHOLE].labels(*model).observe(record.seconds)
        count[m.PROMPT_TOKENS].labels(*model).inc(answer.finished.prompt_tokens)
        count[m.PREFIX_TOKENS].labels(*model).inc(answer.finished.cached_tokens)
        count[m.GENERATION_TOKENS].labels(*model).inc(answer.finished.answer_tokens)
        if (copied := answer.finished.copied) is not None:
            count[m.CHECKED].labels(*model, "yes" if copied else "no").inc()

    def _count_key(self, record: Record) -> None:
        key = record.caller.id
        self._keys[key] = None
        self._keys.move_to_end(key)
        while len(self._keys) > m.MOST_KEYS:
            self._remove("key", self._keys.popitem(last=False)[0], _BY_KEY)
        self._counters[m.KEY_REQUESTS].labels(key).inc()
        if record.answer is not None and not record.cached:
            finished = record.answer.finished
            tokens = finished.prompt_tokens + finished.answer_tokens
            self._counters[m.KEY_TOKENS].labels(key).inc(tokens)

    def _known_model(self, name: str) -> str:
        """Return the label of a model, which begins to have series if it has none."""
        self._models[name] = time.monotonic()
        self._models.move_to_end(name)
        while len(self._models) > m.MOST_MODELS:
            self._remove_model(self._models.popitem(last=False)[0])
        return name

    def _forget(self, held: Collection[str]) -> None:
        """Remove the series of models that were let go a while ago."""
        oldest = time.monotonic() - KEEP_SECONDS
        for name in [n for n, at in self._models.items() if n not in held and at < oldest]:
            del self._models[name]
            self._remove_model(name)

    def _remove_model(self, name: str) -> None:
        self._remove("model", name, (*_COUNTED[:5], *_TIMED))

    def _remove(self, label: str, value: str, metrics: Iterable[Metric]) -> None:
        for metric in metrics:
            series = self._counters.get(metric) or self._times[metric]
            series.remove_by_labels({label: value})


def metrics_router(metrics: Metrics) -> APIRouter:
    """
    Return the route /metrics; a key needs the scope metrics for it.
    """
    router = APIRouter()
    text = {"schema": {"type": "string"}}
    kinds = {"text/plain": text, "application/openmetrics-text": text}

    responses: Responses = {200: {"content": kinds}, **REFUSED}

    @router.get("/metrics", response_class=Response, responses=responses)
    async def scrape(request: Request, service: TheService) -> Response:
        """Return every metric in Prometheus' text format."""
        body, content_type = await metrics.page(service, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})

    return router


class _Shown(Collector):
    """
    What one scrape shows: the counted series without their times of creation, then samples.
    """

    def __init__(self, counted: CollectorRegistry, samples: Iterable[Sample]) -> None:
        self._counted = counted
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        for family in self._counted.collect():
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            yield family
        by_metric: dict[Metric, list[Sample]] = {}
        for sample in self._samples:
            by_metric.setdefault(sample.metric, []).append(sample)
        yield from _families(by_metric)


def _families(by_metric: Mapping[Metric, list[Sample]]) -> Iterator[Family]:
    for metric, samples in by_metric.items():
        kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
        family = kind(metric.name, metric.meaning, labels=metric.labels)
        for sample in samples:
            family.add_metric(sample.labels, sample.value)
        yield family


def _reason(record: Record) -> str:
    if record.status == CLIENT_GONE:
        return "abort"
    if record.answer is not None:
        return str(record.answer.finished.reason)
    return "refused" if record.failure is None else "error"


def _lookup(record: Record) -> str:
    if record.cached:
        return "hit"
    return "bypass" if record.order.sampling.temperature != 0 else "miss"
