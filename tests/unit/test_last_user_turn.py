"""
What a user wrote, found in the tokens of a row.
"""

from __future__ import annotations

import numpy as np
import pytest

from experiments.workers import MICRO
from finetuned.data.examples import Example
from finetuned.data.last_user_turn import LastUserTurn
from finetuned.data.reader import to_example
from finetuned.data.render import Renderer


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer.load(MICRO, max_length=512)


def said(renderer: Renderer, example: Example) -> list[str]:
    turns = LastUserTurn(renderer)
    return [
        turns.of((np.array(s.input_ids), np.array(s.supervised))) for s in renderer.render(example)
    ]


def test_it_is_the_text_that_a_question_has(renderer: Renderer) -> None:
    """
    Without what the template puts around it, a system prompt, or turns before.
    """
    asked = "create the user jdoe  with home /home/jdoe\nand no shell"
    row = [("system", "Answer in JSON."), ("user", "hello"), ("assistant", "hi")]
    row += [("user", asked), ("assistant", "{}")]
    messages = [{"role": role, "content": text} for role, text in row]

    assert asked == said(renderer, to_example({"prompt": asked, "completion": "{}"}))[-1]
    assert asked == said(renderer, to_example({"messages": messages}))[-1]


def test_of_a_plain_text_it_is_all(renderer: Renderer) -> None:
    """
    Nothing is asked in it, and its family is told by what it says.
    """
    assert (
        "bind listens on port 53"
        in said(renderer, to_example({"text": "bind listens on port 53"}))[0]
    )
