"""
How near a step is to what the machine can do, and where its time goes.

    $ python -m experiments.bench.limits SPEC RESULT

The limit of a step is its floating-point operations over the measured rate of
large matrix products in the same precision on the same threads. Memory traffic
and everything that is not a matrix product come on top, so no step reaches it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils import flop_counter
from transformers import TrainerCallback

from experiments.bench.contestant import build, train
from experiments.bench.settings import BY_NAME, WARM_UP_STEPS, Settings
from experiments.bench.shapes import model_config
from experiments.bench.watch import RowLog, StepClock, synchronize
from experiments.bench.workloads import make_rows

WATCHED_STEPS = 3
"""Steps measured after the warm-up, all of them together."""

_SQUARE = {"cpu": 2048, "cuda": 8192}
_REPEATS = 8


class Window(TrainerCallback):  # type: ignore[misc]
    """
    Keeps a context open from the end of the warm-up to the end of training.
    """

    def __init__(self, context: AbstractContextManager[Any], *, first_step: int) -> None:
        self._context = context
        self._first_step = first_step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """
        Open before the first step that counts.
        """
        if state.global_step == self._first_step:
            self._context.__enter__()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """
        Close after the last step.
        """
        if state.global_step == state.max_steps:
            synchronize("cpu" if args.use_cpu else "cuda")
            self._context.__exit__(None, None, None)


def matrix_rate(device: str, dtype: str) -> float:
    """
    Return the best measured rate of square matrix products, in FLOP/s.
    """
    n = _SQUARE[device]
    a, b = (torch.randn(n, n, device=device).to(getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for _ in range(_REPEATS):
        synchronize(device)
        began = time.perf_counter()
        a @ b
        synchronize(device)
        best = min(best, time.perf_counter() - began)
    return float(2 * n**3 / best)


def watched(name: str, settings: Settings, callbacks: list[Any]) -> None:
    """
    Train the warm-up and the watched steps of one contestant, always the same ones.
    """
    contestant = BY_NAME[name]
    steps = WARM_UP_STEPS + WATCHED_STEPS
    vocab_size = model_config(settings.model).vocab_size
    n = steps * settings.rows_per_step
    rows = make_rows(settings.workload, n, part="train", vocab_size=vocab_size, seed=settings.seed)
    model = build(settings, contestant)
    train(model, rows, contestant, settings, steps=steps, callbacks=callbacks, log=RowLog())


def seconds_of(name: str, settings: Settings) -> float:
    """
    Return what one of the watched steps takes on average, in seconds.
    """
    clock = StepClock(settings.device)
    watched(name, settings, [clock])
    return sum(clock.step_seconds[WARM_UP_STEPS:]) / WATCHED_STEPS


def flop_of(name: str, settings: Settings) -> float:
    """
    Return the floating-point operations of one of the watched steps on average.

    Counted as they are dispatched, backward included. Attention counts as if no
    position were masked, which is what a kernel with an explicit mask computes.
    """
    counter = flop_counter.FlopCounterMode(display=False, custom_mapping=uncounted())
    watched(name, settings, [Window(counter, first_step=WARM_UP_STEPS)])
    return float(counter.get_total_flops() / WATCHED_STEPS)


def uncounted() -> dict[Any, Callable[..., int]]:
    """
    Return how to count what torch's table leaves out: the CPU's attention, products in place.
    """
    aten = torch.ops.aten
    count: Any = flop_counter  # its functions carry no types

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(count.sdpa_flop_count(query, key, value))

    def backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(count.sdpa_backward_flop_count(grad, query, key, value))

    def product(_: Any, a: Any, b: Any, **__: Any) -> int:
        return int(2 * a[0] * a[1] * b[1])

    return {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
        aten.addmm_: product,
    }


def profile_of(name: str, settings: Settings) -> str:
    """
    Return torch's profiler table of the watched steps: the 15 dearest by their own time.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    if settings.device == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    profiler = torch.profiler.profile(activities=activities)
    watched(name, settings, [Window(profiler, first_step=WARM_UP_STEPS)])
    key = "self_device_time_total" if settings.device == "cuda" else "self_cpu_time_total"
    return str(profiler.key_averages().table(sort_by=key, row_limit=15, max_name_column_width=48))


def main(argv: list[str] | None = None) -> int:
    """
    Write the figures of one workload as JSON.
    """
    spec_path, result_path = argv if argv is not None else sys.argv[1:]
    settings = Settings(**json.loads(Path(spec_path).read_text())["settings"])
    if settings.threads:
        torch.set_num_threads(settings.threads)
    settings = replace(settings, steps=WATCHED_STEPS)
    rate = matrix_rate(settings.device, settings.dtype)
    seconds = seconds_of("ours", settings)
    ours, padded = (flop_of(name, settings) for name in ("ours", "trainer-padding"))
    figures = {
        "matrix_gflop_per_second": round(rate / 1e9, 1),
        "step_seconds": seconds,
        "step_gflop": round(ours / 1e9, 2),
        "padded_step_gflop": round(padded / 1e9, 2),
        "limit_seconds": ours / rate,
        "share_of_limit_pct": round(100 * ours / rate / seconds, 1),
        "profile": profile_of("ours", settings),
    }
    Path(result_path).write_text(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
