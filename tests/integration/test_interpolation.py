"""
Less of the same change, tried before a candidate is rejected for what it forgot.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from safetensors.torch import load_file

from finetuned.evaluation.interpolate import interpolate, is_possible
from finetuned.evaluation.subjects import Subject
from finetuned.files.run import read_json
from support.answers import answers, write_canaries
from support.daemon import Daemon, make_root
from support.tiny_base import write_rows

pytestmark = pytest.mark.slow

SHARES = (0.6, 0.05, 0.01)
SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "eval_report.schema.json"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """
    A root whose second file, at a far too high rate, would break what the first one taught.
    """
    root = make_root(
        tmp_path_factory.mktemp("interpolation") / "root",
        tiny_base,
        training='learning_rate = 2e-2\nlr_scheduler_type = "constant"\naverage = false\n'
        "replay_presentations = 0",
        gate=f'interpolation = "{", ".join(map(str, SHARES))}"',
    )
    with Daemon(root) as daemon:
        for name, version in (("a", "v0001"), ("b", "v0002")):
            part = root / f"{name}.part"
            write_rows(part, 80, tag=name)
            part.rename(root / "inbox" / f"{name}.jsonl")
            daemon.wait_for(lambda s: s["last_verdict"]["promoted"] is not None, "a verdict")
            daemon.wait_for(
                lambda s, v=version: s["last_verdict"]["version"] == v and s["job"] is None, version
            )
            if name == "a":
                prompts = [f"say a{i}" for i in range(30)]
                said = answers(root, "v0001", prompts)
                rows = [
                    {"id": p, "prompt": p, "expected": text}
                    for p, text in said.items()
                    if text.strip()
                ]
                write_canaries(root, rows[:20])
        daemon.terminate()
        assert 0 == daemon.wait_exit()
    return root


@pytest.fixture(scope="module")
def report(root: Path) -> dict[str, Any]:
    return read_json(root / "models" / "versions" / "v0002" / "eval_report.json") or {}


def test_shares_are_tried_until_one_passes_and_that_one_is_judged(
    root: Path, report: dict[str, Any]
) -> None:
    """
    What is published is what was measured: the gate sees the same outcomes.
    """
    tried = report["interpolation"]["tried"]
    assert list(SHARES)[: len(tried)] == [t["a"] for t in tried]
    assert len(tried) > 1  # or the shares are too small to show anything
    assert [*[False] * (len(tried) - 1), True] == [t["passes"] for t in tried]
    assert tried[-1]["a"] == report["interpolation"]["chosen"]
    assert "rejected" != report["verdict"]["outcome"]
    kept = [i for i in report["items"] if i["suite"] == "canaries"]
    assert all(i["outcomes"]["candidate"]["correct"] for i in kept)
    said = answers(root, "v0002", [i["prompt"] for i in kept])
    assert {i["id"]: i["golden"] for i in kept} == said


def test_the_published_report_fits_its_schema(report: dict[str, Any]) -> None:
    """
    The contract of everybody who reads reports.
    """
    jsonschema.validate(report, json.loads(SCHEMA.read_text()))


def test_the_version_says_what_it_was_made_of(root: Path, report: dict[str, Any]) -> None:
    """
    The next job warms up again, for weights that no optimizer step led to.
    """
    manifest = read_json(root / "models" / "versions" / "v0002" / "manifest.json") or {}
    assert report["interpolation"]["chosen"] == manifest["merged_from"]["share"]
    assert "v0001" == manifest["merged_from"]["incumbent"]
    assert "v0001" == manifest["parent"]
    for run in (root / "models" / "runs").iterdir():  # what was tried is not kept
        assert [] == list(run.glob("candidate*"))


def test_a_share_is_the_straight_line_between_the_two(root: Path, tmp_path: Path) -> None:
    """
    Every tensor, and with the base as incumbent the second factor alone.
    """
    versions = root / "models" / "versions"
    base = root / "models" / "base" / "tiny"
    old = Subject("incumbent", base, versions / "v0001", "v0001")
    new = Subject("candidate", base, versions / "v0002")
    assert is_possible(old, new)

    between = load_file(interpolate(old, new, 0.25, tmp_path) / "adapter_model.safetensors")
    a, b = (load_file(v / "adapter_model.safetensors") for v in (versions / "v0001", new.folder))
    for name, tensor in between.items():
        assert torch.allclose(tensor, 0.75 * a[name] + 0.25 * b[name], atol=1e-7)

    alone = interpolate(Subject("incumbent", base, None), new, 0.5, tmp_path)
    for name, tensor in load_file(alone / "adapter_model.safetensors").items():
        assert torch.equal(tensor, b[name] * (0.5 if "lora_B" in name else 1))


def test_models_of_another_shape_are_not_mixed(root: Path, tmp_path: Path) -> None:
    """
    Nothing is interpolated across bases, ranks, or full models.
    """
    versions = root / "models" / "versions"
    base = root / "models" / "base" / "tiny"
    new = Subject("candidate", base, versions / "v0002")

    assert not is_possible(Subject("incumbent", tmp_path, versions / "v0001"), new)
    assert not is_possible(Subject("incumbent", base, None), Subject("candidate", base, base))
