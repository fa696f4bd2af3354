"""
Which folders a model is made of: a base, and perhaps an adapter on top of it.
"""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from finetuned.errors import BaseModelMissing, ModelError, RegistryError
from finetuned.files.manifest import write_manifest
from finetuned.layout import MANIFEST, Layout
from finetuned.registry.folder import sealed
from finetuned.registry.weights import Weights, weights_in, weights_of

CONFIGURED = "made-here"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """
    A root with two base models and no model cache of a person beside it.
    """
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no cache"))
    layout = Layout(tmp_path / "root")
    for name in (CONFIGURED, "another"):
        (layout.bases / name).mkdir(parents=True)
        (layout.bases / name / "config.json").write_text("{}")
    return layout


def version(layout: Layout, name: str, **facts: str) -> Path:
    """
    Make version *name* with no files but its manifest.
    """
    folder = layout.versions / name
    folder.mkdir(parents=True)
    write_manifest(folder, sealed({"run_id": f"r-{name}", "version": name, **facts}))
    return folder


def test_the_base_model_is_one_folder(layout: Layout) -> None:
    """
    No version means the configured base and nothing on top.
    """
    expected = Weights(layout.bases / CONFIGURED, None, None)

    assert expected == weights_of(layout, None, CONFIGURED)


def test_an_adapter_sits_on_the_base_that_it_was_trained_on(layout: Layout) -> None:
    """
    The manifest decides, not what is configured today; without a word there, the configuration.
    """
    old = version(layout, "v0001")
    new = version(layout, "v0002", base="another")

    assert Weights(layout.bases / CONFIGURED, old, None) == weights_of(layout, "v0001", CONFIGURED)
    assert Weights(layout.bases / "another", new, None) == weights_of(layout, "v0002", CONFIGURED)


def test_a_full_model_needs_no_base(layout: Layout) -> None:
    """
    A consolidated version is whole, and an adapter trained later sits on it.
    """
    full = version(layout, "v0002", consolidates="v0001", base="gone")
    adapter = version(layout, "v0003", base_version="v0002", base="gone")

    assert Weights(full, None, "v0002") == weights_of(layout, "v0002", CONFIGURED)
    assert Weights(full, adapter, "v0002") == weights_of(layout, "v0003", CONFIGURED)


@pytest.mark.parametrize("name", ["v0001", "v0002", "v0003"])
def test_a_version_is_the_same_by_name_by_folder_and_by_link(layout: Layout, name: str) -> None:
    """
    ``current_model`` may be given in the place of the version that it names.
    """
    version(layout, "v0001")
    version(layout, "v0002", consolidates="v0001")
    version(layout, "v0003", base_version="v0002")
    layout.current_model.symlink_to(f"models/versions/{name}")
    expected = weights_of(layout, name, CONFIGURED)

    assert expected == weights_in(layout, layout.versions / name, CONFIGURED)
    assert expected == weights_in(layout, layout.current_model, CONFIGURED)


def test_a_folder_without_a_manifest_is_told_by_its_files(layout: Layout, tmp_path: Path) -> None:
    """
    With an adapter_config.json it is an adapter on the configured base, else a model.
    """
    folder = tmp_path / "trained elsewhere"
    folder.mkdir()
    assert Weights(folder, None, None) == weights_in(layout, folder, CONFIGURED)

    (folder / "adapter_config.json").write_text("{}")
    expected = Weights(layout.bases / CONFIGURED, folder, None)
    assert expected == weights_in(layout, folder, CONFIGURED)


def test_a_missing_part_is_named(layout: Layout) -> None:
    """
    The base, the version, or the version below it: never another one in its place.
    """
    version(layout, "v0001", base="gone")
    version(layout, "v0003", base_version="v0002")

    with pytest.raises(BaseModelMissing, match="gone"):
        weights_of(layout, "v0001", CONFIGURED)
    with pytest.raises(RegistryError, match="no version v0002"):
        weights_of(layout, "v0003", CONFIGURED)
    with pytest.raises(RegistryError, match="not a version name"):
        weights_of(layout, "../base/another", CONFIGURED)


def test_a_base_that_was_changed_by_hand_is_not_loaded(layout: Layout) -> None:
    """
    A flipped fact in the manifest would load an adapter on the wrong model.
    """
    folder = version(layout, "v0001", base="another")
    document = orjson.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_bytes(orjson.dumps({**document, "base": CONFIGURED}))

    with pytest.raises(ModelError, match="facts of sha256"):
        weights_of(layout, "v0001", CONFIGURED)
