"""
One assistant turn as text: what serving shows the model, and what the model must write.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """
    One assistant turn as text.
    """

    prompt: str
    """Everything that serving shows the model before it answers."""
    answer: str
    """The text the model must write, its stop token included."""
