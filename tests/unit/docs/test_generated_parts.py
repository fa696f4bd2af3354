"""
The generated parts of README.md and docs/ are what the code says today.
"""

from __future__ import annotations

import pytest

from experiments.pages.parts import PARTS
from experiments.pages.tree import CHECKOUT, FOLDERS, description, floors


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.page}:{part.name}")
def test_a_generated_part_agrees_with_the_code(part):
    """
    A file, key, verb or field that is added or removed changes the page in the same commit.
    """
    assert part.expected() == part.current(), "run: python -m experiments.pages --write"


def test_a_python_file_is_described_by_the_first_sentence_of_its_docstring(tmp_path):
    """
    The description and the docstring cannot differ, and the rest of it stays in the file.
    """
    path = tmp_path / "x.py"
    path.write_text('"""\nRead a file\nof rows. Knows JSON.\n\nMore.\n"""\n')

    assert "Read a file of rows." == description(path)


@pytest.mark.parametrize("name", ["x.py", "x.unknown"])
def test_a_file_without_a_description_is_an_error_that_says_what_to_do(tmp_path, name):
    """
    Nobody finds a file in the tree with an empty line beside it.
    """
    (tmp_path / name).write_text("")

    with pytest.raises(ValueError, match="has no description: begin it with a docstring"):
        description(tmp_path / name)


def test_every_described_folder_exists():
    """
    A folder that is moved takes its description with it.
    """
    assert [] == [name for name in FOLDERS if not (CHECKOUT / name).is_dir()]


def test_every_room_has_a_floor():
    """
    The floors are those of the architecture test, read from it.
    """
    rooms = {
        p.name for p in (CHECKOUT / "daemon/finetuned").iterdir() if (p / "__init__.py").is_file()
    }

    assert rooms <= floors().keys()
