"""
Models of a known shape with random weights, the same bits for every contestant.

What is measured is speed at a shape; nothing is downloaded. Does not know rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, Qwen3Config

from experiments.bench.settings import LORA_RANK, Settings

MICRO = Path(__file__).resolve().parents[2] / "models" / "base" / "micro"

QWEN3: dict[str, dict[str, Any]] = {
    # For tests: trains a step in some milliseconds.
    "tiny": {
        "vocab_size": 256,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
    },
    "4m": {
        "vocab_size": 4096,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
    },
    "33m-32k": {
        "vocab_size": 32768,
        "hidden_size": 512,
        "intermediate_size": 1600,
        "num_hidden_layers": 5,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 64,
    },
    # config.json of Qwen/Qwen3-0.6B
    "qwen3-0.6b": {
        "vocab_size": 151936,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40960,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    },
}
SHAPES = ("micro", *QWEN3)
"""micro is the architecture of models/base/micro, 4 M parameters."""


def model_config(name: str) -> Any:
    """
    Return the transformers configuration of a shape.

    Raises:
        KeyError: There is no such shape.
        OSError: models/base/micro is not there.
    """
    if name == "micro":
        return AutoConfig.from_pretrained(MICRO, local_files_only=True)
    return Qwen3Config(
        **{"max_position_embeddings": 2048, **QWEN3[name]},
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )


def build_base(settings: Settings, *, attention: str = "sdpa") -> Any:
    """
    Return the base model on its device, weights from the seed.

    Master weights of a full fine-tune are float32 whatever the precision of the
    arithmetic; frozen ones under LoRA are of that precision.
    """
    torch.manual_seed(settings.seed)
    device = torch.device(settings.device)
    dtype = getattr(torch, settings.dtype) if settings.method == "lora" else torch.float32
    config = model_config(settings.model)
    # Wide enough for a few steps to show in the loss: logits of about unit variance.
    config.initializer_range = config.hidden_size**-0.5
    with device:
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=dtype)
    model.config.use_cache = False
    return model.to(device)


def build_model(settings: Settings, *, attention: str = "sdpa") -> Any:
    """
    Return the model to train, in training mode: the base itself, or adapters on it.
    """
    model = build_base(settings, attention=attention)
    if settings.method == "lora":
        torch.manual_seed(settings.seed)
        model = get_peft_model(
            model,
            LoraConfig(
                r=LORA_RANK,
                lora_alpha=LORA_RANK,
                lora_dropout=0.0,
                target_modules="all-linear",
                bias="none",
                task_type="CAUSAL_LM",
            ),
        )
    return model.train()
