"""
A set of line numbers keeps what is put into it.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.core.line_set import LineSet

LINES = st.sets(st.integers(0, 300))


@given(LINES, LINES)
def test_a_set_of_lines_is_a_set(a: set[int], b: set[int]) -> None:
    """
    Also after it was written as text and read again.
    """
    found = LineSet.from_text(LineSet.of(a).as_text())

    assert (sorted(a), len(a)) == (found.lines(), len(found))
    assert sorted(a & b) == (found & LineSet.of(b)).lines()
    assert LineSet.of(a) == found


@pytest.mark.parametrize("text", ["no set", "A", "\xe9"])
def test_text_that_is_no_set_is_refused(text: str) -> None:
    """
    A damaged journal or manifest must not pass for other lines.
    """
    with pytest.raises(ValueError, match=r"line|ASCII"):
        LineSet.from_text(text)
