"""
Versions on a real disk: commit, promote, roll back, back up, restore, prune.
"""

import os
import shutil
import threading

import orjson
import pytest

from finetuned.errors import CorruptFile, LockHeld, ModelError, RegistryError
from finetuned.layout import Layout
from finetuned.registry.backup import backup, last_verified_backup, restore
from finetuned.registry.commit import commit_version
from finetuned.registry.current_model import incumbent, promote, rollback
from finetuned.registry.folder import verify_folder
from finetuned.registry.pins import pin, read_pins, unpin
from finetuned.registry.prune import prune
from finetuned.registry.trash import empty_trash, list_trash
from finetuned.registry.versions import list_versions, read_version, registry_lock, verify_version


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path / "root")
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    return layout


def candidate(layout, run_id, *, full=False):
    """
    What a worker leaves, with other bytes for each run.
    """
    folder = layout.runs / run_id / "candidate"
    (folder / "training_state").mkdir(parents=True)
    names = ["tokenizer.json", "training_state/optimizer.safetensors", "training_state/state.json"]
    if full:
        names += ["config.json", "model.safetensors"]
    else:
        names += ["adapter_model.safetensors", "adapter_config.json"]
    for name in names:
        (folder / name).write_text(f"{name} of {run_id}")
    return folder


def committed(layout, *parents, promoted=False):
    """
    Commit one version per given parent and return their names.
    """
    names = []
    for parent in parents:
        run_id = f"r-{len(list(layout.runs.iterdir()))}"
        facts = {"run_id": run_id, "parent": parent}
        names.append(commit_version(layout, candidate(layout, run_id), facts))
        if promoted:
            promote(layout, names[-1])
    return names


@pytest.mark.parametrize("full", [False, True])
def test_a_version_is_the_candidate_with_a_manifest(layout, full):
    """
    Everything the worker left is there, hashed, with the facts of how it came to be.
    """
    folder = candidate(layout, "r-1", full=full)
    name = commit_version(layout, folder, {"run_id": "r-1", "parent": None, "verdict": "promote"})
    version = verify_version(layout, name)

    assert "v0001" == name
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == set(
        version.manifest.bytes_by_file
    )
    found = version.manifest
    assert ("r-1", "promote", "v0001") == (found.run_id, found.verdict, found.version)
    assert found.created_at.endswith("Z")


def test_a_version_costs_no_second_copy(layout):
    """
    A full model may have 61 GB: its files are hard links to the run's.
    """
    folder = candidate(layout, "r-1")
    name = commit_version(layout, folder, {"run_id": "r-1"})

    assert os.path.samefile(
        folder / "adapter_model.safetensors",
        layout.versions / name / "adapter_model.safetensors",
    )


def test_the_same_run_is_committed_once(layout):
    """
    A supervisor that crashed after the commit repeats it and gets the same version.
    """
    folder = candidate(layout, "r-1")
    names = [commit_version(layout, folder, {"run_id": "r-1"}) for _ in range(3)]

    assert ["v0001"] * 3 == names
    assert ["v0001"] == list_versions(layout)


@pytest.mark.parametrize(
    "missing",
    [
        "adapter_config.json",
        "adapter_model.safetensors",
        "training_state/optimizer.safetensors",
        "training_state/state.json",
    ],
)
def test_half_a_candidate_is_no_version(layout, missing):
    """
    Weights without optimizer state would make the next dataset start cold.
    """
    folder = candidate(layout, "r-1")
    (folder / missing).unlink()

    with pytest.raises(ModelError):
        commit_version(layout, folder, {"run_id": "r-1"})
    assert [] == list(layout.versions.iterdir())


@pytest.mark.parametrize("name", ["optimizer.pt", "training_state/rng_state.PTH", "x.bin", "y.pkl"])
def test_a_pickle_never_becomes_part_of_a_version(layout, name):
    """
    Loading a pickle runs its code.
    """
    folder = candidate(layout, "r-1")
    (folder / name).write_bytes(b"x")

    with pytest.raises(ModelError, match="pickle"):
        commit_version(layout, folder, {"run_id": "r-1"})


def test_a_link_never_becomes_part_of_a_version(layout):
    """
    What it points to could change after the hash was taken.
    """
    folder = candidate(layout, "r-1")
    (folder / "secrets.json").symlink_to("/etc/passwd")

    with pytest.raises(ModelError, match="regular"):
        commit_version(layout, folder, {"run_id": "r-1"})


def test_the_rest_of_a_crash_is_not_listed_and_does_not_block(layout):
    """
    A folder that was being built has another name, and the next commit clears it.
    """
    rest = layout.versions / ".building-v0001"
    rest.mkdir()
    (rest / "adapter_model.safetensors").write_text("half")

    assert [] == list_versions(layout)
    assert ["v0001"] == committed(layout, None)
    assert ["v0001"] == [p.name for p in layout.versions.iterdir()]


def test_versions_are_in_the_order_of_their_numbers(layout):
    """
    v10000 comes after v9999, which text order gets wrong.
    """
    facts = {"run_id": "r-a"}
    first = commit_version(layout, candidate(layout, "r-a"), facts, floor=9998)
    (second,) = committed(layout, None)

    assert ["v9999", "v10000"] == [first, second] == list_versions(layout)


@pytest.mark.parametrize("forget", ["prune", "empty trash", "lose folder", "lose incumbent"])
def test_a_number_is_never_used_twice(layout, forget):
    """
    A report that names v0003 must mean one model for ever.
    """
    names = committed(layout, None, None, None)
    if forget == "lose incumbent":
        promote(layout, names[-1])
        shutil.rmtree(layout.versions / names[-1])
    elif forget == "lose folder":
        backup(layout, names[-1])
        shutil.rmtree(layout.versions / names[-1])
    else:
        prune(layout, keep_last=0, last_backup=None, apply=True)
    if forget == "empty trash":
        assert 3 == len(empty_trash(layout, confirm=list_trash(layout), apply=True).delete)

    assert ["v0004"] == committed(layout, None)


def test_current_model_names_what_was_promoted(layout):
    """
    A relative link, so that the root may be moved; from_pretrained just follows it.
    """
    assert incumbent(layout) is None
    committed(layout, None, "v0001", promoted=True)

    assert "models/versions/v0002" == os.readlink(layout.current_model)
    assert "v0002" == incumbent(layout)
    assert (layout.current_model / "adapter_config.json").is_file()
    moved = layout.root.rename(layout.root.with_name("moved"))
    assert "v0002" == incumbent(Layout(moved))


def damage(path):
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.unlink()  # and not through the hard link
    path.write_bytes(data)


@pytest.mark.parametrize(
    "how", ["bit flip", "truncated", "missing", "added", "no manifest", "other"]
)
def test_a_damaged_version_is_never_promoted(layout, how):
    """
    Hashes are checked first; the incumbent stays.
    """
    first, second = committed(layout, None, None)
    promote(layout, first)
    folder = layout.versions / second
    weights = folder / "adapter_model.safetensors"
    match how:
        case "bit flip":
            damage(weights)
        case "truncated":
            os.truncate(weights, 5)
        case "missing":
            weights.unlink()
        case "added":
            (folder / "pytorch_model.bin").write_bytes(b"x")
        case "no manifest":
            (folder / "manifest.json").unlink()
        case "other":
            shutil.rmtree(folder)
            shutil.copytree(layout.versions / first, folder)

    with pytest.raises(ModelError):
        promote(layout, second)
    assert first == incumbent(layout)


@pytest.mark.parametrize("name", ["v0009", "../../etc", "latest", ""])
def test_only_a_version_can_be_promoted(layout, name):
    """
    The name comes from a command line.
    """
    committed(layout, None)

    with pytest.raises(RegistryError):
        promote(layout, name)
    assert not layout.current_model.is_symlink()


def test_a_current_model_that_is_not_ours_is_left_alone(layout):
    """
    Somebody's real folder under that name is not deleted; the error says what to do.
    """
    (name,) = committed(layout, None)
    layout.current_model.mkdir()
    (layout.current_model / "precious").touch()

    with pytest.raises(RegistryError, match="move it away"):
        promote(layout, name)
    with pytest.raises(RegistryError, match="move it away"):
        incumbent(layout)
    assert (layout.current_model / "precious").exists()
    assert ["v0002"] == committed(layout, None)


def test_a_link_to_elsewhere_is_an_error_until_a_promotion_mends_it(layout):
    """
    Who reads the incumbent must not be told a version that is not in use.
    """
    (name,) = committed(layout, None)
    layout.current_model.symlink_to("/tmp/v0001")

    with pytest.raises(RegistryError, match="promote"):
        incumbent(layout)
    promote(layout, name)
    assert name == incumbent(layout)


def test_a_dangling_current_model_says_how_to_get_it_back(layout):
    """
    Missing is not the same as never promoted.
    """
    (name,) = committed(layout, None, promoted=True)
    backup(layout, name)
    shutil.rmtree(layout.versions / name)

    with pytest.raises(RegistryError, match=f"restore {name}"):
        incumbent(layout)
    assert restore(layout, name)
    assert name == incumbent(layout)


def test_a_roll_back_goes_to_the_parent(layout):
    """
    The parent by lineage, which need not be the number before.
    """
    committed(layout, None, "v0001", "v0001", promoted=True)

    assert "v0001" == rollback(layout) == incumbent(layout)
    assert ["v0001", "v0002", "v0003"] == list_versions(layout)


def test_a_roll_back_leaves_held_versions_out(layout):
    """
    It goes to what was in use when the version was judged, not to the head that it came from.
    """
    committed(layout, None, promoted=True)
    folder = candidate(layout, "r-9")
    facts = {"run_id": "r-9", "parent": "v0001", "release": "v0001", "verdict": "held"}
    held = commit_version(layout, folder, facts)
    folder = candidate(layout, "r-10")
    facts = {"run_id": "r-10", "parent": held, "release": "v0001"}
    promote(layout, commit_version(layout, folder, facts))

    assert "v0001" == rollback(layout) == incumbent(layout)


@pytest.mark.parametrize("way", [promote, rollback])
def test_a_decision_is_recorded_after_the_check_and_before_the_link_moves(layout, way):
    """
    Whoever is killed in between has decided, and the link follows: it never shows what is on no
    record. What cannot be put in use is not decided.
    """
    first, second = committed(layout, None, None, promoted=True)
    seen = []
    way(layout, first, decided=lambda name: seen.append((name, incumbent(layout))))
    assert ([(first, second)], first) == (seen, incumbent(layout))
    damage(layout.versions / second / "adapter_model.safetensors")
    with pytest.raises(ModelError):
        way(layout, second, decided=seen.append)
    layout.current_model.unlink()
    layout.current_model.mkdir()
    with pytest.raises(RegistryError, match="not a symbolic link"):
        way(layout, first, decided=seen.append)

    assert 1 == len(seen)


def test_the_first_version_has_nothing_to_roll_back_to(layout):
    """
    Going back to the bare base model must be asked for in so many words.
    """
    committed(layout, None, promoted=True)

    with pytest.raises(RegistryError, match="--to-base"):
        rollback(layout)
    assert "v0001" == incumbent(layout)
    assert rollback(layout, to_base=True) is None
    assert incumbent(layout) is None
    with pytest.raises(RegistryError, match="nothing to roll back"):
        rollback(layout)


def test_a_roll_back_to_a_damaged_version_changes_nothing(layout):
    """
    Better the version in use than one that cannot be loaded.
    """
    committed(layout, None, "v0001", promoted=True)
    damage(layout.versions / "v0001" / "adapter_model.safetensors")

    with pytest.raises(CorruptFile):
        rollback(layout)
    assert "v0002" == incumbent(layout)


def test_a_lost_incumbent_can_still_be_rolled_back(layout):
    """
    Its parent is known from the backup's manifest.
    """
    committed(layout, None, "v0001", promoted=True)
    backup(layout, "v0002")
    shutil.rmtree(layout.versions / "v0002")

    assert "v0001" == rollback(layout) == incumbent(layout)


def test_a_backup_shares_no_byte_with_its_version(layout):
    """
    Real copies: a write into the version does not reach the backup.
    """
    (name,) = committed(layout, None)
    folder = backup(layout, name)
    for path in (layout.versions / name).rglob("*"):
        twin = folder / path.relative_to(layout.versions / name)
        assert path.is_dir() or not os.path.samefile(path, twin)

    assert name == last_verified_backup(layout)
    assert folder == backup(layout, name)


def test_a_damaged_backup_is_not_the_last_verified_one(layout):
    """
    A backup counts when its bytes are right, not when its folder is there.
    """
    for name in committed(layout, None, None):
        backup(layout, name)
    damage(layout.backups / "v0002" / "tokenizer.json")

    assert "v0001" == last_verified_backup(layout)
    backup(layout, "v0002")
    assert "v0002" == last_verified_backup(layout)
    assert 1 == len(list_trash(layout))


def test_a_damaged_version_is_not_backed_up(layout):
    """
    A bad copy must not take the place of a good one.
    """
    (name,) = committed(layout, None)
    backup(layout, name)
    damage(layout.versions / name / "tokenizer.json")

    with pytest.raises(CorruptFile):
        backup(layout, name)
    assert name == last_verified_backup(layout)


def test_a_restored_version_is_the_one_that_was_lost(layout):
    """
    Restore is tested by restoring: same bytes, and the damaged ones kept in the trash.
    """
    (name,) = committed(layout, None, promoted=True)
    before = read_version(layout, name).manifest
    backup(layout, name)
    assert restore(layout, name) is False
    damage(layout.versions / name / "adapter_model.safetensors")

    assert restore(layout, name) is True
    assert before == verify_version(layout, name).manifest
    assert name == incumbent(layout)
    (thrown,) = list_trash(layout)
    with pytest.raises(CorruptFile):
        verify_folder(layout.trash / thrown, name)


def test_a_damaged_backup_restores_nothing(layout):
    """
    What is there, damaged or not, is not replaced by something no better.
    """
    (name,) = committed(layout, None)
    backup(layout, name)
    damage(layout.backups / name / "tokenizer.json")
    damage(layout.versions / name / "adapter_model.safetensors")

    with pytest.raises(CorruptFile):
        restore(layout, name)
    assert [name] == list_versions(layout)
    assert [] == list_trash(layout)


def test_prune_is_a_dry_run_unless_told(layout):
    """
    A clean-up that nobody asked for could cost days of training.
    """
    committed(layout, None, None, None)
    plan = prune(layout, keep_last=1, last_backup=None)

    assert ["v0002", "v0001"] == plan.remove
    assert ["v0001", "v0002", "v0003"] == list_versions(layout)


def test_pruned_versions_go_to_the_trash_and_backups_stay(layout):
    """
    Deleting for good is a second, separate decision.
    """
    committed(layout, None, None, None)
    backup(layout, "v0001")
    prune(layout, keep_last=1, last_backup=None, apply=True)

    assert ["v0003"] == list_versions(layout)
    assert ["v0001", "v0002"] == [name.partition("-")[0] for name in list_trash(layout)]
    empty_trash(layout, confirm=list_trash(layout), apply=True)
    assert [] == list(layout.trash.iterdir())
    assert restore(layout, "v0001")
    assert "v0001" == verify_version(layout, "v0001").name


def test_a_pin_protects_until_it_is_taken_away(layout):
    """
    A person's word beats age.
    """
    committed(layout, None, None)
    pin(layout, "v0001", "the one in the paper")
    prune(layout, keep_last=0, last_backup=None, apply=True)
    assert ["v0001"] == list_versions(layout)
    assert "the one in the paper" == read_pins(layout)["v0001"]["reason"]
    unpin(layout, "v0001")
    prune(layout, keep_last=0, last_backup=None, apply=True)

    assert [] == list_versions(layout)
    with pytest.raises(RegistryError):
        pin(layout, "v0001", "too late")
    with pytest.raises(RegistryError):
        unpin(layout, "v0001")


@pytest.mark.parametrize("what", ["pins", "manifest", "link"])
def test_nothing_is_pruned_while_something_cannot_be_read(layout, what):
    """
    Not knowing what is protected means that everything is.
    """
    committed(layout, None, "v0001", "v0002", promoted=True)
    match what:
        case "pins":
            (layout.models / "pins.json").write_text('{"v0001": ')
        case "manifest":
            (layout.versions / "v0002" / "manifest.json").unlink()
        case "link":
            layout.current_model.unlink()
            layout.current_model.symlink_to("models/versions/v0099")

    with pytest.raises((RegistryError, ModelError)):
        prune(layout, keep_last=0, last_backup=None, apply=True)
    assert 3 == len(list_versions(layout))


def test_there_is_one_writer_at_a_time(layout):
    """
    A tool and the supervisor may both want to move current_model.
    """
    (name,) = committed(layout, None)
    with registry_lock(layout), pytest.raises(LockHeld), registry_lock(layout, wait_seconds=0):
        pass
    with registry_lock(layout):
        other = threading.Thread(target=promote, args=(layout, name))
        other.start()
        other.join(0.2)
        assert incumbent(layout) is None
    other.join(5)

    assert name == incumbent(layout)


def test_a_reader_never_finds_current_model_missing(layout):
    """
    Ten thousand looks while it is flipped back and forth.
    """
    committed(layout, None, None, promoted=True)
    stop = threading.Event()

    def flip():
        while not stop.is_set():
            promote(layout, "v0001")
            promote(layout, "v0002")

    writer = threading.Thread(target=flip)
    writer.start()
    seen = set()
    for _ in range(10_000):
        manifest = orjson.loads((layout.current_model / "manifest.json").read_bytes())
        seen.add(manifest["version"])
    stop.set()
    writer.join()

    assert {"v0001", "v0002"} == seen


@pytest.mark.parametrize("target", ["/nowhere", "elsewhere", "models/versions/v0099"])
def test_the_base_model_is_reached_from_any_link(layout, target):
    """
    current_model that somebody pointed elsewhere goes; what it pointed to is not touched.
    """
    committed(layout, None)
    elsewhere = layout.root / "elsewhere"
    elsewhere.mkdir()
    layout.current_model.symlink_to(target)

    assert rollback(layout, to_base=True) is None
    assert not layout.current_model.is_symlink()
    assert elsewhere.is_dir()


def test_a_real_folder_in_the_place_of_the_link_is_never_removed(layout):
    """
    It may be somebody's only copy: neither a promotion nor a rollback touches it.
    """
    (name,) = committed(layout, None)
    layout.current_model.mkdir()
    (layout.current_model / "weights").write_text("mine")
    for move in (lambda: rollback(layout, to_base=True), lambda: promote(layout, name)):
        with pytest.raises(RegistryError, match="not a symbolic link"):
            move()

    assert "mine" == (layout.current_model / "weights").read_text()
