"""
/metrics over a gateway with a real fake engine: what it counts, and what bounds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from finetuned.config import ServingConfig
from finetuned.core.access import TIERS, Caller, Scope
from finetuned.core.generation import Finished, FinishReason, Generate, Sampling
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.serving.gateway import metric_list as m
from finetuned.serving.gateway import metrics as metrics_module
from finetuned.serving.gateway.metering import Answer, Record
from finetuned.serving.gateway.metrics import Metrics
from support.gateway import Gateway, free_port, running_gateway, wait_until
from support.promtool import run_promtool
from support.training_status import write_status

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    root = tmp_path_factory.mktemp("root")
    config = ServingConfig(port=free_port(), chat_port=0, max_running=1, max_queue=0)
    with running_gateway(root, config) as running:
        yield running


def scrape(gateway: Gateway) -> str:
    return httpx.get(f"{gateway.url}/metrics", timeout=30).text


def series(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Series, name: str, **labels: str) -> float:
    """
    Return the sum of the series of *name* that have *labels*.
    """
    wanted = labels.items()
    return sum(v for (n, had), v in found.items() if n == name and wanted <= had)


def generate(gateway: Gateway, prompt: str, **headers: str) -> httpx.Response:
    body = {"prompt": prompt, "max_tokens": 10}
    return httpx.post(f"{gateway.url}/generate", json=body, headers=headers, timeout=30)


def test_a_request_is_counted_once_with_its_tokens_and_times(gateway: Gateway) -> None:
    """
    Four words are four tokens with three gaps between them.
    """
    before = series(scrape(gateway))
    generate(gateway, "one two")
    after = series(scrape(gateway))

    def grew(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    labels = {"model_name": "finetuned", "model": "base"}
    assert 1 == grew(
        "finetuned_requests_total", route="/generate", code="200", finish_reason="stop", **labels
    )
    assert 4 == grew("finetuned_generation_tokens_total", **labels)
    assert 2 == grew("finetuned_prompt_tokens_total", **labels)
    assert 1 == grew("finetuned_time_to_first_token_seconds_count", **labels)
    assert 3 == grew("finetuned_inter_token_latency_seconds_count", **labels)
    assert 1 == grew("finetuned_e2e_request_latency_seconds_count", **labels)
    assert 1 == grew("finetuned_request_queue_time_seconds_count", **labels)
    assert 6 == grew("finetuned_key_tokens_total", key="local")
    assert 1 == grew("http_requests_total", handler="/generate", method="POST", status="200")


def test_a_failure_is_an_error_and_no_answer(gateway: Gateway) -> None:
    """
    Its latency is in no histogram: a service that fails fast must not look fast.
    """
    before = series(scrape(gateway))
    generate(gateway, "fail")
    after = series(scrape(gateway))

    failed = {"code": "400", "finish_reason": "error"}
    assert 1 == value(after, "finetuned_requests_total", **failed) - value(
        before, "finetuned_requests_total", **failed
    )
    latency = "finetuned_e2e_request_latency_seconds_count"
    assert value(before, latency) == value(after, latency)


def test_a_client_that_goes_away_is_counted_as_499(gateway: Gateway) -> None:
    """
    Nobody had an answer, and nothing failed.
    """
    body = {"prompt": "slow 0.2 and on", "max_tokens": 10}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/generate", json=body, timeout=0.3)

    def counted() -> float:
        found = series(scrape(gateway))
        return value(found, "finetuned_requests_total", code="499", finish_reason="abort")

    wait_until(lambda: counted() == 1, "the request was not counted")
    wait_until(lambda: gateway.service.queue.running == 0, "the engine did not stop")


def test_what_a_guard_refuses_and_what_nobody_serves_is_counted(gateway: Gateway) -> None:
    """
    A path that a client makes up never becomes a label.
    """
    generate(gateway, "x")
    before = series(scrape(gateway))
    assert 401 == generate(gateway, "x", **{"x-api-key": "made up"}).status_code
    for path in ("/one", "/two", "/v1/one"):
        httpx.get(f"{gateway.url}{path}", timeout=30)
    httpx.request("TRACE", f"{gateway.url}/generate", timeout=30)
    after = series(scrape(gateway))

    def grew(**labels: str) -> float:
        name = "http_requests_total"
        return value(after, name, **labels) - value(before, name, **labels)

    assert 1 == grew(handler="/generate", status="401")
    assert 3 == grew(handler="unmatched", status="404")
    assert 1 == grew(method="OTHER")
    handlers = {dict(labels).get("handler") for name, labels in after if name.startswith("http_")}
    assert {"/generate", "/metrics", "unmatched"} == handlers


def test_the_service_is_shown_as_it_is(gateway: Gateway) -> None:
    """
    Gauges of the moment, with their limits beside them.
    """
    found = series(scrape(gateway))

    assert 1 == value(found, "finetuned_ready", model_name="finetuned")
    assert 1 == value(found, "finetuned_engine_up")
    assert 1 == value(found, "finetuned_model_in_use", model="base")
    assert 1 == value(found, "finetuned_model_held", model="base")
    assert 1 == value(found, "finetuned_requests_running_limit")
    assert 0 == value(found, "finetuned_guard_problem")
    parts = {dict(labels)["part"] for name, labels in found if name == "finetuned_guard_problem"}
    assert {"keys", "limits"} == parts
    assert gateway.service.config.cache_bytes == value(found, "finetuned_cache_limit_bytes")
    assert value(found, "finetuned_cache_bytes") > 0
    assert value(found, "process_resident_memory_bytes") > 0
    assert value(found, "finetuned_engine_resident_memory_bytes") > 0
    assert 0 < value(found, "finetuned_disk_free_bytes") < value(found, "finetuned_disk_size_bytes")


def test_a_request_that_finds_the_queue_full_is_counted(gateway: Gateway) -> None:
    """
    The answer is 503, and the count is what an alert looks at.
    """
    refused = {"route": "/generate", "code": "503", "finish_reason": "refused"}
    before = series(scrape(gateway))
    with httpx.Client(base_url=gateway.url, timeout=30) as http:
        body = {"model": "finetuned", "prompt": "slow 0.2 and on", "stream": True}
        with http.stream("POST", "/v1/completions", json=body) as running:
            assert 503 == generate(gateway, "one too many").status_code
            running.read()

    after = series(scrape(gateway))
    for name, labels in (("finetuned_queue_full_total", {}), ("finetuned_requests_total", refused)):
        assert 1 == value(after, name, **labels) - value(before, name, **labels), name


def test_the_page_is_what_prometheus_reads(gateway: Gateway) -> None:
    """
    Each series has its type and meaning; the type of the page follows the header Accept.
    """
    text = httpx.get(f"{gateway.url}/metrics", timeout=30)
    other = {"accept": "application/openmetrics-text; version=1.0.0"}
    newer = httpx.get(f"{gateway.url}/metrics", headers=other, timeout=30)

    assert text.headers["content-type"].startswith("text/plain")
    assert newer.headers["content-type"].startswith("application/openmetrics-text")
    assert newer.text.endswith("# EOF\n")
    listed = {metric.name: metric for metric in m.METRICS}
    for family in text_string_to_metric_families(text.text):
        full = f"{family.name}_total" if family.type == "counter" else family.name
        if full.startswith("process_"):
            continue
        metric = listed[full]
        assert (str(metric.kind), metric.meaning) == (family.type, family.documentation)
        for sample in family.samples:
            assert sample.name in metric.series()
            assert set(metric.labels) == sample.labels.keys() - {"le"}


def test_prometheus_own_checker_finds_nothing_to_say(gateway: Gateway) -> None:
    """
    Of names, units, types and meanings.
    """
    run_promtool("check", "metrics", stdin=scrape(gateway))


def test_every_metric_of_the_list_is_on_the_page(gateway: Gateway) -> None:
    """
    While a daemon trains and requests are answered; dashboard and alerts are held to the list.
    """
    layout = Layout(gateway.root)
    layout.status_file.parent.mkdir(exist_ok=True)
    write_status(layout)
    Journal(layout.journal).close()
    named = {"name": "n", "schema": {"type": "object"}}
    wanted = {"type": "json_schema", "json_schema": named}
    body = {"prompt": "x", "response_format": wanted}
    httpx.post(f"{gateway.url}/generate", json=body, timeout=30)

    def missing() -> set[str]:
        return m.series_names() - {name for name, _ in series(scrape(gateway))}

    wait_until(lambda: not missing(), "the page of a second ago is shown", 5)
    assert set() == missing()


def record(model: str = "v0001", key: str = "k", **changes: object) -> Record:
    """
    Return a request that was answered at temperature 0.
    """
    order = Generate(id="r", model=model, sampling=Sampling(max_tokens=3), text="x")
    finished = Finished(
        id="r",
        model=model,
        reason=FinishReason.STOP,
        prompt_tokens=1,
        cached_tokens=0,
        answer_tokens=1,
        confidence=1.0,
    )
    plain = Record(
        request_id="r",
        route="/chat",
        status=200,
        caller=Caller(id=key, name=key, scopes=(Scope.ASK,), tier=TIERS["standard"]),
        seconds=0.1,
        model=model,
        order=order,
        answer=Answer("y", finished),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def labels_of(metrics: Metrics, label: str) -> set[str]:
    return {
        sample.labels[label]
        for family in metrics.registry.collect()
        for sample in family.samples
        if label in sample.labels
    }


def test_versions_and_keys_that_come_and_go_leave_no_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A year of nightly versions costs no more memory than MOST_MODELS.
    """
    monkeypatch.setattr(m, "MOST_KEYS", 5)
    metrics = Metrics(Layout(tmp_path), name="finetuned")
    for n in range(500):
        metrics.ended(record(f"v{n:04d}", f"key{n}"))

    assert {f"v{n:04d}" for n in range(500 - m.MOST_MODELS, 500)} == labels_of(metrics, "model")
    assert {f"key{n}" for n in range(495, 500)} == labels_of(metrics, "key")


def test_a_version_that_was_let_go_has_series_for_a_while_longer(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    So that a scrape sees its last requests; what is held keeps them.
    """
    metrics = gateway.metrics
    generate(gateway, "x")
    metrics.ended(record("v0099"))
    scrape(gateway)
    assert {"base", "v0099"} <= labels_of(metrics, "model")
    monkeypatch.setattr(metrics_module, "KEEP_SECONDS", -1.0)
    scrape(gateway)
    assert {"base"} == labels_of(metrics, "model")


def test_an_answer_from_the_cache_is_a_hit_and_no_work_of_the_engine(tmp_path: Path) -> None:
    """
    Its tokens were not generated and its latency is not the engine's.
    """
    metrics = Metrics(Layout(tmp_path), name="finetuned")
    metrics.ended(record(cached=True))
    metrics.ended(record())
    drawn = Generate(
        id="r", model="v0001", sampling=Sampling(max_tokens=3, temperature=1.0), text="x"
    )
    metrics.ended(record(order=drawn))

    def counted(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(name, labels) or 0.0

    looked = {r: counted("finetuned_cache_lookups_total", result=r) for r in ("hit", "miss")}
    assert {"hit": 1.0, "miss": 1.0} == looked
    assert 1 == counted("finetuned_cache_lookups_total", result="bypass")
    model = {"model_name": "finetuned", "model": "v0001"}
    assert 2 == counted("finetuned_e2e_request_latency_seconds_count", **model)
    assert 2 == counted("finetuned_generation_tokens_total", **model)


def test_a_bug_in_counting_costs_no_answer(tmp_path: Path) -> None:
    """
    What cannot be counted is logged; nobody who asks is told.
    """
    metrics = Metrics(Layout(tmp_path), name="finetuned")

    metrics.ended(record(gaps=None))
