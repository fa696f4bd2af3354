"""
The service is as sure of an answer as the evaluation was, by the map that the version carries.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from finetuned.config import ModelConfig
from finetuned.core.confidence.calibration import UNCALIBRATED, source_of
from finetuned.core.confidence.signs import Ending
from finetuned.core.generation import Finished, HeldModel
from finetuned.data.render import Renderer
from finetuned.files.confidence_map import CONFIDENCE, map_bytes, read_map
from finetuned.inference.generate import generate
from finetuned.model.load import load_version
from support.eval_reports import make_confidence
from support.serving import MICRO, asked, make_adapter, running_engine

PROMPTS = ("create the user jdoe", "share /srv/data as public", "remove mail.example.org")


def test_an_answer_has_the_confidence_that_the_map_gives_to_its_evaluation(tmp_path: Path) -> None:
    """
    Same tokens, same signs, same map; without one, and with a damaged one, the mean probability.
    """
    folder = tmp_path / "v0007"
    make_adapter(folder, seed=1)
    renderer = Renderer.load(MICRO, max_length=2048)
    answers = generate(
        load_version(MICRO, folder, ModelConfig(device="cpu", dtype="float32")),
        [renderer.conversation_ids([{"role": "user", "content": p}], None) for p in PROMPTS],
        stop_token_ids=renderer.stop_token_ids,
        pad_token_id=renderer.pad_token_id,
        max_new_tokens=24,
        deadline=math.inf,
    )
    data = map_bytes("v0007", make_confidence()["map"])
    for name, written in (("calibrated", data), ("damaged", b"{"), ("none", None)):
        version = tmp_path / name / "v0007"
        version.mkdir(parents=True)
        for file in folder.iterdir():
            (version / file.name).write_bytes(file.read_bytes())
        if written is not None:
            (version / CONFIDENCE).write_bytes(written)
        found = _served(version)
        kept = read_map(version) if name == "calibrated" else None
        for answer, end in zip(answers, found, strict=True):
            assert answer.likelihood is not None
            ending = Ending(answer.likelihood, 0, answer.stopped)
            expected = kept.map.confidence(ending) if kept else answer.likelihood.probability
            assert expected == pytest.approx(end.confidence, abs=1e-3)
            source = source_of(kept.map, "none") if kept else UNCALIBRATED
            assert source.partition(" of ")[0] == str(end.confidence_source).partition(" of ")[0]


def _served(folder: Path) -> list[Finished]:
    """Return the ends of the answers to PROMPTS by an engine process."""
    model = HeldModel(name="mine", base=MICRO, folder=folder)
    with running_engine() as engine:
        assert ("mine",) == engine.hold(model).names
        ends = engine.answers(
            *(asked(str(i), p, model="mine", max_tokens=24) for i, p in enumerate(PROMPTS))
        )
    found = [ends[str(i)] for i in range(len(PROMPTS))]
    assert all(isinstance(end, Finished) for end in found)
    return [end for end in found if isinstance(end, Finished)]
