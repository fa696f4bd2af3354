"""
The map from an answer's signs to the probability that it is right, fitted on marked answers.

Fitted anew at every evaluation, on what the version itself answered: a map says nothing of
another model. Pure; does not know where the map is kept.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from finetuned.core.confidence.isotonic import Isotonic, fit_isotonic
from finetuned.core.confidence.logistic import Logistic, fit_logistic
from finetuned.core.confidence.quality import Quality, quality
from finetuned.core.confidence.signs import NAMES, Ending, signs_of

LEAST_ANSWERS: Final = 40
"""From fewer answers no map is made: it would be noise with two decimals."""

FOLDS: Final = 5
"""Parts of the answers; each is judged by a map that was fitted on the others."""

ALL: Final = "all"
"""The domain of every answer."""

MOST_DOMAINS: Final = 12
"""The largest domains have figures of their own."""

UNCALIBRATED: Final = "mean token probability, not calibrated"
"""The source of a confidence for which there is no map."""

_Judge = Callable[[Sequence[float]], float]
"""Signs in, confidence out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfidenceMap:
    """
    Signs of an answer in, the probability that it is right out. One of the two maps is there.
    """

    n: int
    """Answers that it was fitted on."""
    n_right: int
    signs: tuple[str, ...]
    """The signs it reads, in order."""
    logistic: Logistic | None
    """Of all signs."""
    isotonic: Isotonic | None
    """Of the first sign alone."""

    def confidence(self, ending: Ending) -> float:
        """
        Return the probability that an answer is right, 0 to 1.
        """
        return self.of_signs(signs_of(ending))

    def of_signs(self, signs: Sequence[float]) -> float:
        """
        Return the same for the signs of an answer.
        """
        if self.logistic is not None:
            return self.logistic(signs)
        if self.isotonic is not None:
            return self.isotonic.at(signs[0])
        raise ValueError("a confidence map without a map")

    @property
    def is_usable(self) -> bool:
        """Whether it reads the signs that are computed today, and has a map."""
        return self.signs == NAMES and (self.logistic is None) != (self.isotonic is None)


def source_of(found: ConfidenceMap | None, version: str) -> str:
    """
    Return where a confidence comes from, for people and programs.
    """
    if found is None:
        return UNCALIBRATED
    return f"calibrated on {found.n} held-out answers of {version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkedEnding:
    """
    The end of an answer, and whether the answer was right.
    """

    ending: Ending
    is_right: bool
    family: str
    """Items of one template, or nearly the same, have the same."""
    domain: str
    """What the question is about: figures are given for each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """
    What was learnt of a version's confidence.
    """

    n: int
    n_right: int
    map: ConfidenceMap | None
    why: str | None
    """Why there is no map; None if there is one."""
    calibrated: dict[str, Quality]
    """
    By domain, ALL first: each answer judged by a map that was fitted without its family. Empty
    without a map.
    """
    uncalibrated: dict[str, Quality]
    """The same of the mean token probability, which is what there is without a map."""


def calibrate(answers: Sequence[MarkedEnding]) -> Calibration:
    """
    Fit the map of a version from what it answered, and measure how good it is.

    Of a logistic map of all signs and a rising one of the first, the one is taken that is
    likelier on the answers of families that it was not fitted on.

    Args:
        answers: Of one model, in any order.
    """
    right = [a.is_right for a in answers]
    n, n_right = len(answers), sum(right)
    domains = _by_domain(answers)
    raw = [a.ending.likelihood.probability for a in answers]
    uncalibrated = _qualities(raw, right, domains)
    why = _why_not(answers)
    if why is not None:
        return Calibration(
            n=n, n_right=n_right, map=None, why=why, calibrated={}, uncalibrated=uncalibrated
        )
    signs = [signs_of(a.ending) for a in answers]
    folds = _folds([a.family for a in answers])
    judged = {maker: _cross_fitted(maker, signs, right, folds) for maker in (_logistic, _isotonic)}
    maker = min(judged, key=lambda m: _log_loss(judged[m], right))
    return Calibration(
        n=n,
        n_right=n_right,
        map=maker(signs, right),
        why=None,
        calibrated=_qualities(judged[maker], right, domains),
        uncalibrated=uncalibrated,
    )


def _why_not(answers: Sequence[MarkedEnding]) -> str | None:
    n, n_right = len(answers), sum(a.is_right for a in answers)
    if n < LEAST_ANSWERS:
        return f"{n} answers with known token probabilities, {LEAST_ANSWERS} are needed"
    if n_right in (0, n):
        return f"{'all' if n_right else 'none'} of {n} answers are right: there is nothing to tell"
    if len({a.family for a in answers}) < FOLDS:
        return f"the questions are of fewer than {FOLDS} families: nothing is left to test on"
    return None


def _logistic(signs: Sequence[Sequence[float]], right: Sequence[bool]) -> ConfidenceMap:
    made = fit_logistic(signs, right)
    return ConfidenceMap(
        n=len(right), n_right=sum(right), signs=NAMES, logistic=made, isotonic=None
    )


def _isotonic(signs: Sequence[Sequence[float]], right: Sequence[bool]) -> ConfidenceMap:
    made = fit_isotonic([row[0] for row in signs], right)
    return ConfidenceMap(
        n=len(right), n_right=sum(right), signs=NAMES, logistic=None, isotonic=made
    )


_Maker = Callable[[Sequence[Sequence[float]], Sequence[bool]], ConfidenceMap]


def _cross_fitted(
    maker: _Maker,
    signs: Sequence[Sequence[float]],
    right: Sequence[bool],
    folds: Sequence[int],
) -> list[float]:
    """Return the confidence in each answer, by a map fitted on the other folds."""
    found = [0.0] * len(right)
    for fold in sorted(set(folds)):
        others = [i for i, f in enumerate(folds) if f != fold]
        judge = _fitted(maker, [signs[i] for i in others], [right[i] for i in others])
        for i, f in enumerate(folds):
            if f == fold:
                found[i] = judge(signs[i])
    return found


def _fitted(maker: _Maker, signs: Sequence[Sequence[float]], right: Sequence[bool]) -> _Judge:
    """Return a map; if all or none of the answers are right, their share for every answer."""
    n_right, n = sum(right), len(right)
    if n_right in (0, n):
        share = (n_right + 1) / (n + 2)
        return lambda _: share
    return maker(signs, right).of_signs


def _folds(families: Sequence[str]) -> list[int]:
    """Return the fold of each answer: whole families, the largest first into the emptiest fold."""
    sizes: dict[str, int] = defaultdict(int)
    for family in families:
        sizes[family] += 1
    filled, fold_of = [0] * FOLDS, {}
    for family in sorted(sizes, key=lambda f: (-sizes[f], f)):
        fold_of[family] = filled.index(min(filled))
        filled[fold_of[family]] += sizes[family]
    return [fold_of[family] for family in families]


def _log_loss(confidences: Sequence[float], right: Sequence[bool]) -> float:
    least = 1e-6  # one answer that was called certain and is wrong does not decide alone
    return -sum(
        math.log(max(least, c if is_right else 1 - c))
        for c, is_right in zip(confidences, right, strict=True)
    )


def _by_domain(answers: Sequence[MarkedEnding]) -> dict[str, list[int]]:
    """Return the numbers of the answers of each domain: all, then the largest, by name."""
    places: dict[str, list[int]] = defaultdict(list)
    for i, answer in enumerate(answers):
        places[answer.domain].append(i)
    largest = sorted(places, key=lambda d: (-len(places[d]), d))[:MOST_DOMAINS]
    return {ALL: list(range(len(answers)))} | {d: places[d] for d in sorted(largest)}


def _qualities(
    confidences: Sequence[float], right: Sequence[bool], domains: dict[str, list[int]]
) -> dict[str, Quality]:
    return {
        domain: quality([confidences[i] for i in places], [right[i] for i in places])
        for domain, places in domains.items()
        if places
    }
