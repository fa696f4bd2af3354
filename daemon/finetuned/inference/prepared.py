"""
A question as token ids: its prompt, its expected answer, and how long an answer may get.

Pure; does not know models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from finetuned.core.scoring.scorer import CHOICE
from finetuned.data.suite import Question
from finetuned.data.training_sequence import TrainingSequence
from finetuned.inference.pending import Continuation

SPARE_TOKENS: Final = 16
SPARE_AT_MOST: Final = 128
"""
How much longer than the expected answer a generated one may get: by as many tokens again,
at most 128, and 16 more. A longer answer is wrong already.
"""

_BOUNDED: Final = ("exact", "normalised", "json")
"""Scorers for which an answer much longer than the expected one is wrong."""


@dataclass(frozen=True, slots=True)
class PreparedQuestion:
    """
    One question, rendered.
    """

    question: Question
    prompt: Sequence[int]
    """Token ids of the prompt; empty for a text, which is only scored."""
    sequences: Sequence[TrainingSequence]
    """The row as it would be trained on; the last one ends with the expected answer."""

    @property
    def is_choice(self) -> bool:
        """Whether the likelihoods of given choices are compared."""
        return self.question.scorer.name == CHOICE

    @property
    def is_generated(self) -> bool:
        """Whether an answer is to be generated."""
        return bool(self.prompt) and not self.is_choice and self.question.generated

    @property
    def golden_tokens(self) -> int:
        """Supervised tokens of the last sequence."""
        return sum(self.sequences[-1].supervised)

    def continuation(self) -> Continuation:
        """
        Return the expected answer if its loss can be taken while an answer is generated.

        Returns:
            What follows the prompt in the last sequence. Empty if nothing is generated or
            scored, if the sequence does not begin with the prompt, or if tokens of the
            prompt carry loss as well.
        """
        n, last = len(self.prompt), self.sequences[-1]
        if not (self.is_generated and self.question.scored):
            return []
        if list(last.input_ids[:n]) != list(self.prompt) or any(last.supervised[:n]):
            return []
        return list(zip(last.input_ids[n:], last.supervised[n:], strict=True))

    def other_sequences(self) -> Sequence[TrainingSequence]:
        """
        Return the sequences whose loss needs a pass of its own.
        """
        if not self.question.scored:
            return []
        return self.sequences[:-1] if self.continuation() else self.sequences

    def longest_answer(self, max_new_tokens: int) -> int:
        """
        Return how many tokens an answer may have.

        Args:
            max_new_tokens: The general limit, >= 1. An expected answer that is longer
                raises it, so that a right answer is never cut.
        """
        return longest_answer(self.question, self.golden_tokens, max_new_tokens)


def longest_answer(question: Question, golden_tokens: int, max_new_tokens: int) -> int:
    """
    Return how many tokens an answer to *question* may have.

    Args:
        question: Any.
        golden_tokens: Of its expected answer.
        max_new_tokens: As PreparedQuestion.longest_answer.
    """
    if not question.scored or question.scorer.name not in _BOUNDED:
        return max_new_tokens
    longest = max(max_new_tokens, golden_tokens + SPARE_TOKENS)
    return min(longest, golden_tokens + min(golden_tokens, SPARE_AT_MOST) + SPARE_TOKENS)
