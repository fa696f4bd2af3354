"""
Rot on the disk: every kind is seen before anything is loaded, and the start goes on from it.

Real files, real hashes, the real recovery of a start; only the daemon around it is left out
(test_daemon_faults.py has it whole).
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finetuned.config import Config
from finetuned.core.promotion import PromotionCause, VersionVerdict
from finetuned.errors import ModelError
from finetuned.files.journal import Journal
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.backup import backup
from finetuned.registry.commit import commit_version
from finetuned.registry.current_model import incumbent, promote, rollback
from finetuned.registry.folder import list_files
from finetuned.registry.trash import list_trash
from finetuned.registry.versions import verify_version
from finetuned.supervisor.context import Context
from finetuned.supervisor.recover import check_incumbent
from finetuned.supervisor.status import StatusBoard
from support.journals import release

NAMES = ("v0001", "v0002", "v0003")
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
OPTIMIZER = "training_state/optimizer.safetensors"
WEIGHTS_BYTES = 100_000

BITS = int(os.environ.get("FINETUNED_BITS", "1500"))
"""Bits of a manifest that are flipped, one at a time; 100000 is every one of them."""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    v0001 <- v0002 (a full model in two shards) <- v0003 (in use), all three backed up.
    """
    layout = Layout(tmp_path_factory.mktemp("damage") / "root")
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(layout.journal)
    rng = random.Random(3)
    for n, name in enumerate(NAMES):
        folder = layout.runs / f"r-{n}"
        weights = SHARDS if name == "v0002" else ("adapter_model.safetensors",)
        config = "config.json" if name == "v0002" else "adapter_config.json"
        make_candidate(folder, (*weights, OPTIMIZER), config, lambda: rng.randbytes(WEIGHTS_BYTES))
        facts = {
            "run_id": f"r-{n}",
            "parent": NAMES[n - 1] if n else None,
            "base_version": "v0002" if name == "v0003" else None,
        }
        assert name == commit_version(layout, folder, facts)
        backup(layout, name)
        journal.versions.add(name, VersionVerdict.PROMOTED, parent=facts["parent"])
        release(journal, name, PromotionCause.GATE)
        promote(layout, name)
        shutil.copyfile(layout.versions / name / MANIFEST, layout.root / f"{name}.manifest")
    journal.close()
    shutil.rmtree(layout.runs)
    return layout.root


def make_candidate(
    folder: Path, weights: tuple[str, ...], config: str, content: Callable[[], bytes]
) -> None:
    (folder / "training_state").mkdir(parents=True)
    for file in weights:
        (folder / file).write_bytes(content())
    for file in (config, "training_state/state.json"):
        (folder / file).write_text('{"step": 3}')


@pytest.fixture
def context(pristine: Path, tmp_path: Path) -> Iterator[Context]:
    """
    A copy of the pristine root, as a start sees it.
    """
    layout = Layout(tmp_path / "root")
    shutil.copytree(pristine, layout.root, symlinks=True)
    journal = Journal(layout.journal)
    yield Context(layout, Config(), journal, StatusBoard(layout.status_file))
    journal.close()


def rewrite(path: Path, data: bytes) -> None:
    """
    Change a read-only file, and none that is linked to it.
    """
    path.unlink()
    path.write_bytes(data)


def weights_of(folder: Path) -> Path:
    found = [p for p in list_files(folder) if p.suffix == ".safetensors"]
    return found[0]


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    rewrite(path, bytes(data))


def flip_anywhere(seed: int) -> Callable[[Path], None]:
    """
    Return a damage: one bit, anywhere in the folder, each byte of it as likely as the next.
    """

    def damage(folder: Path) -> None:
        files = list_files(folder)
        sizes = [p.stat().st_size for p in files]
        rng = random.Random(seed)
        path = rng.choices(files, sizes)[0]
        flip(path, rng.randrange(path.stat().st_size * 8))

    return damage


def cut(length: int) -> Callable[[Path], None]:
    """
    Return a damage: the weights are *length* bytes long, counted from the end where < 0.
    """

    def damage(folder: Path) -> None:
        path = weights_of(folder)
        rewrite(path, path.read_bytes()[:length])

    return damage


def other_manifest(folder: Path) -> None:
    other = "v0002" if folder.name == "v0001" else "v0001"
    root = folder.parents[2]
    rewrite(folder / MANIFEST, (root / f"{other}.manifest").read_bytes())


def add_a_file(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"x")


def manifest_folder(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).mkdir()


def become_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("x")


def cut_manifest(folder: Path) -> None:
    path = folder / MANIFEST
    rewrite(path, path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, Callable[[Path], None]] = {
    **{f"bit-{seed}": flip_anywhere(seed) for seed in range(20)},
    **{f"cut-{n}": cut(n) for n in (0, 1, 4095, 4096, 65_536, -4096, -1)},
    "longer": lambda folder: rewrite(weights_of(folder), bytes(WEIGHTS_BYTES + 1)),
    "weights missing": lambda folder: weights_of(folder).unlink(),
    "state missing": lambda folder: (folder / "training_state" / "state.json").unlink(),
    "added": add_a_file,
    "link": lambda folder: (folder / "more.safetensors").symlink_to("/dev/zero"),
    "empty manifest": lambda folder: rewrite(folder / MANIFEST, b""),
    "half a manifest": cut_manifest,
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "manifest is a folder": manifest_folder,
}


def check_loadable(layout: Layout, name: str) -> None:
    """
    Hold the law: current_model names *name*, and it and what it sits on are whole.
    """
    assert name == incumbent(layout)
    assert f"models/versions/{name}" == os.readlink(layout.current_model)
    base = verify_version(layout, name).manifest.base_version
    if base is not None:
        verify_version(layout, base)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen_before_any_load_and_mended_from_the_backup(
    context: Context, damage: str
) -> None:
    """
    The version, then what it sits on: seen by verification, and whole again after the start.
    """
    layout = context.layout
    for name in ("v0003", "v0002"):
        before = {p: p.read_bytes() for p in list_files(layout.backups)}
        DAMAGES[damage](layout.versions / name)
        with pytest.raises(Exception, match=name) as seen:
            verify_version(layout, name)
        assert seen.type.__name__ in ("ModelError", "CorruptFile", "RegistryError")
        check_incumbent(context)

        check_loadable(layout, "v0003")
        assert before == {p: p.read_bytes() for p in list_files(layout.backups)}
    assert "v0003" == context.journal.promotions.incumbent()


@pytest.mark.parametrize("damage", DAMAGES)
def test_with_both_copies_damaged_the_nearest_good_ancestor_is_in_use(
    context: Context, damage: str
) -> None:
    """
    First the version in use, then its parent, whose backup still mends it, then that as well.
    """
    layout, journal = context.layout, context.journal
    for folder in (layout.versions, layout.backups):
        DAMAGES[damage](folder / "v0003")
    DAMAGES[damage](layout.versions / "v0002")
    check_incumbent(context)
    check_loadable(layout, "v0002")
    assert "v0002" == journal.promotions.incumbent()
    last = journal.promotions.last()
    assert last is not None
    assert PromotionCause.FALLBACK is last.cause
    check_incumbent(context)  # and the next start finds nothing to do
    check_loadable(layout, "v0002")

    for folder in (layout.versions, layout.backups):
        DAMAGES[damage](folder / "v0002")
    check_incumbent(context)
    check_loadable(layout, "v0001")

    for folder in (layout.versions, layout.backups):
        DAMAGES[damage](folder / "v0001")
    with pytest.raises(ModelError, match=r"v0001 is corrupt .* rollback --to-base"):
        check_incumbent(context)
    assert "v0001" == journal.promotions.incumbent()
    assert "models/versions/v0001" == os.readlink(layout.current_model)
    assert rollback(layout, to_base=True) is None


def test_a_base_version_that_is_lost_takes_its_adapters_with_it(context: Context) -> None:
    """
    v0003 is whole and cannot be loaded: the version below its base is what is left.
    """
    layout = context.layout
    for folder in (layout.versions, layout.backups):
        shutil.rmtree(folder / "v0002")
    check_incumbent(context)

    check_loadable(layout, "v0001")


def test_a_start_that_is_cut_off_while_falling_back_is_done_again(context: Context) -> None:
    """
    current_model is moved first: with only that done the next start ends where the first would.
    """
    layout = context.layout
    for folder in (layout.versions, layout.backups):
        (folder / "v0003" / MANIFEST).unlink()
    promote(layout, "v0002")
    check_incumbent(context)

    check_loadable(layout, "v0002")
    assert "v0002" == context.journal.promotions.incumbent()


def test_nothing_falls_back_to_the_bare_base_model_unasked(context: Context) -> None:
    """
    The first version has no parent: a person decides to lose everything that was learnt.
    """
    layout = context.layout
    promote(layout, "v0001")
    release(context.journal, "v0001", PromotionCause.ROLLBACK)
    for folder in (layout.versions, layout.backups):
        cut(10)(folder / "v0001")
    with pytest.raises(ModelError, match="--to-base"):
        check_incumbent(context)

    assert "v0001" == context.journal.promotions.incumbent()
    assert [] == list_trash(layout)


def test_each_single_bit_of_a_manifest_counts(context: Context) -> None:
    """
    Facts are sealed as files are: whichever bit flips, the version is refused.
    """
    layout = context.layout
    folder = layout.runs / "r-small"
    weights = ("adapter_model.safetensors", OPTIMIZER)
    make_candidate(folder, weights, "adapter_config.json", lambda: b"weights")
    name = commit_version(layout, folder, {"run_id": "r-small", "parent": "v0003"})
    path = layout.versions / name / MANIFEST
    whole = path.read_bytes()
    path.chmod(0o644)
    missed = []
    bits = range(len(whole) * 8)
    for bit in random.Random(5).sample(bits, min(len(bits), BITS)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            verify_version(layout, name)
        except ModelError:
            continue
        missed.append(bit)
    path.write_bytes(whole)

    verify_version(layout, name)
    assert [] == missed
