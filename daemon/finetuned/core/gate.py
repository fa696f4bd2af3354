"""
Whether a candidate may become the incumbent.

Pure: evidence in, verdict out. Evidence that is missing is a failure, never a
pass, and every rule writes down what it saw. Differences are judged by paired
tests on the same items, so that noise neither promotes nor rejects.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from finetuned.config import GateConfig, parse_gates
from finetuned.core.evidence import Evidence, ItemPair, Merge, SuiteEvidence
from finetuned.core.statistics import (
    bootstrap_interval,
    least_items,
    lower_bound,
    mcnemar,
    sign_flip,
)
from finetuned.core.suite_origin import SuiteOrigin

FORGETTING = ("old_accuracy", "old_loss", "old_together", "canaries")
"""Rules that a candidate breaks by what it forgot: less of the same change may pass them."""

_LARGEST = 1e12
"""Nats or tokens of one item beyond which a number is damaged: sums of such stay finite."""


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One condition, what was seen, and whether it held.
    """

    name: str
    passed: bool
    detail: str
    required: bool = True
    """False: advice, which stops nothing."""
    suite: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The outcome: promoted only if every required rule passed.
    """

    rules: tuple[Rule, ...]

    @property
    def failed(self) -> list[Rule]:
        """The required rules that did not hold, in the order they were looked at."""
        return [rule for rule in self.rules if rule.required and not rule.passed]

    @property
    def promote(self) -> bool:
        return bool(self.rules) and not self.failed

    @property
    def forgot(self) -> bool:
        """Whether all that speaks against the candidate is what it forgot."""
        return bool(self.failed) and all(rule.name in FORGETTING for rule in self.failed)

    @property
    def reason(self) -> str:
        """The first failed rule and how many more there are, or the rule that shows the gain."""
        if self.failed:
            first = self.failed[0]
            more = f" (and {len(self.failed) - 1} more)" if len(self.failed) > 1 else ""
            return f"{first.name}: {first.detail}{more}"
        shows = [r for r in self.rules if r.name in ("gain", "merge")]
        return "; ".join(f"{r.name}: {r.detail}" for r in shows)


def judge(evidence: Evidence, config: GateConfig) -> Verdict:
    """
    Decide on a candidate.

    Args:
        evidence: Both models on the same items; see Evidence.
        config: Margins, confidence and absolute gates.

    Returns:
        The verdict with every rule that was looked at. Where evidence is missing,
        only the rules that say so.
    """
    rules = _completeness(evidence)
    if not all(rule.passed for rule in rules):
        return Verdict(tuple(rules))
    alpha = 1 - config.confidence
    # What is not required and not whole is not evidence either.
    suites = [s for s in evidence.suites if _problem(s) is None]
    new = _pairs(suites, SuiteOrigin.NEW)
    older = [s for s in suites if s.origin in (SuiteOrigin.OLD, SuiteOrigin.BENCHMARK)]
    if evidence.consolidation:
        older += [s for s in suites if s.origin == SuiteOrigin.NEW]
        rules.append(_merge(evidence.merge))
    else:
        rules += [*_not_worse(new, alpha), _gain(new, alpha, config)]
        if config.min_gain > 0:
            rules.append(_minimum_gain(new, config.min_gain))
    rules += _older(older, alpha, config)
    rules += _canaries([s for s in suites if s.origin == SuiteOrigin.CANARY])
    rules.append(_stop_rate(_pairs(suites), alpha))
    rules += _absolute("ship", config.ship_gates, suites, config.confidence, required=True)
    rules += _absolute("quality", config.quality_gates, suites, config.confidence, required=False)
    return Verdict(tuple(rules))


# -- evidence ---------------------------------------------------------------------


def _completeness(evidence: Evidence) -> list[Rule]:
    rules = [
        Rule("required_suites", False, f"{name}: there is no evidence", suite=name)
        for name in evidence.missing
    ]
    for suite in evidence.suites:
        problem = _problem(suite)
        if problem is not None and suite.required:
            detail = f"{suite.title}: {problem}"
            rules.append(Rule("required_suites", False, detail, suite=suite.name))
    if not rules:
        n = sum(s.n_items for s in evidence.suites)
        detail = f"{len(evidence.suites)} suites, {n} items, all asked of both"
        rules.append(Rule("required_suites", True, detail, numbers={"items": n}))
    whole = [s for s in evidence.suites if _problem(s) is None]
    asked_new = any(p.n_tokens or _asked(p) for p in _pairs(whole, SuiteOrigin.NEW))
    if not evidence.consolidation and not asked_new:
        detail = "no held-out row of the new datasets was asked: nothing can show that it is better"
        rules.append(Rule("new_evidence", False, detail))
    if evidence.consolidation and not whole:
        rules.append(Rule("required_suites", False, "nothing was asked of the merged model"))
    return rules


def _problem(suite: SuiteEvidence) -> str | None:
    """Why the suite proves nothing; None where it is whole."""
    if suite.problem is not None:
        return suite.problem
    if suite.origin not in tuple(SuiteOrigin):
        return f"its origin is {suite.origin!r}, which no rule looks at"
    if suite.n_items < 1:
        return "it has no item"
    if len(suite.pairs) != suite.n_items:
        return f"{len(suite.pairs)} of {suite.n_items} items asked of both"
    if len({p.id for p in suite.pairs}) != suite.n_items:
        return "an item is in it twice"
    # Comparisons with NaN are false, so this lets none through.
    if not all(
        abs(p.candidate_loss) < _LARGEST and abs(p.incumbent_loss) < _LARGEST for p in suite.pairs
    ):
        return "a loss is no finite number"
    if not all(0 <= p.n_tokens < _LARGEST for p in suite.pairs):
        return "a number of tokens is none"
    return None


def _pairs(suites: Iterable[SuiteEvidence], origin: str | None = None) -> list[ItemPair]:
    return [p for s in suites if origin in (None, s.origin) for p in s.pairs]


@dataclass(frozen=True, slots=True)
class _Change:
    """Candidate against incumbent on some items."""

    asked: int
    right_before: int
    right_now: int
    better: int
    """Items that only the candidate got right."""
    worse: int
    scored: int
    tokens: int
    gains: tuple[float, ...]
    """Per item, how much lower the candidate's loss is, in nats per token of all items."""

    @property
    def accuracy_change(self) -> float:
        """New minus old share of right answers, -1 to 1."""
        return (self.right_now - self.right_before) / self.asked if self.asked else 0.0

    @property
    def loss_gain(self) -> float:
        """Old minus new loss, in nats per token."""
        return math.fsum(self.gains)

    def answers(self) -> str:
        return f"right {self.right_before} -> {self.right_now} of {self.asked}"

    def numbers(self) -> dict[str, float]:
        found: dict[str, float] = {"items": float(max(self.asked, self.scored))}
        if self.asked:
            found |= {
                "accuracy_change": round(self.accuracy_change, 4),
                "better": self.better,
                "worse": self.worse,
            }
            signs = [1.0] * self.better + [-1.0] * self.worse
            signs += [0.0] * (self.asked - len(signs))
            low, high = bootstrap_interval(signs)
            found |= {"accuracy_change_low": round(low, 4), "accuracy_change_high": round(high, 4)}
        if self.scored:
            found["loss_gain"] = round(self.loss_gain, 6)
        return found


def _change(pairs: Sequence[ItemPair]) -> _Change:
    asked = [p for p in pairs if p.candidate_correct is not None]
    scored = [p for p in pairs if p.n_tokens]
    tokens = sum(p.n_tokens for p in scored)
    return _Change(
        asked=len(asked),
        right_before=sum(bool(p.incumbent_correct) for p in asked),
        right_now=sum(bool(p.candidate_correct) for p in asked),
        better=sum(bool(p.candidate_correct and not p.incumbent_correct) for p in asked),
        worse=sum(bool(p.incumbent_correct and not p.candidate_correct) for p in asked),
        scored=len(scored),
        tokens=tokens,
        gains=tuple((p.incumbent_loss - p.candidate_loss) / tokens for p in scored),
    )


# -- rules ------------------------------------------------------------------------


def _not_worse(pairs: Sequence[ItemPair], alpha: float) -> list[Rule]:
    change = _change(pairs)
    rules = []
    if change.scored:
        p = sign_flip([-gain for gain in change.gains])
        detail = f"loss {0 - change.loss_gain:+.4f} nats per token, p(worse) {p:.3g}"
        rules.append(Rule("new_loss", p > alpha, detail, numbers={"p_value": p}))
    if change.asked:
        p = mcnemar(change.worse, change.better)
        detail = f"{change.answers()}, p(worse) {p:.3g}"
        rules.append(Rule("new_accuracy", p > alpha, detail, numbers={"p_value": p}))
    return rules


def _gain(pairs: Sequence[ItemPair], alpha: float, config: GateConfig) -> Rule:
    """
    Shown to be better, in loss or in answers: each is tested at half the level.
    """
    change = _change(pairs)
    p_loss = sign_flip(change.gains) if change.scored else 1.0
    p_answers = mcnemar(change.better, change.worse) if change.asked else 1.0
    shown = min(p_loss, p_answers) <= alpha / 2
    detail = f"loss {0 - change.loss_gain:+.4f} nats per token (p {p_loss:.3g})"
    if change.asked:
        detail += f", {change.answers()} (p {p_answers:.3g})"
    numbers = {**change.numbers(), "p_loss": p_loss, "p_accuracy": p_answers}
    # 0 asks for nothing: a gain shown by answers may come with a loss a hair higher.
    if config.min_loss_gain > 0 and change.loss_gain < config.min_loss_gain:
        detail += f"; gate.min_loss_gain asks for {config.min_loss_gain:g}"
        return Rule("gain", False, detail, numbers=numbers)
    if shown:
        return Rule("gain", True, detail, numbers=numbers)
    needed = math.ceil(-math.log2(alpha / 2))
    if max(change.scored, change.asked) < needed:
        detail += (
            f"; fewer than {needed} held-out rows cannot show a gain at "
            f"{_percent(config.confidence)}: drop more rows at a time"
        )
    else:
        detail += f"; no gain is shown at {_percent(config.confidence)}"
    if config.on_equal == "promote":
        return Rule("gain", True, f'{detail}; gate.on_equal = "promote"', numbers=numbers)
    return Rule("gain", False, detail, numbers=numbers)


def _minimum_gain(pairs: Sequence[ItemPair], least: float) -> Rule:
    change = _change(pairs)
    # One part in a million: 0.92 - 0.90 must count as a gain of 0.02.
    passed = change.asked > 0 and change.accuracy_change >= least - 1e-6
    detail = f"{change.answers()}, {100 * change.accuracy_change:+.1f} points of {100 * least:g}"
    return Rule("minimum_gain", passed, detail)


def _merge(merge: Merge | None) -> Rule:
    if merge is None or merge.n_positions < 1:
        return Rule("merge", False, "the merged weights were not compared with base and adapter")
    return Rule(
        "merge",
        0 <= merge.difference <= merge.tolerance < math.inf,
        f"logits differ by {merge.difference:.2g} of the largest at {merge.n_positions} positions "
        f"(tolerance {merge.tolerance:g})",
        numbers={"difference": merge.difference, "tolerance": merge.tolerance},
    )


def _older(suites: Sequence[SuiteEvidence], alpha: float, config: GateConfig) -> list[Rule]:
    """
    No older suite is shown to be worse by more than the margin.

    Tested at the level divided by the number of suites (Bonferroni), or with
    enough of them one would fall by chance; all of them together at the whole level.
    """
    rules: list[Rule] = []
    level = alpha / max(1, len(suites))
    for suite in suites:
        rules += _older_one(suite.name, suite.title, suite.pairs, level, config)
    if len(suites) > 1:
        together = _older_one("old", "all older suites", _pairs(suites), alpha, config)
        rules += [Rule("old_together", r.passed, r.detail, numbers=r.numbers) for r in together]
    return rules


def _older_one(
    name: str, title: str, pairs: Sequence[ItemPair], level: float, config: GateConfig
) -> list[Rule]:
    change = _change(pairs)
    rules = []
    if change.asked:
        p = mcnemar(change.worse, change.better)
        drop = -change.accuracy_change
        held = p > level or drop <= config.max_old_accuracy_drop + 1e-6
        detail = f"{title}: {change.answers()}, p(worse) {p:.3g} at level {level:.3g}"
        numbers = {**change.numbers(), "p_value": p, "level": level}
        rules.append(Rule("old_accuracy", held, detail, suite=name, numbers=numbers))
    if change.scored:
        p = sign_flip([-gain for gain in change.gains])
        rise = 0 - change.loss_gain
        held = p > level or rise <= config.max_old_loss_rise
        detail = f"{title}: loss {rise:+.4f} nats per token, p(worse) {p:.3g}"
        rules.append(Rule("old_loss", held, detail, suite=name, numbers={"p_value": p}))
    return rules


def _canaries(suites: Sequence[SuiteEvidence]) -> list[Rule]:
    rules = []
    for suite in suites:
        passed = [p for p in suite.pairs if p.incumbent_correct]
        lost = [p.id for p in passed if not p.candidate_correct]
        detail = f"{len(passed) - len(lost)} of {len(passed)} that the incumbent passed"
        if lost:
            detail += f"; failed: {', '.join(lost[:5])}" + (" ..." if len(lost) > 5 else "")
        numbers: dict[str, float] = {"kept": len(passed) - len(lost), "lost": len(lost)}
        rules.append(Rule("canaries", not lost, detail, suite=suite.name, numbers=numbers))
    return rules


def _stop_rate(pairs: Sequence[ItemPair], alpha: float) -> Rule:
    asked = [p for p in pairs if p.candidate_stopped is not None]
    worse = sum(bool(p.incumbent_stopped and not p.candidate_stopped) for p in asked)
    better = sum(bool(p.candidate_stopped and not p.incumbent_stopped) for p in asked)
    p = mcnemar(worse, better)
    before = sum(bool(p.incumbent_stopped) for p in asked)
    now = sum(bool(p.candidate_stopped) for p in asked)
    detail = f"answers that ended by themselves {before} -> {now} of {len(asked)}, p(worse) {p:.3g}"
    return Rule("stop_rate", p > alpha, detail, numbers={"p_value": p})


def _absolute(
    name: str, gates: str, suites: Sequence[SuiteEvidence], confidence: float, *, required: bool
) -> list[Rule]:
    """
    Shares that a release has to reach, whatever the incumbent does.
    """
    rules = []
    for suite, threshold in parse_gates(gates):
        rows = [s for s in suites if suite in (s.name, "overall")]
        right = [bool(p.candidate_correct) for s in rows for p in s.pairs if _asked(p)]
        if not right:
            detail = f"{suite}: no answer was asked, so nothing shows {_percent(threshold)}"
            rules.append(Rule(name, False, detail, required=required, suite=suite))
            continue
        bound = lower_bound(sum(right), len(right), confidence)
        needed = least_items(threshold, confidence)
        detail = f"{suite}: {sum(right)} of {len(right)}"
        if len(right) >= needed:
            passed = bound >= threshold - 1e-9  # found by halving: short of it by rounding
            detail += f", surely at least {bound:.1%} (asked {_percent(threshold)})"
        else:
            passed = sum(right) / len(right) >= threshold
            detail += (
                f" against {_percent(threshold)}: by its rate, since fewer than {needed} items "
                f"can never show that"
            )
        numbers: dict[str, float] = {
            "right": sum(right),
            "items": len(right),
            "lower_bound": round(bound, 4),
        }
        rules.append(Rule(name, passed, detail, required=required, suite=suite, numbers=numbers))
    return rules


def _asked(pair: ItemPair) -> bool:
    return pair.candidate_correct is not None


def _percent(share: float) -> str:
    return f"{100 * share:g}%"
