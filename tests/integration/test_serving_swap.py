"""
Versions are loaded beside each other, and each answers as it does alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from finetuned.core.generation import (
    EngineSettings,
    Finished,
    HeldModel,
    Piece,
)
from finetuned.files.manifest import write_manifest
from finetuned.model.load import load_causal_lm
from finetuned.serving.engine.load import ModelLoader
from support.serving import CPU, MICRO, alone, asked, make_adapter, running_engine

QUESTION = "please add a dns record for web01.example.com pointing to 10.0.0.7"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HeldModel]:
    """
    The base and two adapters on it that change its answers.
    """
    made = {"base": HeldModel(name="base", base=MICRO)}
    for seed, name in enumerate(("one", "two")):
        folder = tmp_path_factory.mktemp(name)
        make_adapter(folder, seed)
        write_manifest(folder, {})
        made[name] = HeldModel(name=name, base=MICRO, folder=folder)
    return made


def test_versions_on_one_base_share_what_they_do_not_change(models):
    """
    Merging one leaves the base and the other as they were.
    """
    loader = ModelLoader(EngineSettings(device="cpu"))
    loaded = [loader.load(models[name]).own.lm for name in ("base", "one", "two")]
    shared = [lm._lm.get_input_embeddings().weight.data_ptr() for lm in loaded]
    own = [lm._lm.model.layers[0].mlp.up_proj.weight for lm in loaded]

    assert 1 == len(set(shared))
    assert 3 == len({weight.data_ptr() for weight in own})
    assert torch.equal(load_causal_lm(MICRO, CPU).model.layers[0].mlp.up_proj.weight, own[0])


def test_each_answers_as_alone_while_they_are_swapped(models):
    """
    A request ends on the version that it began with, and says which it was.
    """
    expected = {name: alone(model, QUESTION) for name, model in models.items()}
    assert 3 == len(set(expected.values()))
    with running_engine(EngineSettings(device="cpu")) as engine:
        engine.hold(models["base"])
        engine.tell(asked("r-base", QUESTION, max_tokens=40))
        engine.until(lambda r: isinstance(r, Piece))
        assert ("one", "base") == engine.hold(models["one"], models["base"]).names
        names = ("one", "base", "one")
        ends = engine.answers(
            *(asked(f"{i}-{n}", QUESTION, n, max_tokens=40) for i, n in enumerate(names))
        )
        assert ("two", "one") == engine.hold(models["two"], models["one"]).names
        ends |= engine.answers(asked("r-two", QUESTION, "two", max_tokens=40))
        ends |= {r.id: r for r in engine.reports if isinstance(r, Finished)}
        assert {"r-base", "0-one", "1-base", "2-one", "r-two"} == set(ends)
        for name, end in ends.items():
            assert name.partition("-")[2] == end.model
            assert expected[end.model] == engine.text(name)


def test_a_damaged_version_is_never_loaded(models, tmp_path):
    """
    What is held stays, also where it was not wanted any more.
    """
    folder = tmp_path / "bad"
    folder.mkdir()
    for file in Path(str(models["one"].folder)).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2] + b"??")
    with running_engine(EngineSettings(device="cpu")) as engine:
        engine.hold(models["base"])
        holding = engine.hold(HeldModel(name="bad", base=MICRO, folder=folder))
        assert ("base",) == holding.names
        assert "sha256" in holding.problems["bad"]
        assert "base" == engine.answers(asked("still", QUESTION))["still"].model
