"""
What the gate returns: the rules that were looked at, and the outcome they add up to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from finetuned.core.promotion import VersionVerdict

FORGETTING: Final = (
    *("old_accuracy", "old_loss", "old_together", "canaries_worse"),
    "invented_rise",
)
"""Rules that fail when a candidate forgot something: a smaller share of it may pass them."""

CANARY_RULES: Final = ("canaries", "canaries_worse")
"""Rules that fail when a canary is lost."""


class RuleKind(StrEnum):
    """
    What it means that a rule fails.
    """

    GAIN = "gain"  # not shown, or not asked: the candidate is not promoted, and may be held
    HARM = "harm"  # shown to be worse, or damaged: the candidate is rejected
    ADVICE = "advice"  # nothing: it is written down


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One condition, what was seen, and whether it held.
    """

    name: str
    passed: bool
    detail: str
    """What was seen, as a phrase for reports and logs."""
    kind: RuleKind
    suite: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    against: str = "release"
    """The model that the candidate is compared with: release or head."""

    @property
    def required(self) -> bool:
        """Whether the rule takes part in the outcome."""
        return self.kind is not RuleKind.ADVICE


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The outcome: rejected if a rule of harm failed, else held if one of gain did, else promoted.
    """

    rules: tuple[Rule, ...]

    @property
    def failed(self) -> list[Rule]:
        """The rules that decided against it: those of harm, then those of gain."""
        return [*self._failed(RuleKind.HARM), *self._failed(RuleKind.GAIN)]

    @property
    def outcome(self) -> VersionVerdict:
        """Held if nothing was looked at at all: that shows neither gain nor harm."""
        if self._failed(RuleKind.HARM):
            return VersionVerdict.REJECTED
        if self._failed(RuleKind.GAIN) or not self.rules:
            return VersionVerdict.HELD
        return VersionVerdict.PROMOTED

    @property
    def promote(self) -> bool:
        return self.outcome is VersionVerdict.PROMOTED

    @property
    def forgot(self) -> bool:
        """
        Whether it is rejected by forgetting rules alone, and learnt what is worth keeping.

        Of a file whose answers do not follow from their questions no share is worth keeping.
        """
        harm = self._failed(RuleKind.HARM)
        follows = all(r.passed for r in self.rules if r.name == "answers_follow" and r.required)
        return bool(harm) and all(rule.name in FORGETTING for rule in harm) and follows

    @property
    def lost_canary(self) -> bool:
        """Whether a canary that the release passes now fails."""
        return any(rule.name == "canaries" and not rule.passed for rule in self.rules)

    @property
    def only_canaries_lost(self) -> bool:
        """Whether it shows a gain and is held for a lost canary alone, as far as it was asked."""
        held_by = {rule.name for rule in self._failed(RuleKind.GAIN)} - {"asked_whole"}
        return self.outcome is VersionVerdict.HELD and held_by == {"canaries"}

    @property
    def reason(self) -> str:
        """The first rule that decided against it and how many more, or what shows the gain."""
        if self.failed:
            first = self.failed[0]
            others = len(self.failed) - 1
            more = f" (and {others} more {'rule' if others == 1 else 'rules'})" if others else ""
            return f"{first.name}: {first.detail}{more}"
        shown = [rule for rule in self.rules if rule.name in ("gain", "merge")]
        return "; ".join(f"{rule.name}: {rule.detail}" for rule in shown)

    def _failed(self, kind: RuleKind) -> list[Rule]:
        return [rule for rule in self.rules if rule.kind is kind and not rule.passed]


def percent(share: float) -> str:
    """
    Return a share of 0 to 1 as a rule's detail shows it, such as ``97.5%``.
    """
    return f"{100 * share:g}%"
