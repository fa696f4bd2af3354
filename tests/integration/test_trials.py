"""
Weights between two adapters, tried one share after another: which of them is reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetuned.config import GateConfig
from finetuned.core.gate.verdict import Rule, RuleKind, Verdict
from finetuned.core.promotion import VersionVerdict
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.evaluation.interpolate import is_possible
from finetuned.evaluation.measured import MeasuredSubject
from finetuned.evaluation.report import ReportBuilder
from finetuned.evaluation.subjects import CANDIDATE, Subject
from finetuned.evaluation.trials import Look, Trial, failed_suites, strict, try_shares
from finetuned.files.manifest import write_manifest
from support.outcomes import make_suite, measure

SHARES = (0.75, 0.5, 0.25)
NEW = make_suite("heldout-1", 4, SuiteOrigin.NEW)
REJECTED = VersionVerdict.REJECTED
SPEC: Any = None
"""Nothing is reported here."""
BUILDER = ReportBuilder(SPEC, (), {})


def adapter(folder: Path, value: float) -> Path:
    """
    Write a candidate whose only weight is *value*.
    """
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    save_file({"lora_B": torch.full((1,), value)}, folder / "adapter_model.safetensors")
    write_manifest(folder, {"run_id": "r000001"})
    return folder


def run(
    tmp_path: Path, outcomes: Mapping[float, VersionVerdict]
) -> tuple[list[float], list[tuple[float, bool, float | None]]]:
    """
    Try SHARES, each with so many right answers as it has quarters.

    Returns:
        The weights that were looked at, and the records of the trials.
    """
    seen: list[float] = []

    def look(subjects: Mapping[str, Subject], number: int) -> Look:
        # The incumbent's weight is 0 and the candidate's 1: the weight is the share.
        folder = subjects[CANDIDATE].folder
        assert folder is not None
        seen.append(float(load_file(folder / "adapter_model.safetensors")["lora_B"]))
        assert number == len(seen)
        right = int(4 * seen[-1])
        measured = measure(NEW, ["yes"] * right + ["no"] * (4 - right))
        found = {CANDIDATE: MeasuredSubject(None, 1.0, 0.0, {"heldout-1": measured})}
        kind = RuleKind.HARM if outcomes[seen[-1]] is REJECTED else RuleKind.GAIN
        passed = outcomes[seen[-1]] is VersionVerdict.PROMOTED
        return Look(BUILDER, found, Verdict((Rule("old_loss", passed, "", kind),)))

    base = tmp_path / "base"
    old = Subject("incumbent", base, adapter(tmp_path / "old", 0.0), "v0001")
    new = Subject(CANDIDATE, base, adapter(tmp_path / "new", 1.0))
    trials = list(try_shares(SHARES[::-1], {"incumbent": old, CANDIDATE: new}, old, tmp_path, look))
    records = [trial.record() for trial in trials]
    return seen, [(one.a, one.passes, one.accuracy_new) for one in records]


@pytest.mark.parametrize("passing", [VersionVerdict.PROMOTED, VersionVerdict.HELD])
def test_the_largest_share_that_is_not_rejected_ends_the_trials(
    tmp_path: Path, passing: VersionVerdict
) -> None:
    """
    It keeps most of what was learnt; smaller ones are neither made nor asked.
    """
    seen, tried = run(tmp_path, {0.75: REJECTED, 0.5: passing})

    assert [0.75, 0.5] == seen
    assert [(0.75, False, 0.75), (0.5, True, 0.5)] == tried


def test_if_no_share_passes_all_are_on_record(tmp_path: Path) -> None:
    """
    The report still says what was tried.
    """
    seen, tried = run(tmp_path, dict.fromkeys(SHARES, REJECTED))

    assert list(SHARES) == seen
    assert [(a, False, a) for a in SHARES] == tried


def test_adapters_of_one_shape_may_name_their_base_otherwise(tmp_path: Path) -> None:
    """
    A version of an earlier release names it by an absolute path, and another peft wrote it.
    """
    made = {"r": 8, "target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": "/srv/m"}
    other = {**made, "target_modules": ["v_proj", "q_proj"], "peft_version": "0.21.2"}
    other["base_model_name_or_path"] = "models/base/m"
    subjects = []
    for name, config in (("old", made), ("new", other), ("larger", {**other, "r": 16})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(config))
        subjects.append(Subject(name, tmp_path / "base", tmp_path / name))
    old, new, larger = subjects

    assert is_possible(old, new)
    assert not is_possible(new, larger)


def rule(name: str, kind: RuleKind, suite: str | None, *, passed: bool = False) -> Rule:
    return Rule(name, passed, "", kind, suite=suite)


def test_a_trial_is_asked_first_what_the_candidate_failed_alone() -> None:
    """
    The suites that it forgot, or the canaries that it lost; a rule about all together names none.
    """
    harm, gain = RuleKind.HARM, RuleKind.GAIN
    forgot = Verdict(
        (
            rule("old_loss", harm, "a"),
            rule("old_accuracy", harm, "b", passed=True),
            rule("old_together", harm, None),
            rule("canaries", gain, "canaries"),
        )
    )
    lost = Verdict((rule("gain", gain, None, passed=True), rule("canaries", gain, "canaries")))

    assert {"a"} == failed_suites(forgot)
    assert {"canaries"} == failed_suites(lost)
    assert frozenset() == failed_suites(Verdict((rule("old_together", harm, None),)))


def test_a_part_rejects_at_the_level_that_a_suite_has_beside_all_others() -> None:
    """
    Else a share would be put aside for what the whole gate lets pass.
    """
    gate = strict(GateConfig(confidence=0.95), 10)

    assert gate is not None
    assert 0.995 == pytest.approx(gate.confidence)
    assert strict(GateConfig(confidence=0.95), 100) is None


def test_a_share_that_was_not_asked_in_time_does_not_pass() -> None:
    """
    It is held, as missing evidence is, and no weights take the candidate's place unseen.
    """
    late = Verdict((rule("required_suites", RuleKind.GAIN, "a"),))

    assert VersionVerdict.HELD is late.outcome
    assert not Trial(0.5, Look(BUILDER, {}, late)).passes
