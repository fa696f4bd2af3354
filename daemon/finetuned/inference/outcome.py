"""
What a model did with one question, and how that is marked.

Pure; does not know models or suites.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from finetuned.core.answer import STRIP, final_answer, is_refused, matches
from finetuned.core.answer_format import FREE
from finetuned.core.confidence.likelihood import Likelihood
from finetuned.core.scoring.grade import grade, grade_choice
from finetuned.core.scoring.scorer import CHOICE, Grade
from finetuned.data.suite import Question


@dataclass(frozen=True, slots=True)
class Raw:
    """
    What a model did with one question, before it is marked.
    """

    text: str | None
    """As generated, without the stop token; None if nothing is to be generated."""
    loss_sum: float
    """Summed over the supervised tokens of the row, in nats."""
    n_tokens: int
    """Number of those tokens; 0 if the row holds no answer."""
    golden_tokens: int
    """Supervised tokens of the expected last turn."""
    answer_tokens: int
    """Tokens of the generated answer."""
    stopped: bool
    """Whether the answer ended in a stop token."""
    timed_out: bool
    """Whether a time limit cut the answer."""
    seconds: float
    """Its share of the wall time of the questions asked together with it."""
    choices: tuple[tuple[float, int], ...] = ()
    """Summed log-likelihood in nats and number of tokens of each choice."""
    n_refused: int = 0
    """
    Tokens that the model preferred and the answer's format refused. 0: the model would have
    said the same freely.
    """
    likelihood: Likelihood | None = None
    """Of the generated tokens; None if there are none, or if they were not looked at."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What a model did with one question, and its mark.
    """

    question: Question
    raw: Raw
    answer: str | None
    """
    The final answer without reasoning, as far as it came; None if nothing is to be generated.
    """
    grade: Grade | None
    """None if nothing is to be answered, or a time limit cut the answer."""
    matches: bool | None
    """Whether the answer ended by itself and equals the expected one exactly; None like grade."""

    @property
    def correct(self) -> bool | None:
        """The scorer's verdict; None if nothing was asked, or not in time."""
        return None if self.grade is None else self.grade.correct

    @property
    def invented(self) -> bool:
        """Whether a value that the answer's format says is copied does not stand in the prompt."""
        return self.grade is not None and self.grade.detail.get("copied") is False

    @property
    def loss_sum(self) -> float:
        """Summed over supervised tokens, in nats."""
        return self.raw.loss_sum

    @property
    def n_tokens(self) -> int:
        """Number of those tokens."""
        return self.raw.n_tokens

    @property
    def golden_tokens(self) -> int:
        """Supervised tokens of the expected last turn."""
        return self.raw.golden_tokens

    @property
    def answer_tokens(self) -> int:
        """Tokens of the generated answer."""
        return self.raw.answer_tokens

    @property
    def stopped(self) -> bool:
        """Whether the answer ended in a stop token."""
        return self.raw.stopped

    @property
    def timed_out(self) -> bool:
        """Whether a time limit cut the answer."""
        return self.raw.timed_out


def mark(question: Question, raw: Raw, reasoning: str = STRIP) -> Outcome:
    """
    Mark *raw* as an answer to *question*.

    What a time limit cut has no mark: how fast a machine is says nothing of the model.

    Args:
        question: As it was asked.
        raw: What the model did.
        reasoning: How a reasoning block counts; see core.answer.
    """
    if question.scorer.name == CHOICE:
        return _mark_choice(question, raw)
    golden = question.golden
    if raw.text is None or golden is None:
        return Outcome(question, raw, None, None, None)
    answer = final_answer(raw.text, reasoning)
    if raw.timed_out:
        return Outcome(question, raw, answer, None, None)
    expected = final_answer(golden) if question.expected is None else question.expected
    found = grade(question.scorer, answer, expected)
    if is_refused(raw.text, reasoning):
        found = Grade(False, 0.0, {**found.detail, "refused": "it reasons"})
    found = replace(found, detail={**found.detail, **_of_format(question, raw, answer)})
    return Outcome(question, raw, answer, found, raw.stopped and matches(raw.text, golden))


def _of_format(question: Question, raw: Raw, answer: str) -> dict[str, Any]:
    """
    Return what is to be said of an answer whose question has a format, for its grade's detail.

    ``format``: its name. ``held``: whether the answer was held to it. ``changed``: whether the
    model would have said something else. ``fits``: whether the answer is of that format.
    ``copied`` and ``invented``: whether all values that the format marks stand in the prompt,
    and those that do not; left out if it marks none, or if the answer does not fit.
    """
    wanted = question.answer_format
    if wanted is None or wanted is FREE:
        return {}
    found: dict[str, Any] = {
        "format": wanted.name,
        "held": question.is_held,
        "changed": raw.n_refused > 0,
        "fits": wanted.fits(answer),
    }
    check = wanted.check_copied(answer, question.told) if found["fits"] else None
    if check is not None:
        found |= {"copied": check.copied, "invented": check.listed()}
    return found


def _mark_choice(question: Question, raw: Raw) -> Outcome:
    """Mark the likelihoods of the choices; a question that was not reached has no mark."""
    if not raw.choices:
        return Outcome(question, raw, None, None, None)
    per_token = question.scorer.options.get("per_token", False)
    found = grade_choice(
        [nll for nll, _ in raw.choices],
        [n if per_token else 1 for _, n in raw.choices],
        int(question.expected),
    )
    chosen = question.choices[found.detail["chosen"]]
    return Outcome(question, raw, chosen, found, found.correct)
