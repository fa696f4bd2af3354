"""
The rows that one wrong answer becomes.

    attempt   the question, the wrong answer (not trained), a hint -> the right answer
    hint      the question with the hint alone -> the right answer
    plain     the question as it is -> the right answer

Each says in ``metadata.correction`` of which row it was made, so that it stays on that row's side
of every split. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from finetuned.core.mistakes import Mistake
from finetuned.data.examples import Example, prompt_hash
from finetuned.data.messages import Message
from finetuned.data.reader import read_row
from finetuned.data.row_family import CORRECTION, family_of
from finetuned.errors import MalformedExample
from finetuned.sources.augment.children import as_row

ATTEMPT: Final = "attempt"
HINT: Final = "hint"
PLAIN: Final = "plain"
FORMS: Final = (ATTEMPT, HINT, PLAIN)

NO_ANSWER: Final = "empty_answer"
"""Why an empty answer is no attempt."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """
    A row with the wrong answer that a model gave to it.
    """

    example: Example
    """One question and one answer that is trained."""
    answer: str
    """The model's."""
    mistakes: tuple[Mistake, ...]
    """What is wrong with it; not empty."""
    source: str
    """What people call the file that the row is in."""
    line: int
    """Its line there, from 1."""
    model: str
    """What people call the model."""


def hint_of(mistakes: tuple[Mistake, ...]) -> str:
    """
    Return what is said of a wrong answer: its codes.
    """
    return f"Hint: {', '.join(map(str, mistakes))}"


def rows_of(wrong: Wrong) -> list[tuple[str, Example | str]]:
    """
    Return each form with its row, or with the code that says why there is no such row.
    """
    return [(form, _made(wrong, form)) for form in FORMS]


def _made(wrong: Wrong, form: str) -> Example | str:
    if form == ATTEMPT and not wrong.answer.strip():
        return NO_ANSWER
    example = wrong.example
    before, question, right = example.messages[:-2], example.messages[-2], example.messages[-1]
    hint = hint_of(wrong.mistakes)
    untrained = example.untrained
    middle: list[Message]
    if form == ATTEMPT:
        attempt: Message = {"role": "assistant", "content": wrong.answer}
        middle = [question, attempt, {"role": "user", "content": f"That is wrong. {hint}"}]
        untrained = (*untrained, len(before) + 1)
    elif form == HINT:
        middle = [{**question, "content": f"{question['content']}\n\n{hint}"}]
    else:
        middle = [question]
    made = replace(
        example,
        format="messages",
        messages=[*before, *middle, right],
        untrained=untrained,
        metadata={**example.metadata, CORRECTION: _origin(wrong, form)},
    )
    try:
        again = read_row(as_row(made)).example
    except MalformedExample as error:
        return error.code
    same = again.messages == made.messages and again.untrained == made.untrained
    return made if same else "not_read_alike"


def _origin(wrong: Wrong, form: str) -> dict[str, object]:
    return {
        "family": f"{family_of(wrong.example):016x}",
        "of": f"{prompt_hash(wrong.example):016x}",
        "form": form,
        "codes": [str(mistake) for mistake in wrong.mistakes],
        "model": wrong.model,
        "source": wrong.source,
        "line": wrong.line,
    }
