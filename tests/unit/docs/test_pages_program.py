"""
How generated text is put into a page: between its marks, and nowhere else.
"""

from __future__ import annotations

import pytest

from experiments.pages.commands import commands
from experiments.pages.parts import Part, write_part
from experiments.pages.table import table

PAGE = """# Title

by hand <!-- generated: other -->

<!-- generated: x -->
old
<!-- end: x -->

also by hand
"""


@pytest.fixture
def part(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    return Part(str(page), "x", lambda: "new\n")


def test_only_the_text_between_the_marks_is_replaced(part):
    """
    What a person wrote around it is never touched.
    """
    write_part(part)

    assert PAGE.replace("old", "new") == part.path.read_text()
    assert "new\n" == part.current()


def test_writing_twice_changes_nothing(part):
    """
    A second run finds nothing to do.
    """
    write_part(part)
    once = part.path.read_text()
    write_part(part)

    assert once == part.path.read_text()


@pytest.mark.parametrize("text", ["", "<!-- generated: x -->\n", PAGE + PAGE])
def test_a_page_without_both_marks_is_refused(part, text):
    """
    Text would be lost or repeated.
    """
    part.path.write_text(text)

    with pytest.raises(ValueError, match="must hold <!-- generated: x -->"):
        part.current()


def test_a_cell_cannot_break_its_table():
    """
    Bars and line breaks come from docstrings and helps that know nothing of Markdown.
    """
    assert "| a |\n|---|\n| x \\| y z |\n" == table(["a"], [["x | y\n   z"]])


def test_options_of_a_verb_are_not_repeated_under_its_sub_commands():
    """
    --root stands once, where the verb is described.
    """
    text = commands()
    section = text[text.index("### finetuned versions list") :]

    assert "--root" in text[: text.index("### finetuned versions list")]
    assert "--root" not in section[: section.index("### finetuned versions show")]
