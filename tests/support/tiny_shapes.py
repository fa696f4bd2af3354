"""
Models of other shapes, with random weights and the tokenizer of the tiny base.
"""

from __future__ import annotations

import shutil
from pathlib import Path

SHAPES = ("qwen3", "llama", "gemma3")


def make_shaped(shape: str, tiny_base: Path, folder: Path) -> Path:
    """
    Write a model of *shape* into *folder* and return it.
    """
    import torch
    from transformers import (
        AutoTokenizer,
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        LlamaConfig,
        LlamaForCausalLM,
    )

    if shape == "qwen3":
        shutil.copytree(tiny_base, folder)
        return folder
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 1024,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "tie_word_embeddings": True,
    }
    torch.manual_seed(1)
    if shape == "llama":
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    else:
        model = Gemma3ForCausalLM(
            Gemma3TextConfig(**sizes, sliding_window=512, query_pre_attn_scalar=16)
        )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder
