"""
Models loaded from directories onto a device.

Decides precision and device, and puts exactly one adapter on a base. Loads safetensors
only, and imports peft only for adapters. Does not know jobs, data or gates.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from finetuned.config import ModelConfig, TrainingConfig
from finetuned.errors import ConfigError, ModelError
from finetuned.model.types import LanguageModel

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

transformers_logging.disable_progress_bar()


def pick_device(name: str) -> torch.device:
    """
    Return the device that ``model.device`` names on this machine.

    Raises:
        ConfigError: This machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available[name]:
        raise ConfigError(f"model.device is {name!r}, but this machine has no such device")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """
    Return the precision of the weights that ``model.dtype`` names.

    "auto" is bfloat16 on CUDA and float32 on other devices.
    """
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def load_causal_lm(path: Path, config: ModelConfig, *, four_bit: bool = False) -> PreTrainedModel:
    """
    Load the full model in *path* in evaluation mode.

    Args:
        path: A directory with config.json and safetensors.
        config: Precision and device.
        four_bit: Quantise to NF4 while loading (CUDA with bitsandbytes only).

    Raises:
        ConfigError: *four_bit* is impossible here.
        ModelError: The directory holds no loadable causal language model.
    """
    device = pick_device(config.device)
    options: dict[str, Any] = {}
    if four_bit:
        options["quantization_config"] = _four_bit_config(device)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=pick_dtype(config.dtype, device),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            **options,
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not a loadable causal language model: {error}") from error
    # The publisher's sampling settings are for chat; here every answer is greedy.
    model.generation_config = GenerationConfig(
        eos_token_id=model.generation_config.eos_token_id,
        bos_token_id=model.generation_config.bos_token_id,
        pad_token_id=model.generation_config.pad_token_id,
    )
    if not four_bit:
        model.to(device)
    model.eval()
    return model


def _four_bit_config(device: torch.device) -> BitsAndBytesConfig:
    if device.type != "cuda":
        raise ConfigError(
            'training.method = "qlora" needs CUDA and bitsandbytes; '
            f'this machine trains on {device.type}. Use "lora", or "full" for a small model'
        )
    try:
        import bitsandbytes  # noqa: F401  imported for a clear message if it is missing
    except ImportError:
        raise ConfigError(
            'training.method = "qlora" needs bitsandbytes: .venv/bin/pip install bitsandbytes'
        ) from None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def load_version(base: Path, version: Path | None, config: ModelConfig) -> LanguageModel:
    """
    Load a version in evaluation mode: the base alone, base and adapter, or a full model.

    Args:
        base: Directory of the base model.
        version: Folder with an adapter or a full model; None means the base.
        config: Precision and device.

    Raises:
        ModelError: *version* holds neither.
    """
    if version is None:
        return load_causal_lm(base, config)
    if (version / "adapter_config.json").is_file():
        from peft import PeftModel

        model = PeftModel.from_pretrained(load_causal_lm(base, config), version)
        return model.eval()
    if (version / "config.json").is_file():
        return load_causal_lm(version, config)
    raise ModelError(f"{version}: neither adapter_config.json nor config.json")


def load_for_training(
    base: Path, parent: Path | None, config: ModelConfig, training: TrainingConfig
) -> LanguageModel:
    """
    Load the model that a run trains: the parent version, or fresh weights on the base.

    A fresh adapter is initialised from ``training.seed``, so that the same job starts from
    the same bits. An existing adapter keeps its own rank and targets.

    Args:
        base: Directory of the base model.
        parent: Folder of the version to continue from; None starts a lineage.
        config: Precision and device.
        training: Method and LoRA shape.

    Returns:
        The model in training mode, on its device, with at least one trainable parameter.

    Raises:
        ConfigError: The method does not fit the parent or this machine.
        ModelError: No parameter would be trained, or there is more than one adapter.
    """
    _check_method(parent, training)
    if training.method == "full":
        # Most steps of full fine-tuning are smaller than the spacing of bfloat16 weights.
        dtype = "float32" if config.dtype == "auto" else config.dtype
        model = load_causal_lm(parent or base, replace(config, dtype=dtype))
        model.requires_grad_(True)
    else:
        model = _load_with_adapter(base, parent, config, training)
    model.config.use_cache = False
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    model.train()
    if not any(p.requires_grad for p in model.parameters()):
        raise ModelError("no parameter is trainable: this run would change nothing")
    return model


def _check_method(parent: Path | None, training: TrainingConfig) -> None:
    is_adapter = parent is not None and (parent / "adapter_config.json").is_file()
    if parent is not None and is_adapter != (training.method != "full"):
        found = "an adapter" if is_adapter else "a full model"
        raise ConfigError(
            f"training.method is {training.method!r}, but {parent.name} is {found}; "
            "set the method it was trained with, or roll back to the base first"
        )


def _load_with_adapter(
    base: Path, parent: Path | None, config: ModelConfig, training: TrainingConfig
) -> PeftModel:
    from peft import PeftModel, get_peft_model

    core = load_causal_lm(base, config, four_bit=training.method == "qlora")
    if training.method == "qlora":
        from peft import prepare_model_for_kbit_training

        core = prepare_model_for_kbit_training(
            core, use_gradient_checkpointing=training.gradient_checkpointing
        )
    if parent is not None:
        model = PeftModel.from_pretrained(core, parent, is_trainable=True)
        # peft looks the base up when it saves; what the parent calls it is no place here.
        model.peft_config["default"].base_model_name_or_path = str(base)
    else:
        torch.manual_seed(training.seed)
        model = get_peft_model(core, lora_config(training))
    if list(model.peft_config) != ["default"]:
        raise ModelError(f"expected one adapter, found {list(model.peft_config)}")
    return model


def load_adapter_weights(model: PeftModel, version: Path) -> None:
    """
    Replace the adapter weights of *model* with those of *version*, which has the same shape.

    Raises:
        ModelError: The shape differs, or the file cannot be read; the model is then undefined.
    """
    from peft import set_peft_model_state_dict

    try:
        result = set_peft_model_state_dict(model, load_file(version / "adapter_model.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{version}: its adapter does not fit: {error}") from error
    missing = [k for k in result.missing_keys if "lora_" in k]
    if missing or result.unexpected_keys:
        raise ModelError(f"{version}: its adapter has other layers, {missing[:3]} are missing")


def lora_config(training: TrainingConfig) -> LoraConfig:
    """
    Return the configuration of a new adapter, from the training section.
    """
    from peft import LoraConfig

    targets = training.target_modules
    return LoraConfig(
        r=training.r,
        lora_alpha=training.lora_alpha,
        lora_dropout=training.lora_dropout,
        target_modules=targets
        if targets == "all-linear"
        else [t.strip() for t in targets.split(",")],
        bias="none",
        task_type="CAUSAL_LM",
    )


def trainable_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """
    Return the parameters that training changes, by name, in a fixed order.
    """
    return {name: p for name, p in sorted(model.named_parameters()) if p.requires_grad}
