"""
Logistic regression with a ridge, fitted by Newton's method, without numpy.

Small: a handful of signs and some thousand answers. Tests compare it with scipy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MOST_STEPS: Final = 50
_CLOSE: Final = 1e-9
"""Newton's method ends when no weight moves by more."""


@dataclass(frozen=True, slots=True)
class Logistic:
    """
    ln(p / (1 - p)) = bias + sum of weight * (sign - centre) / scale.
    """

    centres: tuple[float, ...]
    scales: tuple[float, ...]
    """Above 0."""
    weights: tuple[float, ...]
    bias: float

    def __call__(self, signs: Sequence[float]) -> float:
        """
        Return the probability, 0 to 1.
        """
        return sigmoid(
            self.bias
            + math.fsum(
                w * (x - c) / s
                for w, x, c, s in zip(self.weights, signs, self.centres, self.scales, strict=True)
            )
        )


def sigmoid(odds: float) -> float:
    """
    Return the probability of log-odds.
    """
    if odds >= 0:
        return 1 / (1 + math.exp(-odds))
    return math.exp(odds) / (1 + math.exp(odds))


def fit_logistic(
    rows: Sequence[Sequence[float]], right: Sequence[bool], *, ridge: float = 1.0
) -> Logistic:
    """
    Return the logistic map with the largest penalised likelihood.

    Args:
        rows: The signs of each answer; N, all of one length D.
        right: Whether each answer is right; N.
        ridge: The penalty is ridge / 2 times the sum of squared weights of the signs divided by
            their standard deviations, > 0: with it there is exactly one best map. The bias is
            free.

    Raises:
        ValueError: No answer is right, or none is wrong: the bias would be infinite.
    """
    if all(right) or not any(right):
        raise ValueError("a logistic map needs right and wrong answers")
    n, d = len(rows), len(rows[0])
    centres = [math.fsum(row[j] for row in rows) / n for j in range(d)]
    scales = [
        math.sqrt(math.fsum((row[j] - centres[j]) ** 2 for row in rows) / n) or 1.0
        for j in range(d)
    ]
    scaled = [[1.0, *((row[j] - centres[j]) / scales[j] for j in range(d))] for row in rows]
    weights = [0.0] * (d + 1)
    best = _loss(scaled, right, weights, ridge)
    for _ in range(_MOST_STEPS):
        step = _newton_step(scaled, right, weights, ridge)
        size = 1.0
        while size > 1e-6:  # a whole step may go too far if the classes are far apart
            tried = [w - size * s for w, s in zip(weights, step, strict=True)]
            found = _loss(scaled, right, tried, ridge)
            if found <= best + 1e-12:
                break
            size /= 2
        else:
            break
        weights, best = tried, found
        if size * max(map(abs, step)) < _CLOSE:
            break
    return Logistic(tuple(centres), tuple(scales), tuple(weights[1:]), weights[0])


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _loss(
    rows: Sequence[Sequence[float]],
    right: Sequence[bool],
    weights: Sequence[float],
    ridge: float,
) -> float:
    """Return the penalised negative log-likelihood."""
    total = ridge / 2 * sum(w * w for w in weights[1:])
    for row, is_right in zip(rows, right, strict=True):
        odds = _dot(row, weights)
        against = -odds if is_right else odds
        total += max(0.0, against) + math.log1p(math.exp(-abs(against)))
    return total


def _newton_step(
    rows: Sequence[Sequence[float]],
    right: Sequence[bool],
    weights: Sequence[float],
    ridge: float,
) -> list[float]:
    """Return what has to be taken off the weights: the inverse Hessian times the gradient."""
    d = len(weights)
    gradient = [0.0, *(ridge * w for w in weights[1:])]
    hessian = [[ridge if i == j and i else 0.0 for j in range(d)] for i in range(d)]
    for row, is_right in zip(rows, right, strict=True):
        p = sigmoid(_dot(row, weights))
        off, curvature = p - is_right, p * (1 - p)
        for i, x in enumerate(row):
            gradient[i] += off * x
            bent = curvature * x
            for j in range(i + 1):
                hessian[i][j] += bent * row[j]
    for i in range(d):
        hessian[i][i] += 1e-9
        for j in range(i):
            hessian[j][i] = hessian[i][j]
    return _solved(hessian, gradient)


def _solved(matrix: list[list[float]], values: list[float]) -> list[float]:
    """Return x with matrix x = values, by elimination with the largest pivot; both are used up."""
    n = len(values)
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(matrix[k][i]))
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        values[i], values[pivot] = values[pivot], values[i]
        for k in range(i + 1, n):
            factor = matrix[k][i] / matrix[i][i]
            values[k] -= factor * values[i]
            for j in range(i, n):
                matrix[k][j] -= factor * matrix[i][j]
    for i in reversed(range(n)):
        values[i] -= sum(matrix[i][j] * values[j] for j in range(i + 1, n))
        values[i] /= matrix[i][i]
    return values
