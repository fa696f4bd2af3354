"""
families.json: what it says, and that nothing else is taken for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from finetuned.core.family_choice import BINS, profile
from finetuned.errors import ModelError
from finetuned.files.family_list import (
    OWN,
    Family,
    FamilyFile,
    choice_of,
    folder_of,
    own_datasets,
    read_families,
    several_adapters,
    write_families,
)
from finetuned.layout import FAMILY_LIST

SUMS = Family("aa", "families/aa", (FamilyFile("aa", "sums.jsonl"),), profile(["1 plus 2"]))
NAMES = Family("bb", OWN, (FamilyFile("bb", ""), FamilyFile("cc", "n.jsonl")), profile(["add ann"]))


def test_what_is_written_is_read_and_chooses_alike(tmp_path: Path) -> None:
    """
    The version's own family is first; sums are kept to five decimals, which changes no choice.
    """
    write_families(tmp_path, [SUMS, NAMES])
    found = read_families(tmp_path)

    assert ["bb", "aa"] == [family.name for family in found]
    assert [NAMES.files, SUMS.files] == [family.files for family in found]
    assert [tmp_path, tmp_path / folder_of("aa")] == [family.path(tmp_path) for family in found]
    for text in ("add bob", "3 plus 4", "plus ann"):
        assert choice_of([SUMS, NAMES]).choose(text) == choice_of(found).choose(text)


def test_only_the_own_family_is_the_version_s_own_adapter(tmp_path: Path) -> None:
    """
    Asked of it, the rows of another family would be answered wrong and taken for mistakes.
    """
    write_families(tmp_path, [SUMS, NAMES])
    assert {"bb", "cc"} == own_datasets(tmp_path)
    assert several_adapters("v0002", tmp_path).startswith("v0002 has an adapter for each of 2 ")

    write_families(tmp_path, [NAMES])
    assert own_datasets(tmp_path) is None
    assert "" == several_adapters("v0002", tmp_path)


def test_a_version_without_a_list_has_one_adapter(tmp_path: Path) -> None:
    """
    Every version before there were families; and the base alone.
    """
    assert () == read_families(tmp_path) == read_families(None)


def test_two_families_cannot_both_be_the_versions_own(tmp_path: Path) -> None:
    """
    Nothing is written then.
    """
    with pytest.raises(ValueError, match="not exactly one"):
        write_families(tmp_path, [SUMS])
    assert not (tmp_path / FAMILY_LIST).exists()


def changed(path: list[str | int], value: Any) -> Callable[[Any], Any]:
    def change(document: Any) -> Any:
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return document

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda document: [],
        lambda document: None,
        lambda document: {},
        changed(["schema_version"], 2),
        changed(["families"], 7),
        changed(["families"], []),
        changed(["families", 0], "bb"),
        changed(["families", 1, "name"], "bb"),
        changed(["families", 1, "name"], ".."),
        changed(["families", 1, "name"], "a/b"),
        changed(["families", 1, "name"], "a" * 65),
        changed(["families", 1, "name"], 5),
        changed(["families", 1, "folder"], OWN),
        changed(["families", 1, "folder"], "/etc"),
        changed(["families", 1, "folder"], "families/../../v0001"),
        changed(["families", 1, "folder"], None),
        changed(["families", 1, "files"], [{"dataset_id": 5, "name": ""}]),
        changed(["families", 1, "files"], [{}]),
        changed(["families", 1, "profile"], None),
        changed(["families", 1, "profile", "prompts"], -1),
        changed(["families", 1, "profile", "prompts"], True),
        changed(["families", 1, "profile", "prompts"], 0),
        changed(["families", 1, "profile", "bins"], [[BINS, 1, 0.5]]),
        changed(["families", 1, "profile", "bins"], [[-1, 1, 0.5]]),
        changed(["families", 1, "profile", "bins"], [[1, 1, 0.5], [1, 1, 0.5]]),
        changed(["families", 1, "profile", "bins"], [[1, 2, 0.5]]),
        changed(["families", 1, "profile", "bins"], [[1, 1, -0.5]]),
        changed(["families", 1, "profile", "bins"], [[1, 1, "1"]]),
        changed(["families", 1, "profile", "bins"], [[1, 1]]),
        changed(["families", 1, "profile", "bins"], {"1": 1}),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    """
    With the file's name and what to do; no path of it is ever looked at.
    """
    write_families(tmp_path, [SUMS, NAMES])
    path = tmp_path / FAMILY_LIST
    path.write_bytes(orjson.dumps(change(orjson.loads(path.read_bytes()))))
    with pytest.raises(ModelError) as caught:
        read_families(tmp_path)

    assert str(caught.value).startswith(f"{path}: no list of families (")
    assert "finetuned versions restore" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"NaN", b"[" * 2000])
def test_a_list_that_is_no_json_is_refused(tmp_path: Path, data: bytes) -> None:
    """
    Damage is an error, and never a version with one adapter.
    """
    (tmp_path / FAMILY_LIST).write_bytes(data)
    with pytest.raises(ModelError, match="no list of families"):
        read_families(tmp_path)
