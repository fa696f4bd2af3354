"""
Simulated learning curves of known kinds, with the noise of real ones.

Training loss is measured on a few rows at each step, held-out loss at every tenth step on
the same rows. Knows no analyser.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from finetuned.core.curves.finding import JobCurves
from finetuned.core.curves.looks import Answer, paired
from finetuned.core.curves.series import Series
from finetuned.core.evolution import is_scheduled

STEPS = (200, 400, 1000)
LOOK_EVERY = 10


@dataclass(frozen=True, slots=True)
class Noise:
    """
    What is added to a curve.
    """

    train: float
    """Standard deviation of the training loss, in nats."""
    held_out: float
    """The same of the held-out loss."""
    alike: float
    """Autocorrelation of neighbouring deviations, 0 to below 1."""
    heavy: bool
    """Whether deviations have heavy tails (Student's t with 5 degrees of freedom)."""
    rows: int = 0
    """
    Rows of each live eval, if that is where the held-out loss comes from; 0 if it is always
    of the same rows.
    """

    def draw(self, rng: random.Random, n: int, spread: float) -> list[float]:
        """Return *n* deviations with this spread."""
        found, x = [], 0.0
        for i in range(n):
            e = rng.gauss()
            if self.heavy:
                chi = rng.gammavariate(2.5, 2)
                e *= math.sqrt(3 / chi)  # t with 5 degrees of freedom, of variance 1
            x = e if i == 0 else self.alike * x + math.sqrt(1 - self.alike**2) * e
            found.append(spread * x)
        return found


NOISES = {
    "small": Noise(0.05, 0.005, 0.0, heavy=False),
    "large": Noise(0.20, 0.02, 0.0, heavy=False),
    "alike": Noise(0.10, 0.01, 0.5, heavy=False),
    "heavy": Noise(0.15, 0.015, 0.0, heavy=True),
    "live evals": Noise(0.10, 0.10, 0.0, heavy=False, rows=4),
}
"""
The last is what a job has without early stopping: four rows at each look, in turn, of 40 that
differ by half a nat in difficulty.
"""

QUESTIONS = 40
DIFFICULTY = 0.5

Shape = Callable[[float], float]
"""From the share of the job that is over, 0 to 1, to a loss in nats."""


def _decay(low: float, high: float, time: float) -> Shape:
    return lambda x: low + (high - low) * math.exp(-x / time)


def simulate(
    rng: random.Random, steps: int, noise: Noise, train: Shape, held_out: Shape
) -> JobCurves:
    """
    Return the curves of one job of *steps* steps.
    """
    at = list(range(1, steps + 1))
    looks = list(range(LOOK_EVERY, steps + 1, LOOK_EVERY))
    deviations = noise.draw(rng, steps, noise.train)
    loss = [max(1e-3, train(s / steps) + d) for s, d in zip(at, deviations, strict=True)]
    levels = [held_out(s / steps) for s in looks]
    if noise.rows:
        seen = _live(rng, looks, levels, noise)
    else:
        deviations_seen = noise.draw(rng, len(looks), noise.held_out)
        seen = Series(
            tuple(looks),
            tuple(max(1e-3, v + d) for v, d in zip(levels, deviations_seen, strict=True)),
        )
    # Gradients grow with a row's loss and have a spread of their own.
    norms = [math.exp(0.3 * rng.gauss() + d) for d in deviations]
    return JobCurves(
        loss=Series(tuple(at), tuple(loss)),
        held_out=seen,
        held_out_fixed=not noise.rows,
        held_out_rows=64,
        grad_norm=Series(tuple(at), tuple(norms)),
        planned_steps=steps,
    )


def _live(rng: random.Random, looks: list[int], levels: list[float], noise: Noise) -> Series:
    """Return the curve of live evals: the next rows in turn, the first ones on schedule."""
    hard = [rng.gauss(0, DIFFICULTY) for _ in range(QUESTIONS)]
    answers, turn, before = [], 0, 0
    for step, level in zip(looks, levels, strict=True):
        followed = is_scheduled(before, step)
        first, before = (0 if followed else turn), step
        asked = [(first + i) % QUESTIONS for i in range(noise.rows)]
        turn = turn if followed else (turn + noise.rows) % QUESTIONS
        answers += [
            Answer(step, str(q), level + hard[q] + rng.gauss(0, noise.held_out)) for q in asked
        ]
    return paired(answers)


def noise_only(rng: random.Random, steps: int, noise: Noise) -> JobCurves:
    """No shape at all: flat curves."""
    level = rng.uniform(0.5, 3)
    return simulate(rng, steps, noise, lambda _: level, lambda _: level)


def overfit(rng: random.Random, steps: int, noise: Noise) -> JobCurves:
    """Held-out loss turns between 25% and 70% of the job, and rises by 0.15 to 0.6 nats."""
    turn, rise = rng.uniform(0.25, 0.7), rng.uniform(0.15, 0.6)
    fall = _decay(0.5, 2.5, turn / 3)
    return simulate(
        rng,
        steps,
        noise,
        _decay(0.1, 2.5, 0.35),
        lambda x: fall(min(x, turn)) + rise * max(0.0, (x - turn) / (1 - turn)),
    )


def plateau(rng: random.Random, steps: int, noise: Noise) -> JobCurves:
    """Both curves fall until 15% to 60% of the job, and are flat from there."""
    knee, low = rng.uniform(0.15, 0.6), rng.uniform(0.3, 0.8)
    fall = _decay(low, low + 2, knee / 4)
    return simulate(rng, steps, noise, lambda x: fall(min(x, knee)), lambda x: fall(min(x, knee)))


def cut_short(rng: random.Random, steps: int, noise: Noise) -> JobCurves:
    """Both curves fall to the end: the job had time for a third to a whole time constant."""
    time = rng.uniform(1.0, 3.0)
    return simulate(rng, steps, noise, _decay(0.2, 2.5, time), _decay(0.4, 2.5, time))


def diverging(rng: random.Random, steps: int, noise: Noise) -> JobCurves:
    """Training loss falls and then climbs above where it began."""
    turn, climb = rng.uniform(0.3, 0.7), rng.uniform(1.5, 4)
    fall = _decay(0.8, 2.5, turn / 3)
    shape: Shape = lambda x: fall(min(x, turn)) + climb * max(0.0, (x - turn) / (1 - turn))  # noqa: E731
    return simulate(rng, steps, noise, shape, shape)


def spiky(rng: random.Random, steps: int, noise: Noise) -> JobCurves:
    """A falling curve with four steps of four times the loss, and of the gradient."""
    return _with_jumps(rng, plateau(rng, steps, noise), [4.0])


def unstable(rng: random.Random, steps: int, noise: Noise) -> JobCurves:
    """The same, and each time it takes eight steps until the loss is down again."""
    jumps = [1 + 4 * 0.8**i for i in range(9)]
    return _with_jumps(rng, plateau(rng, steps, noise), jumps)


def _with_jumps(rng: random.Random, curves: JobCurves, factors: list[float]) -> JobCurves:
    loss, norms = list(curves.loss.values), list(curves.grad_norm.values)
    for i in rng.sample(range(20, len(loss) - 20, 20), 4):
        for j, factor in enumerate(factors):
            loss[i + j] *= factor
        norms[i] *= 6
    steps = curves.loss.steps
    return replace(curves, loss=Series(steps, tuple(loss)), grad_norm=Series(steps, tuple(norms)))


def too_slow(rng: random.Random, steps: int, noise: Noise) -> JobCurves:
    """Loss falls by 0.5 to 1 nats along a straight line."""
    fall = rng.uniform(0.5, 1.0)
    return simulate(rng, steps, noise, lambda x: 2.5 - fall * x, lambda x: 2.5 - fall * x)


KINDS: dict[str, Callable[[random.Random, int, Noise], JobCurves]] = {
    "noise": noise_only,
    "overfit": overfit,
    "plateau": plateau,
    "cut short": cut_short,
    "diverging": diverging,
    "spiky": spiky,
    "unstable": unstable,
    "too slow": too_slow,
}
