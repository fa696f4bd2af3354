"""
What people call models and suites, and what they are told about a wrong name.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from finetuned.core.suite_origin import SuiteOrigin
from finetuned.errors import BaseModelMissing, ModelError, RegistryError, SuiteError
from finetuned.evaluation.by_hand.named_suites import pick_suites
from finetuned.files.manifest import write_manifest
from finetuned.layout import Layout
from finetuned.registry.named_model import find_model

PACKAGE_PARENT = Path(__file__).parents[2] / "daemon"
ITEM = '{{"id": "{0}", "prompt": "p {0}", "completion": "a"}}\n'


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """
    A root with the base "tiny", version v0001 in use, and two suites.
    """
    layout = Layout(tmp_path / "root")
    base = layout.bases / "tiny"
    version = layout.versions / "v0001"
    for folder in (base, version, layout.benchmarks):
        folder.mkdir(parents=True)
    (base / "config.json").write_text("{}")
    (version / "adapter_config.json").write_text("{}")
    write_manifest(version, {"version": "v0001"})
    layout.current_model.symlink_to(version)
    for name in ("a", "b"):
        (layout.benchmarks / f"{name}.jsonl").write_text(ITEM.format(1) + ITEM.format(2))
    return layout


@pytest.mark.parametrize("text", ["v0001", "v0001/", "current_model", "current_model/"])
def test_a_version_is_named_by_its_number_or_by_its_use(layout: Layout, text: str) -> None:
    """
    Both are called by the number, with links resolved.
    """
    found = find_model(layout, text, "tiny")

    assert "v0001" == found.name
    assert (layout.versions / "v0001").resolve() == found.path == found.weights.folder
    assert (layout.bases / "tiny").resolve() == found.weights.base


def test_a_base_model_is_named_as_in_the_configuration_or_by_its_folder(layout: Layout) -> None:
    """
    It has no adapter.
    """
    by_name = find_model(layout, "tiny", "tiny")
    by_folder = find_model(layout, str(layout.bases / "tiny"), "tiny")

    assert "tiny" == by_name.name
    assert by_name.path == by_folder.path
    assert by_name.record() == {
        "name": "tiny",
        "path": str(by_name.path),
        "base": str(by_name.weights.base),
    }


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("v0009", RegistryError, "there is no version v0009"),
        ("benchmarks", ModelError, "neither adapter_config.json nor config.json"),
        ("no-such-base", BaseModelMissing, "no-such-base"),
    ],
)
def test_a_wrong_name_is_told_what_it_is(
    layout: Layout, text: str, kind: type[Exception], message: str
) -> None:
    """
    A missing version, a folder without a model, a base that is nowhere.
    """
    with pytest.raises(kind, match=message):
        find_model(layout, text, "tiny")


def test_before_the_first_promotion_there_is_no_current_model(layout: Layout) -> None:
    """
    The message says what can be named instead.
    """
    layout.current_model.unlink()

    with pytest.raises(RegistryError, match="name a version or a base model"):
        find_model(layout, "current_model", "tiny")


def test_all_suites_of_the_root_are_picked_if_none_is_named(layout: Layout) -> None:
    """
    With the first items of each, if a limit is given.
    """
    picked = pick_suites(layout, [], 1)

    assert ["a", "b"] == [one.suite.name for one in picked]
    assert [1, 1] == [len(one.suite.questions) for one in picked]


def test_a_suite_is_named_or_a_file(layout: Layout, tmp_path: Path) -> None:
    """
    One that is named twice is asked once.
    """
    mine = tmp_path / "mine.jsonl"
    mine.write_text(ITEM.format(1))

    picked = pick_suites(layout, ["b", str(mine), "benchmarks/b.jsonl"], None)

    assert ["b", "mine"] == [one.suite.name for one in picked]


def test_two_suites_of_one_name_are_refused(layout: Layout, tmp_path: Path) -> None:
    """
    Their answers could be mixed up.
    """
    other = tmp_path / "a.jsonl"
    other.write_text(ITEM.format(1))

    with pytest.raises(SuiteError, match="have the same name; rename one"):
        pick_suites(layout, ["a", str(other)], None)


def test_a_suite_that_cannot_be_read_has_a_problem(layout: Layout) -> None:
    """
    The others are still asked.
    """
    (layout.benchmarks / "a.jsonl").write_text("not JSON\n")

    broken, whole = pick_suites(layout, ["a", "b"], None)

    assert "a.jsonl:1" in str(broken.problem)
    assert (SuiteOrigin.BENCHMARK, 0) == (broken.suite.origin, len(broken.suite.questions))
    assert whole.problem is None


def test_a_root_without_suites_says_so(layout: Layout) -> None:
    """
    Nothing to ask is an error, not a pass.
    """
    for path in layout.benchmarks.iterdir():
        path.unlink()

    with pytest.raises(SuiteError, match="no suite in"):
        pick_suites(layout, [], None)


@pytest.mark.parametrize(
    "module",
    [
        "finetuned.evaluation.by_hand.compare",
        "finetuned.evaluation.by_hand.named_suites",
        "finetuned.registry.named_model",
        "finetuned.evaluation.report",
        "finetuned.inference.batches",
        "finetuned.inference.outcome",
        "finetuned.inference.prepared",
    ],
)
def test_what_plans_marks_and_names_loads_no_torch(module: str) -> None:
    """
    A wrong name is reported at once, and pure code is tested in milliseconds.
    """
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"

    subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(PACKAGE_PARENT)}, check=True
    )
