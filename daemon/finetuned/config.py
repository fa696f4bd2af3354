"""
Every knob, its unit, its range, its default, and why.

One frozen dataclass per room. A room is given its own section and never the
whole tree, so what a room can be told is what its section says. Knows TOML;
does not know who uses a value.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import time
from pathlib import Path
from typing import Any, get_type_hints

from finetuned.errors import ConfigError


def _check(ok: bool, name: str, expected: str, found: object) -> None:
    if not ok:
        raise ConfigError(f"{name} must be {expected}, got {found!r}")


def _number(value: float) -> str:
    return f"{value:.10g}".replace("e-0", "e-")


def _ranges(section: str, config: object, **ranges: tuple[float, float | None]) -> None:
    """Check that each named field lies in its range; None is no upper bound."""
    for name, (low, high) in ranges.items():
        value = getattr(config, name)
        expected = f">= {_number(low)}" if high is None else f"{_number(low)} to {_number(high)}"
        inside = value >= low and (high is None or value <= high)
        _check(inside, f"{section}.{name}", expected, value)


def _words(section: str, config: object, **words: tuple[str, ...]) -> None:
    """Check that each named field is one of its words."""
    for name, allowed in words.items():
        value = getattr(config, name)
        _check(value in allowed, f"{section}.{name}", f"one of {allowed}", value)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    base: str = "micro"
    """
    The base model: a name under models/base/, a directory, or a hub id such as
    "Qwen/Qwen3-0.6B" that has been downloaded. The daemon itself never downloads.
    """

    enable_thinking: bool = False
    """
    Whether chat templates that know the switch render reasoning. One policy for
    training, evaluation and serving, so that all three see the same token ids.
    """

    dtype: str = "auto"
    """
    Precision of the weights while training: "auto" (float32 on CPU, bfloat16 on
    CUDA), "float32" or "bfloat16". float16 is refused: on CPU it is about 100
    times slower, on CUDA it needs loss scaling that bfloat16 does not.
    """

    device: str = "auto"
    """Where workers run: "auto" (CUDA if there is one), "cpu", "cuda" or "mps"."""

    def __post_init__(self) -> None:
        _check(bool(self.base.strip()), "model.base", "a name, directory or hub id", self.base)
        _words(
            "model",
            self,
            dtype=("auto", "float32", "bfloat16"),
            device=("auto", "cpu", "cuda", "mps"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class InboxConfig:
    stability_seconds: float = 5.0
    """
    How long a file must keep its size, mtime and inode before it is claimed, in
    seconds, >= 0. Guards against half-copied files; `mv` into inbox/ needs none of it.
    """

    scan_seconds: float = 5.0
    """
    Longest time between two full scans of inbox/, in seconds, 0.1 to 60. The
    scan is the truth: file system events only make it come earlier.
    """

    max_attempts: int = 3
    """Runs a job may fail, before it is given up as failed, >= 1. Stops and power cuts are free."""

    share_run_max_examples: int = 500
    """
    Datasets of at most this many examples that wait together share one run, >= 0.
    A run costs seconds of start-up whatever its size; 0 gives each file its own.
    """

    share_run_max_files: int = 2000
    """Most datasets in one shared run, >= 1, so that a flood of files yields versions early."""

    def __post_init__(self) -> None:
        _ranges(
            "inbox",
            self,
            stability_seconds=(0, None),
            scan_seconds=(0.1, 60),
            max_attempts=(1, None),
            share_run_max_examples=(0, None),
            share_run_max_files=(1, None),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    max_length: int = 2048
    """
    Longest example in tokens after rendering, 16 to 131072. Longer examples are
    rejected with both numbers, never cut. The model's own limit applies as well.
    """

    max_line_bytes: int = 8 * 2**20
    """Longest line in bytes, 1 KiB to 1 GiB. A longer one is rejected without being read whole."""

    max_rejected_fraction: float = 0.05
    """
    Share of rejected lines, 0 to 1, above which the whole dataset is quarantined:
    so many bad lines mean a broken export, not a few typing errors.
    """

    holdout_fraction: float = 0.05
    """Share of prompts kept out of training for evaluation, 0 to 0.5; 0 holds nothing out."""

    holdout_min_rows: int = 8
    """
    Least held-out rows of one dataset, 1 to 1000, as far as a fifth of its prompts reach:
    fewer than six cannot show a gain at 95%.
    """

    holdout_max_rows: int = 200
    """Most held-out rows of one dataset, 1 to 10000: enough for +-7 points, cheap to ask."""

    def __post_init__(self) -> None:
        _ranges(
            "data",
            self,
            max_length=(16, 131072),
            max_line_bytes=(1024, 2**30),
            max_rejected_fraction=(0, 1),
            holdout_fraction=(0, 0.5),
            holdout_min_rows=(1, 1000),
            holdout_max_rows=(1, 10000),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    method: str = "lora"
    """
    "lora" (adapters on all linear layers), "full" (all weights, for small models)
    or "qlora" (4-bit base; CUDA with bitsandbytes only).
    """

    r: int = 32
    """LoRA rank, 1 to 1024."""

    lora_alpha: int = 32
    """LoRA scaling numerator, 1 to 4096; the update is scaled by lora_alpha / r."""

    lora_dropout: float = 0.0
    """Dropout on the adapter's input, 0 to 0.9."""

    target_modules: str = "all-linear"
    """What gets adapters: "all-linear", or module names separated by commas."""

    learning_rate: float = 5e-4
    """
    AdamW step size, 1e-7 to 1. LoRA wants about ten times what full fine-tuning
    wants (training.method "full": try 5e-5).
    """

    warmup_steps: int = 20
    """
    Optimizer steps of linear warm-up, >= 0, once per lineage of versions and not
    per file: re-warming at each file costs what earlier files taught.
    """

    rewarm_steps: int = 20
    """
    Optimizer steps of the short warm-up after a rollback, a merge or another mixture of
    data, >= 0; 0 switches it off.
    """

    lr_scheduler_type: str = "constant"
    """
    "constant" (a stream: the next file goes on at the rate of the last); or a shape within
    each job: "linear" and "cosine" fall to zero over it, "wsd" over its last fifth (a
    little better for a single file, worse for many).
    """

    weight_decay: float = 0.0
    """AdamW decoupled weight decay, 0 to 1."""

    max_grad_norm: float = 1.0
    """Gradient clipping norm, > 0."""

    num_train_epochs: int = 1
    """Passes over each dataset, 1 to 1000."""

    per_device_train_batch_size: int = 16
    """The most examples in one micro-batch, 1 to 4096."""

    gradient_accumulation_steps: int = 1
    """
    Times per_device_train_batch_size, and times the processes of a run, gives the
    examples of one optimizer step, 1 to 1024.
    """

    max_batch_tokens: int = 16384
    """
    The most tokens computed in one micro-batch, 16 to 16777216: bounds memory. A shared
    beginning counts once. Halved by itself when memory does not suffice; the
    examples of a step stay the same.
    """

    kernels: str = "auto"
    """
    How the loss is computed; each gives the same loss. "auto" times those that fit the
    model; or "split", "cache" (shared beginnings computed once), "none" (rows side by
    side), "stock" (as transformers does it).
    """

    gradient_checkpointing: bool = False
    """
    Compute activations again instead of keeping them: less memory, about a fifth slower,
    and shared beginnings are computed for each row.
    """

    replay_fraction: float = 0.05
    """
    Share of a job, at least, that is rows of earlier jobs, 0 to 0.9, counted in rows and in
    supervised tokens: the cheapest known way against forgetting. Less where the sample
    (replay_rows) is short: a row comes at most once per epoch. 0 switches it off.
    """

    replay_rows: int = 2000
    """Rows kept for replay with each version, a uniform sample of what it learnt, 0 to 100000."""

    patience: int = 0
    """
    Optimizer steps without a better held-out loss after which a job stops, >= 0; 0 is
    never. Looked at every evaluation.eval_steps.
    """

    min_delta: float = 0.01
    """What counts as better, in nats of held-out loss per token, 0 to 100."""

    max_bad_steps: int = 5
    """
    Steps in a row with a loss or gradient that is no finite number, after which the job
    fails, >= 1. Each of them is left out, the optimizer untouched.
    """

    save_steps: int = 50
    """Optimizer steps between checkpoints, >= 1. A crash costs at most this much work."""

    keep_checkpoints: int = 2
    """Verified checkpoints kept in a run, >= 1."""

    seed: int = 0
    """Seed of shuffling, adapter initialisation and dropout, >= 0."""

    accelerate_config: str = ""
    """
    File made by `accelerate config`, relative to the root, to train on more than one
    device or machine: the worker is then started by `accelerate launch`, once per run.
    Empty for one process.
    """

    def __post_init__(self) -> None:
        _words(
            "training",
            self,
            method=("lora", "full", "qlora"),
            lr_scheduler_type=("constant", "linear", "cosine", "wsd"),
            kernels=("auto", "split", "cache", "none", "stock"),
        )
        _check(self.max_grad_norm > 0, "training.max_grad_norm", "> 0", self.max_grad_norm)
        _ranges(
            "training",
            self,
            r=(1, 1024),
            lora_alpha=(1, 4096),
            lora_dropout=(0, 0.9),
            learning_rate=(1e-7, 1),
            warmup_steps=(0, None),
            rewarm_steps=(0, None),
            max_batch_tokens=(16, 2**24),
            replay_fraction=(0, 0.9),
            replay_rows=(0, 100_000),
            patience=(0, None),
            min_delta=(0, 100),
            max_bad_steps=(1, None),
            weight_decay=(0, 1),
            num_train_epochs=(1, 1000),
            per_device_train_batch_size=(1, 4096),
            gradient_accumulation_steps=(1, 1024),
            save_steps=(1, None),
            keep_checkpoints=(1, None),
            seed=(0, None),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    eval_steps: int = 10
    """Optimizer steps between two looks at held-out rows while training, >= 1."""

    max_wall_fraction: float = 0.05
    """
    Share of training wall time that evals may take, 0.001 to 0.5. Rows per eval
    (1 to 8) and skipped evals adapt to it.
    """

    timeout_seconds: float = 60.0
    """
    Deadline of one eval while training, in seconds, 0.1 to 3600. A late answer is wrong.
    """

    max_new_tokens: int = 256
    """Longest generated answer in tokens, 1 to 8192."""

    final_max_rows: int = 400
    """
    Most rows of the final evaluation of a candidate, 2 to 100000: half from the
    new datasets, half spread over earlier ones.
    """

    final_timeout_seconds: float = 1800.0
    """Deadline of the final evaluation of one model, in seconds, 1 to 86400."""

    batch_size: int = 32
    """Rows generated together, 1 to 1024."""

    item_timeout_seconds: float = 60.0
    """
    Longest time one answer may take in an evaluation, in seconds, 0.01 to 3600. An answer
    that is cut is wrong, and counted as timed out.
    """

    suite_timeout_seconds: float = 900.0
    """
    Deadline of one suite for one model, in seconds, 0.1 to 86400. What was not asked by
    then is missing, and missing evidence fails the gate.
    """

    suites: str = "*"
    """
    Which files of benchmarks/ every candidate is asked: names without .jsonl, separated by
    commas; "*" for all that are there and all that the incumbent was asked; "" for none.
    Each is required: one that is missing or unreadable fails the gate.
    """

    reasoning: str = "strip"
    """
    What a reasoning block in an answer is: "strip" (no part of the answer), "refuse" (it
    makes the answer wrong) or "keep" (text like any other).
    """

    kl_prompts: int = 16
    """
    Prompts on which a training measures how far it has moved from the incumbent, 0 to 256;
    canaries first, then held-out rows of earlier datasets. 0 switches it off.
    """

    kl_warning: float = 0.5
    """
    Nats per token of that distance (KL divergence) above which the status warns of
    forgetting, > 0.
    """

    def __post_init__(self) -> None:
        _words("evaluation", self, reasoning=("strip", "refuse", "keep"))
        _check(self.kl_warning > 0, "evaluation.kl_warning", "> 0", self.kl_warning)
        _ranges(
            "evaluation",
            self,
            item_timeout_seconds=(0.01, 3600),
            suite_timeout_seconds=(0.1, 86400),
            kl_prompts=(0, 256),
            eval_steps=(1, None),
            max_wall_fraction=(0.001, 0.5),
            timeout_seconds=(0.1, 3600),
            max_new_tokens=(1, 8192),
            final_max_rows=(2, 100000),
            final_timeout_seconds=(1, 86400),
            batch_size=(1, 1024),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    confidence: float = 0.95
    """
    How sure a difference must be before it counts, 0.5 to 0.999: of candidates exactly as
    good as the incumbent, at most one minus this is promoted.
    """

    on_equal: str = "reject"
    """
    What happens to a candidate that is shown to be neither better nor worse: "reject", or
    "promote" for a stream whose files are too small to show anything.
    """

    min_loss_gain: float = 0.0
    """
    How much lower the candidate's held-out loss on the new rows must be than the
    incumbent's, in nats per token, >= 0, beside being shown to be lower.
    """

    min_gain: float = 0.0
    """Share of right answers on the new rows that must be gained, 0 to 1; 0 asks for none."""

    max_old_accuracy_drop: float = 0.02
    """
    Share of right answers that any older suite may lose, 0 to 1, before a loss that is
    more than noise rejects the candidate.
    """

    max_old_loss_rise: float = 0.1
    """
    Nats per token that the loss of an older suite may rise, >= 0, before a rise that is
    more than noise rejects the candidate.
    """

    ship_gates: str = ""
    """
    Shares of right answers that a version must reach whatever the incumbent does, such as
    "infra_200 >= 0.95, canaries >= 0.95"; "overall" is all suites together. Judged by the
    lower confidence bound where the suite is large enough to show it.
    """

    quality_gates: str = ""
    """As ship_gates, but advice: written into the report, rejecting nothing."""

    interpolation: str = "0.7, 0.5, 0.3"
    """
    Shares of the candidate, the rest the incumbent, that are tried before a candidate is
    rejected for what it forgot; the best is judged like any other. "" tries none.
    """

    def __post_init__(self) -> None:
        _words("gate", self, on_equal=("reject", "promote"))
        _ranges(
            "gate",
            self,
            confidence=(0.5, 0.999),
            min_loss_gain=(0, None),
            min_gain=(0, 1),
            max_old_accuracy_drop=(0, 1),
            max_old_loss_rise=(0, None),
        )
        for name in ("ship_gates", "quality_gates"):
            try:
                parse_gates(getattr(self, name))
            except ValueError as error:
                raise ConfigError(f"gate.{name}: {error}") from None
        if any(not 0 < a < 1 for a in self.shares):
            _check(False, "gate.interpolation", "shares between 0 and 1", self.interpolation)

    @property
    def shares(self) -> list[float]:
        """What interpolation says, as numbers."""
        try:
            return [float(part) for part in self.interpolation.split(",") if part.strip()]
        except ValueError:
            raise ConfigError(
                "gate.interpolation must be numbers separated by commas, "
                f"got {self.interpolation!r}"
            ) from None


def parse_gates(text: str) -> list[tuple[str, float]]:
    """
    Return suite and threshold of each gate in ``infra_200 >= 0.95, overall >= 0.9``.

    Raises:
        ValueError: It is not of that form, or a threshold is not above 0 and below 1.
    """
    gates = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, sign, number = part.partition(">=")
        try:
            threshold = float(number)
        except ValueError:
            threshold = math.nan
        if not sign or not name.strip() or not 0 < threshold < 1:
            raise ValueError(f"expected NAME >= SHARE with a share between 0 and 1, found {part!r}")
        gates.append((name.strip(), threshold))
    return gates


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchConfig:
    minutes: float = 30.0
    """
    How long after a promotion the new version is watched, in minutes, 0 to 100000; what
    fails in this time takes it back by itself. 0 watches nothing.
    """

    requests: int = 0
    """
    Requests served after which the watch ends earlier, >= 0, by what the server says in
    control/health.json; 0 waits for the time alone.
    """

    max_error_fraction: float = 0.05
    """Share of the new version's requests that may fail while it is watched, 0 to 1."""

    min_requests: int = 20
    """Requests before that share says anything, >= 1."""

    def __post_init__(self) -> None:
        _ranges(
            "watch",
            self,
            minutes=(0, 100_000),
            requests=(0, None),
            max_error_fraction=(0, 1),
            min_requests=(1, None),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryConfig:
    keep_last: int = 5
    """
    Versions outside the incumbent's ancestry that prune keeps, newest first, >= 0.
    The incumbent, its ancestors, pinned versions and the last verified backup are
    always kept.
    """

    backup: bool = True
    """Whether each promoted version is copied to models/backups/ and verified there."""

    consolidate_at: str = ""
    """
    Local time of day, such as "03:00", after which an idle daemon merges the adapter in use
    into a new full version that training goes on from; "" merges on demand only
    (touch control/consolidate). Each merge keeps a model of full size.
    """

    consolidate_after: int = 8
    """Promotions since the last merge before the nightly one is worth it, >= 1."""

    def __post_init__(self) -> None:
        _ranges("registry", self, keep_last=(0, None), consolidate_after=(1, None))
        if self.consolidate_at:
            try:
                time.fromisoformat(self.consolidate_at)
            except ValueError:
                _check(False, "registry.consolidate_at", "like 03:00", self.consolidate_at)


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisorConfig:
    heartbeat_seconds: float = 0.5
    """Longest time between two turns of the loop while a worker runs, in seconds, 0.05 to 5."""

    idle_seconds: float = 2.0
    """Longest time between two turns of the idle loop, in seconds, 0.05 to 5."""

    worker_stuck_seconds: float = 600.0
    """
    A worker that shows no progress for this long is killed and its job retried,
    in seconds, 5 to 86400. Must be longer than the slowest optimizer step, load or save.
    """

    worker_stop_seconds: float = 60.0
    """
    How long a worker may take to checkpoint after a stop, in seconds, 1 to 3600;
    then SIGKILL. Work since the last checkpoint is then done again.
    """

    warm_worker_seconds: float = 300.0
    """
    How long after a job its training worker, with model and optimizer, and its evaluation
    worker wait for the
    next file, in seconds, 0 to 86400. Saves the start and the load, costs their memory
    meanwhile; 0 gives each run a process of its own.
    """

    worker_growth: float = 1.5
    """
    A worker that stays is replaced once it holds more than this many times
    the memory that it held after its first run plus 256 MiB, 0.01 to 100.
    """

    disk_reserve_bytes: int = 256 * 2**20
    """
    Free space below which nothing new is started, in bytes, >= 0; two checkpoints
    of the last size are added to it. Low disk is waited for, it never costs an attempt.
    """

    retry_seconds: float = 5.0
    """
    Pause before an action that the file system refused is tried again, in seconds,
    0.05 to 3600.
    """

    log_max_bytes: int = 20 * 2**20
    """Size at which a log file is rotated, in bytes, >= 4096."""

    log_backups: int = 5
    """Rotated log files kept, >= 1."""

    def __post_init__(self) -> None:
        _ranges(
            "supervisor",
            self,
            heartbeat_seconds=(0.05, 5),
            idle_seconds=(0.05, 5),
            worker_stuck_seconds=(5, 86400),
            worker_stop_seconds=(1, 3600),
            warm_worker_seconds=(0, 86400),
            worker_growth=(0.01, 100),
            disk_reserve_bytes=(0, None),
            retry_seconds=(0.05, 3600),
            log_max_bytes=(4096, None),
            log_backups=(1, None),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """
    The whole tree; only the supervisor and the tools hold it.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    inbox: InboxConfig = field(default_factory=InboxConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    registry: RegistryConfig = field(default_factory=RegistryConfig)
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """
        Return the resolved configuration as plain tables, for run and version records.
        """
        return asdict(self)


def _section(name: str, cls: type, table: object) -> Any:
    if not isinstance(table, Mapping):
        raise ConfigError(f"[{name}] must be a table, got {table!r}")
    hints = get_type_hints(cls)
    known = {f.name for f in fields(cls)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"unknown key {name}.{key}; known keys: {', '.join(sorted(known))}")
        expected = hints[key]
        if expected is float and type(value) is int:
            value = float(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{name}.{key} must be a finite number, got {value}")
        if type(value) is not expected:
            raise ConfigError(
                f"{name}.{key} must be {expected.__name__}, got {type(value).__name__} {value!r}"
            )
        values[key] = value
    return cls(**values)


def config_from_dict(tables: Mapping[str, object]) -> Config:
    """
    Build a configuration from plain tables, such as a run's record of it.

    Raises:
        ConfigError: An unknown section or key, a wrong type, or a value out of range.
    """
    sections = {f.name: f.default_factory for f in fields(Config)}
    for name in tables:
        if name not in sections:
            raise ConfigError(f"unknown section [{name}]; known sections: {', '.join(sections)}")
    classes = get_type_hints(Config)
    return Config(**{name: _section(name, classes[name], t) for name, t in tables.items()})


def load_config(path: Path) -> Config:
    """
    Read *path*; a missing file means all defaults.

    Raises:
        ConfigError: Not TOML, unknown key, wrong type or out of range. The message
            names the file, the key and the range.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return config_from_dict(tomllib.loads(data.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
