import os

import pytest

from finetuned.errors import CorruptFile, ModelError
from finetuned.files.atomic import publish_dir, remove_tree, write_atomic
from finetuned.files.manifest import verify_manifest, write_manifest


def test_a_crash_before_the_rename_leaves_the_old_content(tmp_path, monkeypatch):
    """
    Whoever reads status/ during a crash sees the previous snapshot, whole.
    """
    path = tmp_path / "status.json"
    write_atomic(path, b"old")

    def power_cut(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", power_cut)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")

    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_others_may_read_what_is_written(tmp_path):
    """
    status/ is for everybody, whatever the mode of a fresh temporary file.
    """
    path = tmp_path / "a"
    write_atomic(path, b"x")

    assert 0o644 == path.stat().st_mode & 0o777


def test_a_folder_appears_whole(tmp_path):
    """
    A reader sees no folder or a finished one, and an existing one is not replaced.
    """
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    publish_dir(tmp_path / "one", tmp_path / "final")
    with pytest.raises(OSError, match="not empty"):
        publish_dir(tmp_path / "two", tmp_path / "final")

    assert "one" == (tmp_path / "final" / "f").read_text()


def test_removing_a_missing_folder_is_no_error(tmp_path):
    """
    A clean-up that was interrupted can be repeated.
    """
    remove_tree(tmp_path / "nothing")


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_any_change_to_a_finished_folder_is_found(tmp_path, harm):
    """
    A bit flip, a truncation and a missing file are named before anything is loaded.
    """
    path = tmp_path / "weights"
    path.write_bytes(b"0123456789")
    write_manifest(tmp_path, {"kind": "test"})
    verify_manifest(tmp_path)
    if harm == "flip":
        path.write_bytes(b"0123456788")
    elif harm == "cut":
        path.write_bytes(b"01234")
    else:
        path.unlink()

    with pytest.raises(CorruptFile, match="weights"):
        verify_manifest(tmp_path)


def test_a_folder_without_its_manifest_does_not_exist(tmp_path):
    """
    The manifest is written last: without it the folder is the rest of a crash.
    """
    (tmp_path / "weights").write_bytes(b"x")

    with pytest.raises(ModelError, match="incomplete"):
        verify_manifest(tmp_path)
