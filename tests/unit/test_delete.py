"""
How versions, backups and trash are thrown away, on a real disk: three copies, three paths.
"""

import hashlib
import shutil

import pytest

from finetuned.errors import ModelError, RegistryError
from finetuned.layout import Layout
from finetuned.registry.backup import backup, last_verified_backup, restore
from finetuned.registry.commit import commit_version
from finetuned.registry.current_model import incumbent, promote, rollback
from finetuned.registry.delete import delete, delete_backup
from finetuned.registry.folder import verify_folder
from finetuned.registry.numbers import next_number
from finetuned.registry.pins import pin
from finetuned.registry.prune import prune
from finetuned.registry.trash import empty_trash, list_trash
from finetuned.registry.versions import list_versions, verify_version
from support.candidates import make_candidate


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """
    A tree: v0001 <- v0002 (a full model) <- v0003 (in use, on v0002); v0001 <- v0004, rejected.

    v0005 has no parent. v0001 and v0003 are backed up, and v0005.
    """
    layout = Layout(tmp_path_factory.mktemp("delete") / "root")
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    commit(layout, None)
    commit(layout, "v0001")
    commit(layout, "v0002", base_version="v0002")
    commit(layout, "v0001", verdict="rejected")
    commit(layout, None)
    for name in ("v0001", "v0002", "v0003"):
        promote(layout, name)
    for name in ("v0001", "v0003"):
        backup(layout, name)
    return layout.root


@pytest.fixture
def layout(pristine, tmp_path):
    """
    A copy of the pristine root: made once, since each version waits for the disk.
    """
    shutil.copytree(pristine, tmp_path / "root", symlinks=True)
    return Layout(tmp_path / "root")


def commit(layout, parent, *, verdict="promoted", base_version=None):
    run_id = f"r-{next_number(layout)}"
    folder = layout.runs / run_id
    make_candidate(folder)
    facts = {"run_id": run_id, "parent": parent, "verdict": verdict, "base_version": base_version}
    return commit_version(layout, folder, facts)


def snapshot(folder):
    """
    Every path under *folder* with the hash of its bytes.
    """
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def everything(layout):
    return {
        "versions": snapshot(layout.versions),
        "backups": snapshot(layout.backups),
        "trash": snapshot(layout.trash),
        "current": incumbent(layout),
    }


def damage(path):
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1] + b"?")


COMMANDS = {
    "prune": ("versions", lambda layout: prune(layout, keep_last=0, last_backup=None, apply=True)),
    "delete": ("versions", lambda layout: delete(layout, "v0004", confirm="v0004")),
    "delete --backup": (
        "backups",
        lambda layout: delete_backup(layout, "v0005", confirm="v0005"),
    ),
    "prune --empty-trash": (
        "trash",
        lambda layout: empty_trash(layout, confirm=list_trash(layout), apply=True),
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_takes_from_more_than_one_of_the_three_places(layout, command):
    """
    Version, backup and trash are three copies; one mistake may cost one of them.

    What leaves versions/ or backups/ is in the trash afterwards, byte for byte.
    """
    backup(layout, "v0005")
    shutil.copytree(layout.versions / "v0005", layout.trash / "v0005-20261120T000000Z")
    before = everything(layout)
    source, act = COMMANDS[command]
    act(layout)
    after = everything(layout)

    assert before[source] != after[source]
    assert after[source].items() < before[source].items()
    for place in {"versions", "backups"} - {source}:
        assert before[place] == after[place]
    assert before["current"] == after["current"]
    if source != "trash":
        assert before["trash"].items() <= after["trash"].items()
        gone = before[source].items() - after[source].items()
        thrown = after["trash"].items() - before["trash"].items()
        assert sorted(h for _, h in gone) == sorted(h for _, h in thrown)


def test_a_deleted_version_is_in_the_trash_and_can_be_taken_back(layout):
    """
    Whole, under a name that says when; a rename brings it back.
    """
    path = delete(layout, "v0004", confirm="v0004")

    assert ["v0001", "v0002", "v0003", "v0005"] == list_versions(layout)
    assert [path.name] == list_trash(layout)
    path.rename(layout.versions / "v0004")
    assert "v0004" == verify_version(layout, "v0004").name


@pytest.mark.parametrize("typed", [None, "", "v004", "V0004", "v0004 ", "yes", "v0003"])
def test_only_the_name_typed_in_full_confirms(layout, typed):
    """
    A habit of typing y cannot delete a model.
    """
    before = everything(layout)
    with pytest.raises(RegistryError, match="nothing was deleted"):
        delete(layout, "v0004", confirm=typed)
    with pytest.raises(RegistryError, match="nothing was deleted"):
        delete_backup(layout, "v0001", confirm=typed)

    assert before == everything(layout)


REFUSALS = {
    "incumbent": ("v0003", "in use", lambda layout: None),
    "ancestor": ("v0001", "v0003, which is in use, was built on it", lambda layout: None),
    "base of the incumbent": (
        "v0002",
        "was built on it",
        lambda layout: commit_on_base_only(layout),
    ),
    "parent": ("v0005", "v0006 was built on it", lambda layout: commit(layout, "v0005")),
    "base of another": (
        "v0005",
        "v0006 was built on it",
        lambda layout: commit(layout, None, base_version="v0005"),
    ),
    "pinned": ("v0004", "pinned .the talk.", lambda layout: pin(layout, "v0004", "the talk")),
    "last good backup": ("v0005", "newest that verifies", lambda layout: backup(layout, "v0005")),
    "only good one": ("v0005", "only version left", lambda layout: damage_all_but(layout, "v0005")),
    "lineage unknown": (
        "v0005",
        "manifest of v0004 is damaged",
        lambda layout: damage(layout.versions / "v0004" / "manifest.json"),
    ),
    "link unknown": (
        "v0004",
        "not a symbolic link",
        lambda layout: (layout.current_model.unlink(), layout.current_model.mkdir()),
    ),
    "no such version": ("v0009", "no version v0009", lambda layout: None),
    "no version name": ("../../etc", "no version", lambda layout: None),
}


def commit_on_base_only(layout):
    promote(layout, commit(layout, None, base_version="v0002"))


def damage_all_but(layout, name):
    for other in list_versions(layout):
        if other != name:
            damage(layout.versions / other / "adapter_model.safetensors")


@pytest.mark.parametrize("why", REFUSALS)
def test_what_something_needs_is_not_deleted(layout, why):
    """
    The refusal says what needs it, and nothing is changed by it.
    """
    name, message, prepare = REFUSALS[why]
    prepare(layout)
    places = (layout.versions, layout.backups, layout.trash)
    before = [snapshot(place) for place in places]
    with pytest.raises(RegistryError, match=message):
        delete(layout, name, confirm=name)

    assert before == [snapshot(place) for place in places]


def test_a_damaged_version_that_nobody_needs_can_be_deleted(layout):
    """
    Otherwise it would be in the way of every other deletion.
    """
    (layout.versions / "v0004" / "manifest.json").write_bytes(b"")
    with pytest.raises(ModelError):
        prune(layout, keep_last=0, last_backup=None)
    delete(layout, "v0004", confirm="v0004")

    assert ["v0005"] == prune(layout, keep_last=0, last_backup=None).remove


BACKUP_REFUSALS = {
    "incumbent": ("v0003", "in use", lambda layout: None),
    "ancestor": ("v0001", "was built on it", lambda layout: None),
    "pinned": ("v0005", "pinned", lambda layout: pin(layout, "v0005", "the talk")),
    "version is damaged": (
        "v0005",
        "its last copy",
        lambda layout: damage(layout.versions / "v0005" / "adapter_config.json"),
    ),
    "version is gone": (
        "v0005",
        "its last copy",
        lambda layout: shutil.rmtree(layout.versions / "v0005"),
    ),
    "no such backup": ("v0004", "no backup of v0004", lambda layout: None),
}


@pytest.mark.parametrize("why", BACKUP_REFUSALS)
def test_a_backup_that_may_be_needed_is_not_deleted(layout, why):
    """
    Least of all the last copy.
    """
    backup(layout, "v0005")
    name, message, prepare = BACKUP_REFUSALS[why]
    prepare(layout)
    before = everything(layout)
    with pytest.raises(RegistryError, match=message):
        delete_backup(layout, name, confirm=name)

    assert before == everything(layout)


def test_a_backup_in_the_trash_says_what_it_was(layout):
    """
    It sorts with its version, its number is not used again, and it can be put back.
    """
    backup(layout, "v0005")
    path = delete_backup(layout, "v0005", confirm="v0005")
    delete(layout, "v0004", confirm="v0004")

    assert path.name.startswith("v0005-backup-2")
    assert ["v0004", "v0005"] == [name.partition("-")[0] for name in list_trash(layout)]
    assert "v0003" == last_verified_backup(layout)
    path.rename(layout.backups / "v0005")
    shutil.rmtree(layout.versions / "v0005")
    assert restore(layout, "v0005")


def test_the_number_of_what_only_the_trash_remembers_is_not_used_again(layout):
    """
    Version gone, backup in the trash: v0005 still means one model.
    """
    backup(layout, "v0005")
    delete_backup(layout, "v0005", confirm="v0005")
    shutil.rmtree(layout.versions / "v0005")

    assert "v0006" == commit(layout, None)


def test_a_deletion_can_be_repeated(layout):
    """
    After a crash, or by somebody who is not sure: the answer is where it is.
    """
    first = delete(layout, "v0004", confirm="v0004")
    assert first == delete(layout, "v0004", confirm="v0004")
    backup(layout, "v0005")
    second = delete_backup(layout, "v0005", confirm="v0005")

    assert second == delete_backup(layout, "v0005", confirm="v0005")
    assert ["v0001", "v0002", "v0003", "v0005"] == list_versions(layout)


def test_a_backup_in_the_trash_is_not_taken_for_its_version(layout):
    """
    Asking for a version that was never thrown away must not name its backup.
    """
    backup(layout, "v0005")
    delete_backup(layout, "v0005", confirm="v0005")
    shutil.rmtree(layout.versions / "v0005")

    with pytest.raises(RegistryError, match="no version v0005"):
        delete(layout, "v0005", confirm="v0005")


def test_emptying_the_trash_keeps_the_only_copy_of_a_promoted_version(layout):
    """
    Rejected ones and spare copies go; the rest waits for its name.
    """
    delete(layout, "v0004", confirm="v0004")
    delete(layout, "v0005", confirm="v0005")
    shutil.copytree(layout.versions / "v0001", layout.trash / "v0001-20261120T000000Z")
    (layout.trash / "notes").mkdir()
    before = everything(layout)
    plan = empty_trash(layout)
    assert before == everything(layout)
    assert plan == empty_trash(layout, apply=True)

    kinds = {name.partition("-")[0]: why for name, why in plan.delete.items()}
    assert {"v0004": "rejected by the gate", "v0001": "versions/v0001 is intact"} == kinds
    assert ["notes", "v0005"] == [name.partition("-")[0] for name in list_trash(layout)]
    with pytest.raises(RegistryError, match="not in"):
        empty_trash(layout, confirm=["v0005"], apply=True)
    empty_trash(layout, confirm=list_trash(layout), apply=True)
    assert [] == list(layout.trash.iterdir())
    assert "v0006" == commit(layout, None)


def test_files_and_links_in_the_trash_are_in_nobodys_way(layout):
    """
    They stay until they are named, and go without what they point to.
    """
    (layout.trash / "notes.txt").write_text("why v0004 was bad")
    (layout.trash / "v0001-20261120T000000Z").symlink_to(layout.versions / "v0001")
    (layout.trash / "v0004-20261120T000000Z").write_text("what a repair of the disk left")
    assert ["v0001-20261120T000000Z", "v0004-20261120T000000Z"] == sorted(
        empty_trash(layout).delete
    )
    assert ["notes.txt"] == list(empty_trash(layout).stay)
    for _ in range(2):
        empty_trash(layout, confirm=list_trash(layout), apply=True)

    assert [] == list(layout.trash.iterdir())
    assert "v0001" == verify_version(layout, "v0001").name


@pytest.mark.parametrize("place", ["versions", "backups"])
def test_a_damaged_copy_does_not_make_up_for_one_in_the_trash(layout, place):
    """
    What is called a copy is read first.
    """
    backup(layout, "v0005")
    folder = layout.trash / "v0005-20261120T000000Z"
    shutil.copytree(layout.versions / "v0005", folder)
    damage(layout.versions / "v0005" / "adapter_model.safetensors")
    assert [folder.name] == list(empty_trash(layout).delete)
    damage(layout.backups / "v0005" / "adapter_model.safetensors")
    assert [folder.name] == list(empty_trash(layout).stay)
    shutil.rmtree(layout.models / place / "v0005")
    assert [folder.name] == list(empty_trash(layout, apply=True).stay)

    verify_folder(folder, "v0005")


@pytest.mark.parametrize("why", ["in use", "pinned", "built on"])
def test_a_rejected_version_that_something_needs_stays_in_the_trash(layout, why):
    """
    A person may promote what the gate refused; its verdict says nothing about who needs it.
    """
    folder = layout.trash / "v0004-20261120T000000Z"
    match why:
        case "pinned":
            pin(layout, "v0004", "the talk")
        case "built on":
            commit(layout, None, base_version="v0004")
    (layout.versions / "v0004").rename(folder)
    if why == "in use":
        layout.current_model.unlink()
        layout.current_model.symlink_to("models/versions/v0004")
        with pytest.raises(RegistryError, match="v0004"):
            empty_trash(layout, apply=True)
    else:
        assert [folder.name] == list(empty_trash(layout, apply=True).stay)

    verify_folder(folder, "v0004")


def test_a_rejected_verdict_counts_only_when_its_manifest_is_whole(layout):
    """
    Somebody's edit, or a flipped bit, must not turn promoted into rejected.
    """
    path = delete(layout, "v0005", confirm="v0005")
    manifest = path / "manifest.json"
    text = manifest.read_text()
    manifest.unlink()
    manifest.write_text(text.replace('"promoted"', '"rejected"'))

    assert [path.name] == list(empty_trash(layout, apply=True).stay)


def test_pruning_keeps_the_full_model_under_an_adapter(layout):
    """
    Though the one in use was rolled back to, past every parent that leads there.
    """
    promote(layout, commit(layout, None, base_version="v0002"))
    plan = prune(layout, keep_last=0, last_backup=None, apply=True)

    assert {"v0001", "v0002", "v0006"} == plan.keep.keys()
    assert ["v0001", "v0002", "v0006"] == list_versions(layout)


def test_after_a_roll_back_to_the_base_the_last_good_version_still_stays(layout):
    """
    Nothing is in use, but somebody will want it back.
    """
    rollback(layout, to_base=True)
    for name in ("v0005", "v0004"):
        delete(layout, name, confirm=name)
    with pytest.raises(RegistryError, match="newest that verifies"):
        delete(layout, "v0003", confirm="v0003")

    assert ["v0001", "v0002", "v0003"] == list_versions(layout)
