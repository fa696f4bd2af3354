"""
Every metric of the service: name, type, labels, what it says.

Names of requests are vLLM's with our prefix, base units are seconds and bytes, counters end in
``_total``. Labels are bounded: ``model`` is base or a version, at most MOST_MODELS of them;
``handler`` is a route's template; ``key`` the id of a key, never the key. The docs page and the
dashboard are held to this list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_MODELS: Final = 16
"""Models that have series at once; the one that answered longest ago goes first."""
MOST_KEYS: Final = 1000
"""Keys that have series at once, likewise."""


class Kind(StrEnum):
    """
    Prometheus' type of a metric.
    """

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric; a series of it has a value for each label.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, in seconds."""

    def series(self) -> tuple[str, ...]:
        """
        Return the names that its series have in PromQL.
        """
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One series at one moment.
    """

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()
    """Values of metric.labels, in that order."""


def _counter(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, meaning, labels)


def _gauge(name: str, meaning: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, meaning, labels)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, meaning, labels, buckets)


_FIRST = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_GAP = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)
_WHOLE = (0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WAIT = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

# -- requests: counted when they end ------------------------------------------------

REQUESTS = _counter(
    "finetuned_requests_total",
    "requests for an answer that have ended; code is 499 if the client went away; "
    "finish_reason is stop, length, tool_calls, abort, error (the engine failed) or refused (it "
    "was not asked: the queue was full, or the key's minute is used up)",
    *("model_name", "route", "code", "model", "finish_reason"),
)
PROMPT_TOKENS = _counter(
    "finetuned_prompt_tokens_total", "tokens of prompts that were answered", "model_name", "model"
)
GENERATION_TOKENS = _counter(
    "finetuned_generation_tokens_total", "tokens that were generated", "model_name", "model"
)
PREFIX_TOKENS = _counter(
    "finetuned_prefix_cached_tokens_total",
    "tokens of prompts that were not computed again, since an earlier prompt began alike",
    *("model_name", "model"),
)
FIRST_TOKEN = _histogram(
    "finetuned_time_to_first_token_seconds",
    "from the arrival of a request to its first token",
    *(_FIRST, "model_name", "model"),
)
BETWEEN_TOKENS = _histogram(
    "finetuned_inter_token_latency_seconds",
    "between two pieces of an answer as they come from the engine; a piece is a token, or "
    "several tokens that make one character",
    *(_GAP, "model_name", "model"),
)
WHOLE = _histogram(
    "finetuned_e2e_request_latency_seconds",
    "from the arrival of a request to the end of its answer; without answers from the cache",
    *(_WHOLE, "model_name", "model"),
)
QUEUE_TIME = _histogram(
    "finetuned_request_queue_time_seconds",
    "from the arrival of a request to its start in the engine",
    *(_WAIT, "model_name", "model"),
)
CHECKED = _counter(
    "finetuned_answers_checked_total",
    "answers whose values were looked for in their prompts, as their schema asks; copied is no if "
    "one does not stand there: the model invented it",
    *("model_name", "model", "copied"),
)
LOOKUPS = _counter(
    "finetuned_cache_lookups_total",
    "requests by what the cache of answers had: hit, miss, or bypass if their answers are not kept",
    "result",
)
KEY_REQUESTS = _counter(
    "finetuned_key_requests_total", "requests for an answer that ended, by the id of a key", "key"
)
KEY_TOKENS = _counter(
    "finetuned_key_tokens_total",
    "tokens of prompts and answers that the engine gave to a key",
    "key",
)
HTTP_REQUESTS = _counter(
    "http_requests_total",
    "HTTP requests by template of the route; unmatched if there is none, or if a guard refused "
    "the request and no request reached that route before",
    *("handler", "method", "status"),
)
HTTP_SECONDS = _histogram(
    "http_request_duration_seconds",
    "from the head of an HTTP request to the last byte of its response",
    *(_WHOLE, "handler", "method"),
)

# -- service: read at each scrape ----------------------------------------------------

BUILD = _gauge("finetuned_build_info", "1; the version of this program", "version")
RUNNING = _gauge("finetuned_requests_running", "requests that the engine has", "model_name")
WAITING = _gauge("finetuned_requests_waiting", "requests in the queue", "model_name")
MAX_RUNNING = _gauge("finetuned_requests_running_limit", "serving.max_running")
MAX_WAITING = _gauge("finetuned_requests_waiting_limit", "serving.max_queue")
TURNED_AWAY = _counter(
    "finetuned_queue_full_total", "requests that were refused with 503 since the queue was full"
)
READY = _gauge("finetuned_ready", "1 if requests of the stable name are answered", "model_name")
ENGINE_UP = _gauge("finetuned_engine_up", "1 if the engine's process reads orders")
ENGINE_STARTS = _counter(
    "finetuned_engine_starts_total", "engines that were started; all but the first replaced one"
)
ENGINE_AGE = _gauge(
    "finetuned_engine_beat_age_seconds",
    "since the engine last said what it does; absent while there is none",
)
ENGINE_MEMORY = _gauge(
    "finetuned_engine_resident_memory_bytes", "memory of the engine's process in RAM"
)
KV_BYTES = _gauge(
    "finetuned_kv_cache_bytes",
    "memory of keys and values in use; absent if the engine last said it over 10 s ago",
)
KV_LIMIT = _gauge("finetuned_kv_cache_limit_bytes", "what they may take; absent likewise")
IN_USE = _gauge(
    "finetuned_model_in_use", "1 for the model that the stable name means to new requests", "model"
)
HELD = _gauge("finetuned_model_held", "1 for each model that the engine has loaded", "model")
SWAPS = _counter(
    "finetuned_model_swaps_total",
    "how often the stable name began to mean another model, the first included",
)
MODEL_PROBLEMS = _gauge(
    "finetuned_model_problems",
    "models that should be served and are not; GET /health says which and why",
)
CACHE_BYTES = _gauge("finetuned_cache_bytes", "memory of the kept answers")
CACHE_LIMIT = _gauge("finetuned_cache_limit_bytes", "what they may take (serving.cache_bytes)")
CACHE_ENTRIES = _gauge("finetuned_cache_entries", "answers that are kept")
GUARD_PROBLEM = _gauge(
    "finetuned_guard_problem",
    "1 if a part of the guard does not work: keys (the list cannot be read) or limits (the "
    "shared counts cannot be reached)",
    "part",
)
DISK_FREE = _gauge("finetuned_disk_free_bytes", "free on the disk of models/, read now")
DISK_SIZE = _gauge("finetuned_disk_size_bytes", "size of that disk")

# -- what users say of answers: models/serving/feedback.sqlite3 ---------------------------

REVIEW_READABLE = _gauge(
    "finetuned_review_readable",
    "1 if the file of recorded answers could be read, or there is none yet; otherwise its counts "
    "are absent",
)
REVIEW_ANSWERS = _gauge(
    "finetuned_review_answers",
    "recorded answers by what finetuned review has to do with them: waiting, approved (in no "
    "file of inbox/ yet), rejected, delivered (put into inbox/)",
    "state",
)
ANSWERS_RECORDED = _gauge("finetuned_answers_recorded", "answers that are kept, all of them")
ANSWERS_REMOVED = _counter(
    "finetuned_answers_removed_total",
    "answers that were removed for age or space; unseen is yes for those that waited for review",
    "unseen",
)
ANSWERS_LEFT_OUT = _counter(
    "finetuned_answers_left_out_total",
    "answers that were not recorded, since too many came at once or the file could not be "
    "written; absent if serving.record is off",
)

# -- the daemon, from its status file; numbers of "now" are absent unless it is running ----

DAEMON_UP = _gauge("finetuned_daemon_up", "1 if the daemon lives and wrote its status within 30 s")
DAEMON_STATE = _gauge(
    "finetuned_daemon_state",
    "1 for what the daemon is, 0 for the others: running, silent, stopped, died, never",
    "state",
)
STATUS_READABLE = _gauge(
    "finetuned_status_readable", "1 if the status file could be read; 0 also before the first start"
)
STATUS_AGE = _gauge("finetuned_status_age_seconds", "since the daemon wrote its status")
RESTARTS = _counter(
    "finetuned_daemon_unclean_starts_total",
    "starts of the daemon that found it had not ended by itself",
)
PHASE = _gauge("finetuned_phase", "1 for what the daemon is doing now", "phase")
PAUSED = _gauge("finetuned_paused", "1 while a pause is in force")
DISK_WAIT = _gauge(
    "finetuned_waiting_for_disk", "1 while the daemon starts nothing since the disk is too full"
)
INBOX = _gauge("finetuned_inbox_files", "files in the inbox")
STEP = _gauge("finetuned_training_step", "optimizer step, counted over the whole lineage")
LAST_STEP = _gauge("finetuned_training_last_step", "that step at the end of the running job")
LOSS = _gauge(
    "finetuned_training_loss", "of the running job's last step, nats per supervised token"
)
VALIDATION_LOSS = _gauge(
    "finetuned_training_validation_loss", "on the rows of the last live eval, nats per token"
)
LEARNING_RATE = _gauge("finetuned_training_learning_rate", "of the last step")
GRAD_NORM = _gauge("finetuned_training_grad_norm", "of the last step, before clipping")
TOKENS_PER_SECOND = _gauge("finetuned_training_tokens_per_second", "of the last steps")
ETA = _gauge("finetuned_training_eta_seconds", "until the end of the training or the evaluation")
ACCURACY = _gauge("finetuned_training_accuracy_ratio", "right live eval answers, 0 to 1")
KL = _gauge(
    "finetuned_training_kl_nats",
    "KL divergence per token of the model in training from the version it started from",
)
SKIPPED = _gauge(
    "finetuned_training_steps_skipped",
    "steps of the running job that were left out, since loss or gradient was not finite",
)
DIVERGED = _gauge(
    "finetuned_training_diverged",
    "1 if the last run failed since its loss was not finite, until another begins",
)
CPU = _gauge("finetuned_host_cpu_ratio", "load of all cores, 0 to 1")
MEMORY_USED = _gauge("finetuned_host_memory_used_bytes", "memory in use on the machine")
MEMORY_SIZE = _gauge("finetuned_host_memory_size_bytes", "memory of the machine")
WORKER_MEMORY = _gauge("finetuned_worker_resident_memory_bytes", "memory of the worker in RAM")
GPU_USE = _gauge("finetuned_gpu_utilization_ratio", "0 to 1", "gpu")
GPU_MEMORY_USED = _gauge("finetuned_gpu_memory_used_bytes", "memory in use of a GPU", "gpu")
GPU_MEMORY_SIZE = _gauge("finetuned_gpu_memory_size_bytes", "memory of a GPU", "gpu")
GPU_HEAT = _gauge("finetuned_gpu_temperature_celsius", "temperature of a GPU", "gpu")
GPU_POWER = _gauge("finetuned_gpu_power_watts", "power of a GPU", "gpu")

# -- the journal: true whether the daemon runs or not ------------------------------------

JOURNAL_READABLE = _gauge(
    "finetuned_journal_readable",
    "1 if the numbers of the journal are those of this moment; 0 also before the first start, "
    "and then they are absent",
)
DATASETS = _gauge("finetuned_datasets", "dropped files by their state", "state")
JOBS = _gauge("finetuned_jobs", "jobs by their state", "state")
VERDICTS = _counter("finetuned_verdicts_total", "candidates by what the gate said", "verdict")
REJECTED_RUN = _gauge(
    "finetuned_verdicts_rejected_in_a_row", "rejected candidates since the last other one, to 100"
)
PROMOTIONS = _counter(
    "finetuned_promotions_total",
    "decisions on the version in use by cause: gate, promote, rollback, watch (a promoted "
    "version was taken back), fallback, rebuild",
    "cause",
)
JOBS_DIVERGED = _gauge(
    "finetuned_jobs_diverged", "jobs whose last failure was a loss that was not finite"
)

METRICS: Final = tuple(value for value in tuple(globals().values()) if isinstance(value, Metric))
"""All of them, in the order in which they stand here."""


def series_names(metrics: Iterable[Metric] = METRICS) -> frozenset[str]:
    """
    Return the name of every series of *metrics*.
    """
    return frozenset(name for metric in metrics for name in metric.series())
