"""
Compare our training engine with other tools, side by side on this machine.

    $ python -m experiments.bench_training --workload 400+20+40 --peers trl-padding
    400+20+40: 6 steps of 16 rows, 4m, lora, float32, cpu; held-out loss before training 8.8689
                              rows/s          (min..max) sup. tok/s   peak MB      loss  ours x
    ours                       49.24      (49.24..49.24)       1957       854    8.5074    1.00
    trl-padding                 6.26        (6.26..6.26)        249      2459    8.4952    7.86
    ours / best peer (trl-padding): 7.86x (7.86..7.86 in single repeats)

Every contestant trains the same rows from the same weights in the same number
of optimizer steps (AdamW, constant rate, same clipping), each time in a process
of its own, after a warm-up that does not count; repeats run the contestants
forwards and backwards in turn. Peers other than transformers.Trainer need
tools/bootstrap --bench, or any environment that has them and finetuned.

Exit status: 0 measured, 1 ours failed or a contestant did other work than ours
(other rows, other steps, a held-out loss more than 1% away), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.bench.report import best_peer, complaints, summarise, table
from experiments.bench.settings import BY_NAME, LEARNING_RATES, Contestant, Settings, choose
from experiments.bench.workloads import WORKLOADS

CHECKOUT = Path(__file__).resolve().parents[1]
MODELS = ("micro", "4m", "33m-32k", "qwen3-0.6b", "tiny")
"""shapes.SHAPES, written again so that --help needs no torch; a test holds them together."""

PACKAGES = ("torch", "transformers", "peft", "accelerate", "trl", "datasets")
EXTRAS = ("flash_attn", "kernels", "liger_kernel", "unsloth")


def main(argv: list[str] | None = None) -> int:
    """
    Measure, print and compare; see the module's text for the exit status.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    device = _device() if args.device == "auto" else args.device
    try:
        contestants = choose(args.peers, device=device)
    except ValueError as error:
        parser.error(str(error))
    common = Settings(
        workload="",
        model=args.model,
        method=args.method,
        dtype=args.dtype,
        device=device,
        steps=args.steps,
        rows_per_step=args.rows_per_step,
        threads=args.threads,
        seed=args.seed,
    )
    names = list(WORKLOADS) if args.workload == "all" else [args.workload]
    report: dict[str, Any] = {"machine": machine(device), "workloads": []}
    status = 0
    for name in names:
        settings = replace(common, workload=name)
        measured = compare(settings, contestants, repeats=args.repeats, timeout=args.timeout)
        print(table(_title(settings, measured), measured["contestants"]), flush=True)
        if args.profile:
            measured["limits"] = run(
                "experiments.bench.limits", settings, "ours", timeout=args.timeout
            )
            print(_limits_text(measured["limits"]), flush=True)
        print(flush=True)
        report["workloads"].append(measured)
        status = max(status, int(bool(complaints(measured["contestants"]))))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.bench_training",
        description="Compare our training engine with other tools, side by side.",
        epilog="peers: " + ", ".join(n for n in BY_NAME if n != "ours") + "\nexamples:\n"
        "  python -m experiments.bench_training --workload 80+15+30 --steps 6 --repeats 1\n"
        "  python -m experiments.bench_training --model 33m-32k --peers trl --json figures.json\n"
        "  python -m experiments.bench_training --model qwen3-0.6b --device cuda --profile",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--workload", choices=["all", *WORKLOADS], default="all", help="default all"
    )
    parser.add_argument("--model", choices=MODELS, default="4m", help="shape (default 4m)")
    parser.add_argument("--method", choices=sorted(LEARNING_RATES), default="lora", help="or full")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--steps", type=_positive, default=12, help="measured steps (default 12)")
    parser.add_argument("--rows-per-step", type=_positive, default=16, help="default 16")
    parser.add_argument("--repeats", type=_positive, default=5, help="default 5")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's)")
    parser.add_argument("--seed", type=int, default=0, help="of rows and weights (default 0)")
    parser.add_argument(
        "--peers", default="all", help="all, none, trl, or names with commas (default all)"
    )
    parser.add_argument("--profile", action="store_true", help="FLOP count, limit and profile")
    parser.add_argument(
        "--timeout", type=float, default=3600.0, help="seconds for one contestant (default 3600)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def machine(device: str) -> dict[str, Any]:
    """
    Return where and with what was measured.
    """
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": _gpu_name() if device == "cuda" else _cpu_name(),
        "cpu_count": os.cpu_count(),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in (*PACKAGES, *EXTRAS)},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _gpu_name() -> str:
    import torch

    return torch.cuda.get_device_name()


def compare(
    settings: Settings, contestants: Sequence[Contestant], *, repeats: int, timeout: float
) -> dict[str, Any]:
    """
    Return the figures of one workload, every contestant *repeats* times.

    A contestant that failed once is not asked again.

    Args:
        settings: What all contestants share.
        contestants: Ours first.
        repeats: At least 1.
        timeout: Seconds for one contestant in one repeat.
    """
    runs: dict[str, list[dict[str, Any]]] = {c.name: [] for c in contestants}
    for repeat, contestant in turns(contestants, repeats):
        mine = runs[contestant.name]
        if contestant.missing() or any("error" in figures for figures in mine):
            continue
        began = time.monotonic()
        figures = run("experiments.bench.contestant", settings, contestant.name, timeout=timeout)
        mine.append(figures)
        _say(
            f"{settings.workload} {repeat + 1}/{repeats} {contestant.name}: "
            + (figures.get("error") or f"{figures['rows_planned'] / figures['seconds']:.2f} rows/s")
            + f" ({time.monotonic() - began:.0f} s in all)"
        )
    summaries = summarise(contestants, runs)
    best = best_peer(summaries)
    return {
        "settings": asdict(settings),
        "learning_rate": settings.learning_rate,
        "repeats": repeats,
        "start_loss": next((r.get("start_loss") for r in runs["ours"]), None),
        "contestants": summaries,
        "best_peer": best["name"] if best else None,
        "ratio": best.get("ratio") if best else None,
    }


def turns(contestants: Sequence[Contestant], repeats: int) -> Iterator[tuple[int, Contestant]]:
    """
    Yield ``(repeat, contestant)``, forwards and backwards in turn.

    A machine that gets slower while it measures favours nobody.
    """
    for repeat in range(repeats):
        for contestant in contestants if repeat % 2 == 0 else contestants[::-1]:
            yield repeat, contestant


def run(module: str, settings: Settings, name: str, *, timeout: float) -> dict[str, Any]:
    """
    Run a measuring module in a process of its own and return its figures.

    Args:
        module: "experiments.bench.contestant" or "experiments.bench.limits".
        settings: What all contestants share.
        name: The contestant.
        timeout: Seconds until it is killed.

    Returns:
        Its figures, or ``{"error": the last line of its complaint}``.
    """
    path = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # As long as a worker's threads spin between products; waiting less costs every contestant.
    environment = {"GOMP_SPINCOUNT": "1000", **os.environ, "PYTHONPATH": path}
    if settings.threads:
        environment["OMP_NUM_THREADS"] = str(settings.threads)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        spec, result = Path(folder) / "spec.json", Path(folder) / "result.json"
        spec.write_text(json.dumps({"settings": asdict(settings), "contestant": name}))
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, str(spec), str(result)],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {timeout:.0f} s"}
        if done.returncode == 0 and result.exists():
            figures: dict[str, Any] = json.loads(result.read_text())
            return figures
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return {"error": f"exit status {done.returncode}: {lines[-1] if lines else 'no word'}"}


def _title(settings: Settings, measured: dict[str, Any]) -> str:
    text = (
        f"{settings.workload}: {settings.steps} steps of {settings.rows_per_step} rows, "
        f"{settings.model}, {settings.method}, {settings.dtype}, {settings.device}"
    )
    start = measured["start_loss"]
    return text if start is None else f"{text}; held-out loss before training {start:.4f}"


def _limits_text(limits: dict[str, Any]) -> str:
    if "error" in limits:
        return f"limits: {limits['error']}"
    return (
        f"{limits['profile']}\n"
        f"large matrix products: {limits['matrix_gflop_per_second']:.0f} GFLOP/s\n"
        f"our step: {limits['step_gflop']:.1f} GFLOP in {1000 * limits['step_seconds']:.0f} ms;"
        f" at that rate {1000 * limits['limit_seconds']:.0f} ms,"
        f" so {limits['share_of_limit_pct']:.0f}% of the limit\n"
        f"padded step with full logits: {limits['padded_step_gflop']:.1f} GFLOP,"
        f" {limits['padded_step_gflop'] / limits['step_gflop']:.2f} times ours"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
