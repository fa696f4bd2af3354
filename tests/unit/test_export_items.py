"""
What an export is compared on, and what of it is gone.
"""

from __future__ import annotations

from pathlib import Path

from finetuned.export.items import datasets_gone
from finetuned.files.manifest import write_manifest
from finetuned.layout import Layout
from finetuned.registry.named_model import NamedModel
from finetuned.registry.weights import Weights


def test_datasets_that_were_removed_are_named(tmp_path: Path) -> None:
    """
    Their held-out rows cannot be asked, and whoever reads the comparison must know it.
    """
    layout, version = Layout(tmp_path), tmp_path / "v0001"
    version.mkdir()
    datasets = [
        {"dataset_id": at, "sha256": "0" * 64, "name": name, "n_examples": 3}
        for at, name in (("aa", "kept.jsonl"), ("bb", "gone.jsonl"))
    ]
    write_manifest(version, {"kind": "candidate", "datasets": datasets})
    (layout.datasets / "aa").mkdir(parents=True)
    model = NamedModel("v0001", version, Weights(tmp_path / "base", version, None))

    assert ("gone.jsonl",) == datasets_gone(layout, model)
    (layout.datasets / "bb").mkdir()
    assert () == datasets_gone(layout, model)
