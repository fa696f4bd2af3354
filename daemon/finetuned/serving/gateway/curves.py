"""
The loss of a running or finished training, read on from where it was read last.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from finetuned.files.run import EVALS, METRICS
from finetuned.reports.wording import finite
from finetuned.serving.gateway.snapshot import Curve, Line

MAX_POINTS = 600
"""Of one chart; longer ones are thinned to means of equal stretches."""
MAX_READ = 8 << 20
"""Bytes of one file that are read at one look; the next look goes on."""


class _Tail:
    """
    The whole lines that a file got since the last look.
    """

    def __init__(self) -> None:
        self._offset = 0

    def read(self, path: Path) -> list[dict[str, object]]:
        try:
            with path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(MAX_READ)
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        found = []
        for line in whole.splitlines():
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # a power cut left a piece of a line
            if isinstance(value, dict):
                found.append(value)
        return found


class RunCurves:
    """
    The curves of one run at a time.
    """

    def __init__(self) -> None:
        self.follow(None)

    def follow(self, run_dir: Path | None) -> None:
        """
        Read that run from now on; from its beginning if it is another one.
        """
        if run_dir == getattr(self, "_dir", ...):
            return
        self._dir = run_dir
        self._metrics, self._evals = _Tail(), _Tail()
        self._train: dict[float, float | None] = {}
        self._held: dict[float, float | None] = {}
        self._curves: tuple[Curve, ...] = ()

    def read(self) -> tuple[Curve, ...]:
        """
        Return the curves with what was written by now; none if there is no step yet.
        """
        if self._dir is None:
            return ()
        news = False
        for tail, name, into in (
            (self._metrics, METRICS, self._train),
            (self._evals, EVALS, self._held),
        ):
            for record in tail.read(self._dir / name):
                step = finite(record.get("step"))
                if step is not None:
                    into[step] = finite(record.get("loss"))
                    news = True
        if news:
            self._curves = (self._curve(),)
        return self._curves

    def _curve(self) -> Curve:
        train, held = _thin(self._train), dict(sorted(self._held.items()))
        steps = tuple(sorted({*train, *held}))
        lines = (
            Line("training rows", tuple(train.get(step) for step in steps)),
            Line("held-out rows", tuple(held.get(step) for step in steps)),
        )
        return Curve("Loss, in nats per token", "step", steps, lines if held else lines[:1])


def _thin(points: dict[float, float | None]) -> dict[float, float | None]:
    """Return at most MAX_POINTS: means of equal stretches, the last point kept as it is."""
    steps = sorted(points)
    size = -(-len(steps) // MAX_POINTS)
    if size <= 1:
        return {step: points[step] for step in steps}
    found: dict[float, float | None] = {}
    for begin in range(0, len(steps), size):
        part = steps[begin : begin + size]
        known = [value for step in part if (value := points[step]) is not None]
        found[part[len(part) // 2]] = sum(known) / len(known) if known else None
    return found | {steps[-1]: points[steps[-1]]}
