"""
Whether a candidate may become the incumbent.

Pure: evidence in, verdict out. Evidence that is missing is a failure, never a
pass, and every rule writes down what it saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from finetuned.config import GateConfig


@dataclass(frozen=True, slots=True)
class Score:
    """
    One model on one set of held-out rows.
    """

    n_rows: int
    """Rows that were asked, >= 0."""
    n_asked: int
    """Rows that have an answer to generate (language modelling rows have none)."""
    n_exact: int
    """Answers equal to the expected one, 0 to n_asked."""
    loss: float | None
    """Nats per supervised token, or None when nothing was scored."""
    complete: bool = True
    """Whether every row was asked before the deadline."""

    @property
    def accuracy(self) -> float | None:
        """Exact match, 0 to 1; None when nothing was asked."""
        return self.n_exact / self.n_asked if self.n_asked else None


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    Candidate and incumbent on the same rows; None = that measurement does not exist.
    """

    candidate_new: Score | None
    incumbent_new: Score | None
    candidate_old: Score | None
    incumbent_old: Score | None
    old_rows_expected: int
    """Held-out rows of earlier datasets that should have been asked, >= 0."""


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One condition, what was seen, and whether it held.
    """

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The outcome: promoted only if every rule passed.
    """

    rules: tuple[Rule, ...]

    @property
    def promote(self) -> bool:
        return bool(self.rules) and all(rule.passed for rule in self.rules)

    @property
    def reason(self) -> str:
        """The first failed rule, or the rule that shows the gain."""
        for rule in self.rules:
            if not rule.passed:
                return f"{rule.name}: {rule.detail}"
        return "; ".join(f"{r.name}: {r.detail}" for r in self.rules if r.name.startswith("new_"))


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both scores on the same rows, with losses that are known to be finite."""

    candidate: Score
    incumbent: Score
    candidate_loss: float
    incumbent_loss: float

    @property
    def losses(self) -> str:
        return f"loss {self.incumbent_loss:.4f} -> {self.candidate_loss:.4f}"


def _finite_loss(who: str, score: Score | None) -> float | str:
    """Return the loss, or why there is none."""
    if score is None or score.n_rows == 0:
        return f"no held-out row was asked of the {who}"
    if not score.complete:
        return f"the {who} did not finish before the deadline"
    if score.loss is None or not math.isfinite(score.loss):
        return f"the {who} has no finite loss ({score.loss})"
    return score.loss


def _pair(candidate: Score | None, incumbent: Score | None) -> _Pair | str:
    """Return the evidence that can be compared, or what is missing."""
    new = _finite_loss("candidate", candidate)
    old = _finite_loss("incumbent", incumbent)
    if isinstance(new, str) or candidate is None:
        return str(new)
    if isinstance(old, str) or incumbent is None:
        return str(old)
    if (candidate.n_rows, candidate.n_asked) != (incumbent.n_rows, incumbent.n_asked):
        return f"not the same rows: candidate {candidate.n_rows}, incumbent {incumbent.n_rows}"
    return _Pair(candidate, incumbent, new, old)


def _accuracy_rule(name: str, pair: _Pair, allowed: float) -> Rule:
    new, old = pair.candidate.accuracy, pair.incumbent.accuracy
    if new is None or old is None:
        return Rule(name, True, "rows without an answer to generate")
    # One part in a million: 0.95 - 0.90 must count as a drop of 0.05.
    return Rule(
        name,
        new >= old - allowed - 1e-6,
        f"exact match {pair.incumbent.n_exact} -> {pair.candidate.n_exact} "
        f"of {pair.candidate.n_asked}",
    )


def _old_rules(evidence: Evidence, config: GateConfig) -> list[Rule]:
    pair = _pair(evidence.candidate_old, evidence.incumbent_old)
    if isinstance(pair, str):
        return [Rule("old_evidence", False, pair)]
    asked = pair.candidate.n_rows
    return [
        Rule(
            "old_evidence",
            asked == evidence.old_rows_expected,
            f"{asked} of {evidence.old_rows_expected} rows asked of both",
        ),
        _accuracy_rule("old_accuracy", pair, config.max_old_accuracy_drop),
        Rule(
            "old_loss",
            pair.candidate_loss <= pair.incumbent_loss + config.max_old_loss_rise,
            pair.losses,
        ),
    ]


def judge(evidence: Evidence, config: GateConfig) -> Verdict:
    """
    Decide on a candidate.

    It is promoted when it is better on the new rows (lower loss, exact match
    not lower) and, beyond the configured margins, not worse on the old ones.

    Args:
        evidence: The four scores; see Evidence.
        config: The margins.

    Returns:
        The verdict with every rule that was looked at. When evidence on the new
        rows is missing, only the rule that says so.
    """
    pair = _pair(evidence.candidate_new, evidence.incumbent_new)
    if isinstance(pair, str):
        return Verdict((Rule("new_evidence", False, pair),))
    gain = pair.incumbent_loss - pair.candidate_loss
    rules = [
        Rule("new_evidence", True, f"{pair.candidate.n_rows} rows asked of both"),
        Rule("new_loss", gain > 0 and gain >= config.min_loss_gain, pair.losses),
        _accuracy_rule("new_accuracy", pair, config.max_new_accuracy_drop),
    ]
    if evidence.old_rows_expected > 0:
        rules += _old_rules(evidence, config)
    return Verdict(tuple(rules))
