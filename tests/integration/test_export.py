"""
Real exports: llama.cpp's own converter, real files, and a real llama.cpp that answers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from finetuned.config import Config, EvaluationConfig, ModelConfig
from finetuned.core.export.request import request_of
from finetuned.errors import ExportRefused, Unavailable
from finetuned.export import tools
from finetuned.export.folder import PREFIX, building
from finetuned.export.run import export_model
from finetuned.export.wish import Result, Wish
from finetuned.files.manifest import verify_manifest
from finetuned.files.shipped import shipped
from finetuned.layout import Layout
from finetuned.process.environment import child_environment
from finetuned.registry.named_model import find_model
from support.tiny_shapes import SHAPES, make_shaped

MICRO = shipped().bases / "micro"

SURE = 48
"""Tokens that a greedy answer of random weights agrees on."""


class Silent:
    """
    Shows nothing.
    """

    def begin(self, what: str) -> None:
        """
        Say nothing.
        """

    @contextmanager
    def counted(self, what: str, items: int) -> Iterator[Callable[[int], object]]:
        """
        Count for nobody.
        """
        yield lambda n: n


@pytest.fixture
def llama_cpp() -> None:
    """
    llama.cpp's converter and library, or no test.
    """
    for package in (tools.CONVERTER, tools.SENTENCES, tools.ENGINE):
        reason = f"{package.name} is not installed: pip install {package.name}"
        pytest.importorskip(package.module, reason=reason)


PLAIN = (
    "create the user in the zone",
    "add an alias: home, please",
    "which users are in the group?",
    "Delete the share. Then add *.zone to the dns",
)
"""Prompts of words that the embedded base knows."""


def make_root(folder: Path, n: int = 3) -> Layout:
    """
    Return a root with a suite of the first *n* of the PLAIN prompts.
    """
    layout = Layout(folder)
    for path in layout.folders():
        path.mkdir(parents=True, exist_ok=True)
    rows = [{"prompt": prompt, "completion": "{}"} for prompt in PLAIN[:n]]
    (layout.benchmarks / "plain.jsonl").write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in rows))
    return layout


def export(
    layout: Layout, model: Path, to: str, quants: str, *, base: str = "micro", items: int = 10
) -> Result:
    config = Config(
        model=ModelConfig(base=base, device="cpu"), evaluation=EvaluationConfig(max_new_tokens=24)
    )
    named = find_model(layout, str(model), base)
    wish = Wish(model=named, request=request_of(to, quants), items=items)
    return export_model(layout, config, wish, Silent())


@pytest.mark.slow
@pytest.mark.usefixtures("llama_cpp")
def test_llama_cpp_says_what_the_embedded_base_says(tmp_path: Path) -> None:
    """
    The same prompts, and the same ids of them: words that it knows are cut alike. 4 items are
    too few to pass, and the export says so.
    """
    layout = make_root(tmp_path, len(PLAIN))

    result = export(layout, MICRO, "ollama", "q8_0,q4_k_m")

    eight, four = (file.parity for file in result.files)
    assert eight is not None
    assert four is not None
    assert (4, 4, 4) == (eight.n_items, eight.same_rendering, eight.same_ids), eight.first
    assert (4, 0) == (four.same_ids, eight.lost)
    assert (
        result.files[1].bytes
        < result.files[0].bytes
        < MICRO.joinpath("model.safetensors").stat().st_size
    )
    assert not result.passed
    assert "too few items" in eight.reason
    assert verify_manifest(result.folder)["passed"] is False
    text = (result.folder / "Modelfile").read_text()
    assert "FROM ./micro-q8_0.gguf\n" in text
    assert 'PARAMETER stop "<|im_end|>"\n' in text
    assert "FAILED" in (result.folder / "README.md").read_text()
    assert [] == [p.name for p in result.folder.parent.iterdir() if p.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.usefixtures("llama_cpp")
@pytest.mark.parametrize("shape", SHAPES)
def test_llama_cpp_says_what_a_model_of_each_shape_says(
    shape: str, tiny_base: Path, tmp_path: Path
) -> None:
    """
    The same prompts and ids, and with weights as they are stored the same answers.

    Random weights come to a tie sooner or later, which the last bits decide: at least the first
    SURE tokens of every answer are the same.
    """
    model = make_shaped(shape, tiny_base, tmp_path / shape)

    result = export(make_root(tmp_path / "root", 3), model, "gguf", "none", base=str(model))

    parity = result.files[0].parity
    assert parity is not None
    assert (3, 3) == (parity.same_rendering, parity.same_ids), parity.first
    assert parity.first is None or parity.first.position >= SURE, parity.first


@pytest.mark.slow
@pytest.mark.usefixtures("llama_cpp")
def test_an_adapter_is_exported_merged_and_alone(tiny_base: Path, tmp_path: Path) -> None:
    """
    The merged folder answers as base and adapter do; the adapter's files have its weights.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config)
    wrapped.save_pretrained(tmp_path / "adapter")
    layout, base = make_root(tmp_path / "root", 3), str(tiny_base)

    merged = export(layout, tmp_path / "adapter", "hf", "none", base=base)
    alone = export(layout, tmp_path / "adapter", "adapter", "none", base=base)

    parity = merged.files[0].parity
    assert parity is not None
    assert (3, 3, 3) == (parity.same_rendering, parity.same_ids, parity.same_answers), parity.first
    assert merged.manifest["merge"]["difference"] < 1e-4
    assert {"peft/adapter_model.safetensors", "adapter.gguf"} < verify_manifest(alone.folder)[
        "files"
    ].keys()


@pytest.mark.slow
def test_a_killed_export_leaves_nothing_with_a_name(tiny_base: Path, tmp_path: Path) -> None:
    """
    What was begun has a name that no reader takes; the next export removes it and succeeds.
    """
    layout = make_root(tmp_path)
    final = layout.exports / "tiny-hf"
    left = layout.exports / f"{PREFIX}tiny-hf"
    command = ["export", str(tiny_base), "--to", "hf", "--items", "0", "--root", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "finetuned", *command],
        env=child_environment(),
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not left.is_dir() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not final.exists()
    assert left.is_dir()

    result = export(layout, tiny_base, "hf", "none", base=str(tiny_base), items=0)

    assert final == result.folder
    verify_manifest(final)
    assert [final] == list(layout.exports.iterdir())


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    tiny_base: Path, tmp_path: Path
) -> None:
    """
    An architecture without a converter, a full model asked for its adapter, a full disk, a
    folder that is there already: each says what to do.
    """
    layout = make_root(tmp_path / "root", 1)
    strange = make_shaped("qwen3", tiny_base, tmp_path / "strange")
    config = orjson.loads((strange / "config.json").read_bytes())
    (strange / "config.json").write_bytes(
        orjson.dumps({**config, "architectures": ["FancyForCausalLM"]})
    )

    with pytest.raises(ExportRefused, match=r"FancyForCausalLM|not installed"):
        export(layout, strange, "gguf", "q8_0", base=str(strange), items=0)
    with pytest.raises(ExportRefused, match="has no adapter"):
        export(layout, tiny_base, "adapter", "none", base=str(tiny_base))
    with (
        pytest.raises(Unavailable, match="MiB are free"),
        building(layout.exports / "x", layout.export_lock, 1 << 60),
    ):
        pass
    (layout.exports / "y").mkdir(parents=True)
    with (
        pytest.raises(ExportRefused, match="is there already"),
        building(layout.exports / "y", layout.export_lock, 0),
    ):
        pass
    assert ["y"] == [p.name for p in layout.exports.iterdir()]
