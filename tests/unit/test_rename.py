"""
Renames that never overwrite, and two names swapped, on a real file system.
"""

import pytest

from finetuned.files import rename
from finetuned.files.rename import exchange, rename_noreplace


@pytest.fixture(params=["with the flags", "without them, as NFS"])
def file_system(request, monkeypatch):
    """
    The file system of the tests, and one whose renameat2 knows no flags.
    """
    if request.param != "with the flags":
        monkeypatch.setattr(rename, "_renameat2", lambda *_: False)
    return request.param


def test_a_file_is_renamed(tmp_path, file_system):
    """
    The name moves, the bytes stay.
    """
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("one")
    rename_noreplace(source, target)

    assert [("b", "one")] == [(p.name, p.read_text()) for p in tmp_path.iterdir()]


def test_a_name_that_is_taken_is_not_overwritten(tmp_path, file_system):
    """
    Both files are as they were.
    """
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_text("one")
    target.write_text("two")
    with pytest.raises(FileExistsError):
        rename_noreplace(source, target)

    assert ("one", "two") == (source.read_text(), target.read_text())


def test_a_symbolic_link_is_renamed_itself(tmp_path, file_system):
    """
    What it points to is somebody else's.
    """
    (tmp_path / "a").symlink_to("elsewhere")
    rename_noreplace(tmp_path / "a", tmp_path / "b")

    assert "elsewhere" == str((tmp_path / "b").readlink())


def test_a_missing_source_is_an_error(tmp_path, file_system):
    """
    Somebody took it back; the caller has to know.
    """
    with pytest.raises(FileNotFoundError):
        rename_noreplace(tmp_path / "a", tmp_path / "b")


def test_folders_with_content_change_places(tmp_path):
    """
    The restored version takes the damaged one's name, and no moment has neither.
    """
    good, damaged = tmp_path / "trash" / "v1", tmp_path / "versions" / "v1"
    for folder, text in ((good, "good"), (damaged, "damaged")):
        folder.mkdir(parents=True)
        (folder / "weights").write_text(text)
    exchange(good, damaged)

    assert "good" == (damaged / "weights").read_text()
    assert "damaged" == (good / "weights").read_text()


def test_without_the_exchange_both_folders_are_kept(tmp_path, monkeypatch):
    """
    The damaged one ends beside the place of the good one.
    """
    monkeypatch.setattr(rename, "_renameat2", lambda *_: False)
    good, damaged = tmp_path / "trash" / "v1", tmp_path / "versions" / "v1"
    for folder, text in ((good, "good"), (damaged, "damaged")):
        folder.mkdir(parents=True)
        (folder / "weights").write_text(text)
    exchange(good, damaged)

    assert "good" == (damaged / "weights").read_text()
    assert "damaged" == (tmp_path / "trash" / "v1-damaged" / "weights").read_text()
