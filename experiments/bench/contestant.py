"""
One contestant, once, in a process of its own.

    python -m experiments.bench.contestant SPEC RESULT

SPEC is a JSON file with the settings and the contestant's name; RESULT is where
the figures go. What a contestant prints is nobody's business: streams are the
caller's. Knows how a measurement goes, not who is better.
"""

from __future__ import annotations

import os

# Before the first import that reads them: no contestant talks to the net, and a
# benchmark sends no statistics about itself.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.bench.settings import BY_NAME, HELD_OUT_ROWS, WARM_UP_STEPS, Contestant, Settings
from experiments.bench.workloads import Row, make_rows


def main(argv: list[str] | None = None) -> int:
    """
    Measure and write the figures; any failure is a traceback and a status that is not 0.
    """
    spec_path, result_path = argv if argv is not None else sys.argv[1:]
    spec = json.loads(Path(spec_path).read_text())
    figures = measure(Settings(**spec["settings"]), BY_NAME[spec["contestant"]])
    Path(result_path).write_text(json.dumps(figures))
    return 0


def measure(settings: Settings, contestant: Contestant) -> dict[str, Any]:
    """
    Warm up, train with the clock running, and look at the held-out rows.

    The warm-up has a model and rows of its own: the measured run starts from the
    same weights and trains the same rows whoever it is.

    Returns:
        ``seconds``, ``steps``, what RowLog counted, ``peak_bytes`` (of which
        ``start_bytes`` were there before training), ``held_out_loss`` in nats;
        ``start_loss``, the same before any training, is measured by ours alone.
    """
    import torch

    from experiments.bench.shapes import model_config
    from experiments.bench.watch import RowLog, StepClock, held_out_loss, peak_bytes, reset_peak

    if settings.threads:
        torch.set_num_threads(settings.threads)
    vocab_size = model_config(settings.model).vocab_size

    def rows(n: int, part: str) -> list[Row]:
        return make_rows(settings.workload, n, part=part, vocab_size=vocab_size, seed=settings.seed)

    start_loss = None
    if contestant.kind == "ours":  # all start from the same weights
        start_loss = held_out_loss(build(settings, contestant), rows(HELD_OUT_ROWS, "held-out"))
    model = build(settings, contestant)
    warm_up = rows(WARM_UP_STEPS * settings.rows_per_step, "warm-up")
    train(model, warm_up, contestant, settings, steps=WARM_UP_STEPS, callbacks=[], log=RowLog())
    del model
    model = build(settings, contestant)
    measured = rows(settings.steps * settings.rows_per_step, "train")
    start = reset_peak(settings.device)
    log, clock = RowLog(), StepClock(settings.device)
    steps = train(
        model,
        measured,
        contestant,
        settings,
        steps=settings.steps,
        callbacks=[clock],
        log=log,
    )
    peak = peak_bytes(settings.device)
    return {
        "seconds": clock.seconds,
        "step_seconds": clock.step_seconds,
        "steps": steps,
        "rows_planned": len(measured),
        **log.figures(),
        "start_bytes": start,
        "peak_bytes": peak,
        "start_loss": start_loss,
        "held_out_loss": held_out_loss(model, rows(HELD_OUT_ROWS, "held-out")),
    }


def build(settings: Settings, contestant: Contestant) -> Any:
    """
    Return the model that *contestant* trains.
    """
    from experiments.bench import peers
    from experiments.bench.shapes import build_model

    if contestant.kind == "ours":
        return build_model(settings)
    return peers.build(settings, contestant)


def train(
    model: Any,
    rows: Sequence[Row],
    contestant: Contestant,
    settings: Settings,
    **how: Any,
) -> int:
    """
    Let *contestant* train *rows*; *how* is ``steps``, ``callbacks`` and ``log``.

    Returns:
        Optimizer steps made.
    """
    if contestant.kind == "ours":
        from experiments.bench import ours

        return ours.train(model, rows, settings, **how)
    from experiments.bench import peers

    return peers.train(model, rows, contestant, settings, **how)


if __name__ == "__main__":
    raise SystemExit(main())
