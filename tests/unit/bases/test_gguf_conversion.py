"""
A model in a GGUF file becomes the same model as a folder that can be trained.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("gguf", reason="the extra gguf is not installed")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from finetuned.bases.gguf import convert_gguf
from finetuned.errors import ModelError
from support.tiny_gguf import POSITIONS, TEMPLATE, make_tiny_gguf


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """
    The folder of a converted model, and the weights that its file stands for.
    """
    folder = tmp_path_factory.mktemp("gguf")
    weights = make_tiny_gguf(folder / "tiny.gguf")
    convert_gguf(folder / "tiny.gguf", folder / "model")
    return folder / "model", {name: torch.from_numpy(w) for name, w in weights.items()}


def test_the_weights_are_those_of_the_file(
    converted: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    """
    Each in its place, queries and keys turned back, rounded to bfloat16 and nothing else.
    """
    folder, expected = converted
    model = AutoModelForCausalLM.from_pretrained(folder)

    assert isinstance(model, LlamaForCausalLM)
    assert torch.bfloat16 == model.dtype
    found = dict(model.named_parameters())
    assert sorted(expected) == sorted(found)
    for name, weight in expected.items():
        assert torch.equal(weight.to(torch.bfloat16), found[name]), name


def test_the_folder_can_be_trained_and_has_no_trace_of_the_format(
    converted: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    """
    transformers refuses to train or to save what is marked as quantised.
    """
    folder, _ = converted
    config = json.loads((folder / "config.json").read_text())

    assert "quantization_config" not in config
    assert ["LlamaForCausalLM"] == config["architectures"]
    assert 100_000.0 == config["rope_parameters"]["rope_theta"]
    assert (True, POSITIONS) == (config["tie_word_embeddings"], config["max_position_embeddings"])
    assert [] == [p for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".gguf")]


def test_each_digit_is_a_token_and_template_and_special_tokens_are_kept(
    converted: tuple[Path, dict[str, torch.Tensor]],
) -> None:
    """
    The merges have 12, which the publisher's tokenizer never reaches: digits stand alone.
    """
    tokenizer = AutoTokenizer.from_pretrained(converted[0])

    assert ["he", "1", "2", "Ġ", "1", "2", "1"] == tokenizer.tokenize("he12 121")
    assert TEMPLATE == tokenizer.chat_template
    assert ("<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>") == (
        tokenizer.bos_token,
        tokenizer.eos_token,
        tokenizer.pad_token,
        tokenizer.unk_token,
    )
    text = tokenizer.apply_chat_template([{"role": "user", "content": "he"}], tokenize=False)
    ids = tokenizer(text)["input_ids"]
    assert (1, [2]) == (ids[0], [i for i in ids if i == tokenizer.eos_token_id])
    assert text == tokenizer.decode(ids)


def test_a_way_of_cutting_text_that_is_not_known_is_refused(tmp_path: Path) -> None:
    """
    A tokenizer that cuts differently makes another model of the same weights.
    """
    make_tiny_gguf(tmp_path / "other.gguf", pre="some-other")

    with pytest.raises(ModelError, match=r"other\.gguf cuts text in the way 'some-other'"):
        convert_gguf(tmp_path / "other.gguf", tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("content", [b"", b"not a model at all, but long enough to read"])
def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path, content: bytes) -> None:
    """
    With its name, and without a traceback.
    """
    (tmp_path / "bad.gguf").write_bytes(content)

    with pytest.raises(ModelError, match=r"bad\.gguf cannot be converted"):
        convert_gguf(tmp_path / "bad.gguf", tmp_path / "model")
