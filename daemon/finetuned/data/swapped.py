"""
A suite whose answers stand after the questions of other rows: a control.

Rows whose answers belong to other questions, as after a shifted column of a table, teach a
model how answers look and nothing else. Its loss falls, and no answer becomes right. The
control shows it: the expected answers are then no likelier after their own questions.
Knows rows; does not know models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from finetuned.data.examples import Example, prompt_hash
from finetuned.data.suite import Question, Suite
from finetuned.errors import MalformedExample


def with_swapped_questions(suite: Suite, check: Callable[[Example], object]) -> Suite | None:
    """
    Return the suite with each answer after the question of another row, of which losses are taken.

    A row takes part if it has one answer and another row with a different question and a
    different answer follows; behind the last row the first follows.

    Args:
        suite: Any.
        check: Raises MalformedExample for a row that cannot be rendered, which is left out.

    Returns:
        Questions with the ids of those whose answers they have; None if no row takes part.
    """
    rows = [q for q in suite.questions if q.scored and not q.choices and _has_one_answer(q.example)]
    hashes = [prompt_hash(q.example) for q in rows]
    swapped: list[Question] = []
    for i, row in enumerate(rows):
        for k in chain(range(i + 1, len(rows)), range(i)):
            if hashes[k] != hashes[i] and rows[k].golden != row.golden:
                example = _after(rows[k].example, row.example)
                try:
                    check(example)
                except MalformedExample:
                    break
                swapped.append(replace(row, example=example, generated=False))
                break
    if not swapped:
        return None
    return replace(suite, name=f"{suite.name} swapped", questions=tuple(swapped))


def _has_one_answer(example: Example) -> bool:
    roles = [message["role"] for message in example.messages]
    return example.kind == "conversation" and roles.count("assistant") == 1


def _after(question: Example, answer: Example) -> Example:
    messages = [*question.messages[:-1], answer.messages[-1]]
    return replace(answer, messages=messages, tools=question.tools)
