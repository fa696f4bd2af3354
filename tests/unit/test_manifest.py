"""
A finished folder says what it holds, and every difference is found and named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.errors import CorruptFile, ModelError
from finetuned.files.manifest import SCHEMA_VERSION, read_manifest, verify_manifest, write_manifest
from finetuned.layout import MANIFEST

contents = st.dictionaries(
    st.from_regex(r"[a-z]{1,3}(/[a-z]{1,3})?\.bin", fullmatch=True), st.binary(max_size=64)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """
    A finished folder of two files.
    """
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"abc")
    (tmp_path / "inner" / "state.json").write_bytes(b"{}")
    write_manifest(tmp_path, {"kind": "version"})
    return tmp_path


@settings(deadline=None, max_examples=30)
@given(contents)
def test_whatever_is_in_a_folder_verifies(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """
    Every file is listed with its size; the manifest itself is not.
    """
    folder = tmp_path_factory.mktemp("folder")
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    written = write_manifest(folder, {"kind": "version"})

    assert written == verify_manifest(folder)
    assert {name: len(data) for name, data in files.items()} == {
        name: entry["bytes"] for name, entry in written["files"].items()
    }


def test_facts_are_beside_the_files(folder: Path) -> None:
    """
    And cannot replace them.
    """
    write_manifest(folder, {"kind": "backup", "files": "mine", "schema_version": 99})
    found = read_manifest(folder)

    assert ("backup", SCHEMA_VERSION) == (found["kind"], found["schema_version"])
    assert {"weights.bin", "inner/state.json"} == found["files"].keys()


def test_the_manifest_of_a_folder_within_is_a_file_like_others(folder: Path) -> None:
    """
    A version holds adapters of other families, each with its manifest, and none may be changed.
    """
    write_manifest(folder / "inner", {"kind": "family"})
    write_manifest(folder, {"kind": "version"})
    assert f"inner/{MANIFEST}" in read_manifest(folder)["files"]

    (folder / "inner" / MANIFEST).write_bytes(b"{}")
    with pytest.raises(CorruptFile, match=f"inner/{MANIFEST}"):
        verify_manifest(folder)


def test_a_folder_without_a_manifest_is_incomplete(tmp_path: Path) -> None:
    """
    It was left by a crash: whatever else is in it does not count.
    """
    (tmp_path / "weights.bin").write_bytes(b"abc")
    with pytest.raises(ModelError, match=f"{tmp_path}: incomplete, no {MANIFEST}"):
        verify_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"files": []}', "\x00"])
def test_a_manifest_that_is_none_is_named(folder: Path, text: str) -> None:
    """
    Also one that is JSON and lists no files.
    """
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ModelError, match=rf"{folder / MANIFEST}: not (JSON|a manifest): "):
        verify_manifest(folder)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("a", 7),
        ("a", None),
        ("a", []),
        ("a", {}),
        ("a", {"bytes": 1}),
        ("a", {"bytes": "1", "sha256": ""}),
        ("a", {"bytes": True, "sha256": ""}),
        ("a", {"bytes": 1, "sha256": 5}),
        ("../a", {"bytes": 1, "sha256": ""}),
        ("inner/../../a", {"bytes": 1, "sha256": ""}),
        ("/etc/passwd", {"bytes": 1, "sha256": ""}),
    ],
)
def test_a_damaged_entry_is_named(folder: Path, name: str, entry: Any) -> None:
    """
    File, entry, and what was expected; nothing outside the folder is read.
    """
    (folder / MANIFEST).write_bytes(orjson.dumps({"files": {name: entry}}))
    with pytest.raises(ModelError) as caught:
        verify_manifest(folder)

    assert str(caught.value).startswith(f"{folder / MANIFEST}: files[{name!r}]: expected ")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda path: path.unlink(), "nothing"),
        (lambda path: path.write_bytes(b"abcd"), "4 bytes"),
        (lambda path: path.write_bytes(b"abd"), "sha256 "),
        (lambda path: (path.unlink(), path.mkdir()), "nothing"),
    ],
    ids=["gone", "longer", "one bit", "a folder"],
)
def test_a_file_that_changed_is_named(folder: Path, change: Any, found: str) -> None:
    """
    Size first, which costs nothing; then every byte.
    """
    change(folder / "weights.bin")
    with pytest.raises(CorruptFile) as caught:
        verify_manifest(folder)

    assert folder / "weights.bin" == caught.value.path
    assert caught.value.found.startswith(found)


def test_a_file_that_is_not_listed_does_not_matter(folder: Path) -> None:
    """
    Notes of a person beside a model are no damage.
    """
    (folder / "notes.txt").write_text("mine")

    assert verify_manifest(folder) == read_manifest(folder)
