"""
Version numbers: none is given twice, whatever is left of the versions before.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.core.retention import version_name
from finetuned.layout import Layout
from finetuned.registry.numbers import HIGHEST, next_number, remember_highest

ACTIONS = st.lists(st.sampled_from(["make", "trash", "empty", "back up", "lose"]), max_size=12)


def new_layout(root: Path) -> Layout:
    layout = Layout(root)
    shutil.rmtree(root, ignore_errors=True)
    for folder in (layout.versions, layout.backups, layout.trash):
        folder.mkdir(parents=True)
    return layout


def act(layout: Layout, action: str, given_out: list[int]) -> None:
    """
    Do one thing to the folders that the registry does, too.
    """
    if action == "make":
        given_out.append(next_number(layout))
        (layout.versions / version_name(given_out[-1])).mkdir()
    elif action == "back up":
        for folder in layout.versions.iterdir():
            (layout.backups / folder.name).mkdir(exist_ok=True)
    elif action == "trash":
        for number, folder in enumerate(list(layout.versions.iterdir())):
            folder.rename(layout.trash / f"{folder.name}-20261120T0000{number:02d}")
    elif action == "empty":
        remember_highest(layout)
        for folder in list(layout.trash.iterdir()):
            folder.rmdir()
    else:
        remember_highest(layout)
        for folder in [*layout.versions.iterdir(), *layout.backups.iterdir()]:
            folder.rmdir()


@settings(max_examples=25, deadline=None)
@given(ACTIONS)
def test_no_history_of_a_root_gives_a_number_twice(tmp_path_factory, actions: list[str]) -> None:
    """
    Versions, backups and the trash may come and go in any order: numbers only rise.
    """
    layout = new_layout(tmp_path_factory.getbasetemp() / "numbers")
    given_out: list[int] = []
    for action in actions:
        act(layout, action, given_out)

    assert list(range(1, len(given_out) + 1)) == given_out


@pytest.mark.parametrize("place", ["versions", "backups", "trash"])
def test_each_place_alone_keeps_its_number(tmp_path: Path, place: str) -> None:
    """
    The last copy of a version may be in any of the three folders.
    """
    layout = new_layout(tmp_path / "root")
    (getattr(layout, place) / "v0041").mkdir()

    assert 42 == next_number(layout)


@pytest.mark.parametrize(
    "name", ["v7", "v00007", "V0007", "v0007x", "0007", "v-007", ".building-v0007", "v٠٠٠٧"]
)
def test_a_folder_that_is_no_version_has_no_number(tmp_path: Path, name: str) -> None:
    """
    A stranger's folder does not make the numbers jump.
    """
    layout = new_layout(tmp_path / "root")
    (layout.versions / name).mkdir()

    assert 1 == next_number(layout)


def test_the_number_of_a_dangling_current_model_is_taken(tmp_path: Path) -> None:
    """
    Otherwise the next commit would be in use without having been promoted.
    """
    layout = new_layout(tmp_path / "root")
    layout.current_model.symlink_to("models/versions/v0012")

    assert 13 == next_number(layout)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"number": "9"}', '{"number": null}', "\0"])
def test_a_damaged_note_of_the_highest_number_is_as_none(tmp_path: Path, text: str) -> None:
    """
    A commit need not wait until a person repairs the file; folders and the caller know the rest.
    """
    layout = new_layout(tmp_path / "root")
    (layout.models / HIGHEST).write_text(text)
    (layout.versions / "v0003").mkdir()

    assert 4 == next_number(layout)
    assert 9 == next_number(layout, floor=8)


def test_a_link_to_elsewhere_does_not_stop_the_numbers(tmp_path: Path) -> None:
    """
    Promotion reports the link; a commit goes on.
    """
    layout = new_layout(tmp_path / "root")
    layout.current_model.symlink_to(tmp_path / "elsewhere" / "v0099")

    assert 1 == next_number(layout)
