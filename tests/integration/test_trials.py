"""
Weights between two adapters, tried one share after another: which of them is reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from finetuned.core.gate.verdict import Rule, RuleKind, Verdict
from finetuned.core.suite_origin import SuiteOrigin
from finetuned.evaluation.interpolate import is_possible
from finetuned.evaluation.measured import MeasuredSubject
from finetuned.evaluation.subjects import Subject
from finetuned.evaluation.trials import Trials
from finetuned.files.manifest import write_manifest
from support.outcomes import make_suite, measure

SHARES = (0.75, 0.5, 0.25)
NEW = make_suite("heldout-1", 4, SuiteOrigin.NEW)
WHOLE = MeasuredSubject(None, 1.0, 0.0, {"heldout-1": measure(NEW, ["yes"] * 4)})


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
    tmp_path: Path,
    right: Mapping[float, int],
    passing: set[float],
    promoted: set[float] | None = None,
) -> tuple[Mapping[str, MeasuredSubject], float | None, list[tuple[float, bool, float | None]]]:
    """
    Try SHARES, each with so many right answers; return subjects, choice and trials.

    Those of *passing* are not rejected; of them *promoted*, or all of them, show a gain.
    """
    shown = passing if promoted is None else promoted
    seen: list[float] = []

    def examine(subject: Subject) -> MeasuredSubject:
        # The incumbent's weight is 0 and the candidate's 1: the weight is the share.
        assert subject.folder is not None
        weights = load_file(subject.folder / "adapter_model.safetensors")
        seen.append(float(weights["lora_B"]))
        n = right[seen[-1]]
        return MeasuredSubject(
            None, 1.0, 0.0, {"heldout-1": measure(NEW, ["yes"] * n + ["no"] * (4 - n))}
        )

    def verdict(_: Mapping[str, MeasuredSubject], trial: int) -> Verdict:
        assert SHARES[trial - 1] == seen[-1]
        harm = Rule("old_loss", seen[-1] in passing, "", RuleKind.HARM)
        return Verdict((harm, Rule("gain", seen[-1] in shown, "", RuleKind.GAIN)))

    base = tmp_path / "base"
    old = Subject("incumbent", base, adapter(tmp_path / "old", 0.0), "v0001")
    new = Subject("candidate", base, adapter(tmp_path / "new", 1.0))
    trials = Trials(shares=SHARES, run_dir=tmp_path, examine=examine, verdict=verdict)
    subjects, found = trials.run(old, new, {"candidate": WHOLE})
    assert list(SHARES) == seen == [trial.a for trial in found.tried]
    tried = [(trial.a, trial.passes, trial.accuracy_new) for trial in found.tried]
    return subjects, found.chosen, tried


@pytest.mark.parametrize(
    ("right", "passing", "chosen"),
    [
        ((4, 2, 3), {0.5, 0.25}, 0.25),
        ((1, 2, 2), {0.5, 0.25}, 0.5),
        ((3, 3, 3), {0.75, 0.5, 0.25}, 0.75),
    ],
    ids=["the best that passes", "the first of two alike", "the first of three alike"],
)
def test_the_trial_with_most_right_answers_of_those_that_pass_is_the_candidate(
    tmp_path: Path, right: tuple[int, int, int], passing: set[float], chosen: float
) -> None:
    """
    Larger shares come first, so of two that are alike the one that learnt more is taken.
    """
    by_share = dict(zip(SHARES, right, strict=True))

    subjects, found, tried = run(tmp_path, by_share, passing)

    assert chosen == found
    assert by_share[chosen] == subjects["candidate"].n_correct()
    assert [(a, a in passing, by_share[a] / 4) for a in SHARES] == tried


def test_a_trial_that_shows_a_gain_comes_before_one_that_is_held(tmp_path: Path) -> None:
    """
    However many more answers of the other are right.
    """
    right = dict(zip(SHARES, (4, 2, 3), strict=True))
    _, chosen, tried = run(tmp_path, right, {0.75, 0.5, 0.25}, promoted={0.5})

    assert 0.5 == chosen
    assert [True, True, True] == [passes for _, passes, _ in tried]


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


def test_if_no_trial_passes_the_whole_candidate_is_judged(tmp_path: Path) -> None:
    """
    The report still says what was tried.
    """
    subjects, chosen, tried = run(tmp_path, dict.fromkeys(SHARES, 1), set())

    assert chosen is None
    assert WHOLE is subjects["candidate"]
    assert [(a, False, 0.25) for a in SHARES] == tried
