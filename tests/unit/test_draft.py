"""
Drafts are what followed the same tokens before.
"""

from __future__ import annotations

import pytest

from finetuned.serving.engine.draft import Drafter


@pytest.mark.parametrize(
    ("prompt", "answer", "most", "expected"),
    [
        ([1, 2, 3, 4, 9], [1, 2], 3, [3, 4, 9]),
        ([1, 2, 3, 4, 9], [1, 2], 2, [3, 4]),
        ([1, 2, 3], [8], 3, []),
        ([1, 2, 3], [1], 0, []),
        ([5, 1, 7, 6, 1, 8], [6, 1], 1, [8]),
    ],
)
def test_a_draft_is_copied_from_the_prompt(prompt, answer, most, expected):
    """
    From after the longest end of the answer that the prompt has.
    """
    assert expected == Drafter().draft(prompt, answer, most)


def test_a_draft_is_copied_from_an_earlier_answer():
    """
    Also the first tokens, which follow the end of every prompt.
    """
    drafter = Drafter()
    drafter.learn([50, 51, 60, 61, 62], [1, 2, 3, 4, 5])

    assert [1, 2, 3, 4, 5] == drafter.draft([70, 60, 61, 62], [], 9)
    assert [4, 5] == drafter.draft([70], [1, 2, 3], 9)
