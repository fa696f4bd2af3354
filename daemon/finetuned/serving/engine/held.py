"""
One held model as requests see it: a model, or one for each family of a version.

A request goes to the family whose prompts are nearest to its last user turn, and is answered
under the version's name. Does not know how models are loaded or scheduled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from finetuned.core.family_choice import FamilyChoice, last_user_text
from finetuned.core.generation import Generate, HeldModel
from finetuned.serving.engine.served import Served


@dataclass(frozen=True, slots=True)
class Held:
    """
    What is loaded under one name.
    """

    source: HeldModel
    own: Served
    """The model; of a version with families the adapter that its own job trained."""
    families: Mapping[str, Served] = field(default_factory=dict)
    """By name; empty if it is one model."""
    choice: FamilyChoice | None = None
    """Tells the family of a request; None if it is one model."""

    def served_for(self, order: Generate) -> Served:
        """
        Return the model that answers *order*.
        """
        if self.choice is None:
            return self.own
        text = last_user_text(order.messages) if order.text is None else order.text
        return self.families[self.choice.choose(text)]
