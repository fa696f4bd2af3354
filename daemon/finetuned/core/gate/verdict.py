"""
What the gate returns: the rules that were looked at, and the outcome they add up to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

FORGETTING: Final = ("old_accuracy", "old_loss", "old_together", "canaries")
"""Rules that fail when a candidate forgot something: a smaller share of it may pass them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One condition, what was seen, and whether it held.
    """

    name: str
    passed: bool
    detail: str
    """What was seen, as a phrase for reports and logs."""
    required: bool = True
    """False if the rule is advice, which rejects nothing."""
    suite: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The outcome: the candidate is promoted only if every required rule passed.
    """

    rules: tuple[Rule, ...]

    @property
    def failed(self) -> list[Rule]:
        """The required rules that did not hold, in the order in which they were checked."""
        return [rule for rule in self.rules if rule.required and not rule.passed]

    @property
    def promote(self) -> bool:
        return bool(self.rules) and not self.failed

    @property
    def forgot(self) -> bool:
        """Whether every failed rule is a forgetting rule, and at least one failed."""
        return bool(self.failed) and all(rule.name in FORGETTING for rule in self.failed)

    @property
    def reason(self) -> str:
        """The first failed rule and how many more there are, or the rule that shows the gain."""
        if self.failed:
            first = self.failed[0]
            more = f" (and {len(self.failed) - 1} more)" if len(self.failed) > 1 else ""
            return f"{first.name}: {first.detail}{more}"
        shown = [rule for rule in self.rules if rule.name in ("gain", "merge")]
        return "; ".join(f"{rule.name}: {rule.detail}" for rule in shown)


def percent(share: float) -> str:
    """
    Return a share of 0 to 1 as a rule's detail shows it, such as ``97.5%``.
    """
    return f"{100 * share:g}%"
