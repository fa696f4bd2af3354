"""
Which version is good when the one in use is not, by files on a real disk.
"""

import shutil

import orjson
import pytest

from finetuned.errors import CorruptFile, ModelError, RegistryError
from finetuned.files.manifest import read_manifest, write_manifest
from finetuned.layout import Layout
from finetuned.registry.backup import backup
from finetuned.registry.commit import commit_version
from finetuned.registry.current_model import rollback
from finetuned.registry.fallback import last_good, repair, usable
from finetuned.registry.folder import FACTS_SHA256, SEALED
from finetuned.registry.versions import list_versions, read_version, verify_version
from support.candidates import make_candidate


@pytest.fixture
def layout(tmp_path):
    """
    v0001 <- v0002, a full model <- v0003 and v0004, adapters on v0002 <- each other.
    """
    layout = Layout(tmp_path / "root")
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    commit(layout, None)
    commit(layout, "v0001")
    commit(layout, "v0002", base_version="v0002")
    commit(layout, "v0003", base_version="v0002")
    return layout


def commit(layout, parent, **facts):
    run_id = f"r-{len(list_versions(layout)) + 1}"
    folder = layout.runs / run_id
    make_candidate(folder)
    return commit_version(layout, folder, {"run_id": run_id, "parent": parent, **facts})


def damage(folder, name="adapter_model.safetensors"):
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    (folder / name).write_bytes(data[:-2] + b"??")


def test_the_nearest_good_ancestor_is_taken(layout):
    """
    Not the newest version, nor the oldest: the first one down the line of parents.
    """
    assert "v0003" == last_good(layout, "v0004")
    damage(layout.versions / "v0003")
    assert "v0002" == last_good(layout, "v0004")
    damage(layout.versions / "v0002")
    assert "v0001" == last_good(layout, "v0004")
    damage(layout.versions / "v0001")
    assert last_good(layout, "v0004") is None
    assert last_good(layout, "v0001") is None


def test_an_ancestor_with_a_good_backup_is_good(layout):
    """
    It can be restored, so nothing further back is needed.
    """
    backup(layout, "v0003")
    shutil.rmtree(layout.versions / "v0003")

    assert "v0003" == last_good(layout, "v0004")


def test_an_adapter_is_no_better_than_what_it_sits_on(layout):
    """
    Intact itself, it cannot be loaded without its base version.
    """
    backup(layout, "v0002")
    damage(layout.versions / "v0002")
    assert usable(layout, "v0003")
    damage(layout.backups / "v0002")
    assert not usable(layout, "v0003")

    assert "v0001" == last_good(layout, "v0004")


def test_mending_takes_in_what_a_version_sits_on(layout):
    """
    Both are rebuilt from their backups, or the error says which could not be.
    """
    for name in ("v0002", "v0003"):
        backup(layout, name)
        damage(layout.versions / name)
    repair(layout, "v0003")
    for name in ("v0002", "v0003"):
        verify_version(layout, name)
    for folder in (layout.versions, layout.backups):
        damage(folder / "v0002")

    with pytest.raises(ModelError, match="v0002"):
        repair(layout, "v0003")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"files": 3}', None])
def test_where_no_manifest_can_be_trusted_the_callers_records_are_asked(layout, content):
    """
    The lineage of a version outlives both copies of it.
    """
    manifest = layout.versions / "v0004" / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_bytes(content)

    assert last_good(layout, "v0004") is None
    assert "v0003" == last_good(layout, "v0004", {"v0004": "v0003"})
    assert last_good(layout, "v0004", {"v0004": "../../etc"}) is None
    assert last_good(layout, "v0004", {"v0004": "v0004"}) is None


def test_a_manifest_of_another_version_is_not_believed(layout):
    """
    Its parent is somebody else's parent.
    """
    manifest = layout.versions / "v0004" / "manifest.json"
    manifest.unlink()
    shutil.copyfile(layout.versions / "v0002" / "manifest.json", manifest)

    assert "v0003" == last_good(layout, "v0004", {"v0004": "v0003"})
    with pytest.raises(ModelError, match="says it is 'v0002'"):
        read_version(layout, "v0004")


def test_a_changed_fact_in_a_manifest_is_damage(layout):
    """
    A parent that became another would roll somebody back to the wrong model.
    """
    path = layout.versions / "v0004" / "manifest.json"
    text = path.read_text()
    path.unlink()
    path.write_text(text.replace('"parent": "v0003"', '"parent": "v0001"'))

    with pytest.raises(CorruptFile, match="facts"):
        verify_version(layout, "v0004")
    layout.current_model.symlink_to("models/versions/v0004")
    with pytest.raises(RegistryError, match="what was in use before it is not known"):
        rollback(layout)


def test_a_version_of_before_the_seal_is_still_good(layout):
    """
    Roots are older than programs.
    """
    folder = layout.versions / "v0004"
    facts = read_manifest(folder)
    old = {k: v for k, v in facts.items() if k not in (FACTS_SHA256, SEALED, "files")}
    write_manifest(folder, old)

    assert "v0003" == verify_version(layout, "v0004").manifest.parent


@pytest.mark.parametrize("entry", [None, 3, {}, {"bytes": "3", "sha256": ""}, {"bytes": 3}])
def test_a_table_of_files_that_is_none_is_damage_and_no_crash(layout, entry):
    """
    A manifest is a file like any other, and files rot.
    """
    path = layout.versions / "v0004" / "manifest.json"
    manifest = orjson.loads(path.read_bytes())
    manifest["files"]["adapter_config.json"] = entry
    path.unlink()
    path.write_bytes(orjson.dumps(manifest))

    with pytest.raises(ModelError, match="table of files"):
        verify_version(layout, "v0004")


def test_a_base_version_has_to_be_a_versions_name(layout):
    """
    It becomes a path.
    """
    with pytest.raises(RegistryError, match="base_version"):
        commit(layout, None, base_version="../base/micro")


def test_a_disk_that_cannot_read_a_file_is_damage(layout):
    """
    EIO is what rot looks like on most disks; waiting does not mend it.
    """
    folder = layout.runs / "r-empty"
    make_candidate(folder, text="")
    name = commit_version(layout, folder, {"run_id": "r-empty", "parent": "v0001"})
    weights = layout.versions / name / "adapter_model.safetensors"
    weights.unlink()
    weights.symlink_to("/proc/self/mem")  # of size 0, and not to be read at its beginning

    with pytest.raises(ModelError, match="cannot read"):
        verify_version(layout, name)
    assert "v0001" == last_good(layout, name)
