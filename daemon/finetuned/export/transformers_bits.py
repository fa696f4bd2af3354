"""
A whole model in fewer bits for transformers: weight-only int8 and int4, and NF4 on CUDA.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuned.core.export.request import Quant
from finetuned.errors import ExportRefused

if TYPE_CHECKING:
    from finetuned.config import ModelConfig


def require_bits(quant: Quant, device: str) -> None:
    """
    Raises:
        ExportRefused: This machine cannot write or run a model in this precision.
    """
    if quant is Quant.NF4:
        if device != "cuda":
            raise ExportRefused("--quant nf4 needs an NVIDIA GPU; on this machine use int8 or int4")
        _require("bitsandbytes")
    elif quant is not Quant.NONE:
        _require("torchao")


def bits_config(quant: Quant, config: ModelConfig) -> ModelConfig:
    """
    Return how an export in this precision is loaded: kernels of 4 bits compute in bfloat16.
    """
    return replace(config, dtype="bfloat16") if quant in (Quant.INT4, Quant.NF4) else config


def quantise_folder(folder: Path, quant: Quant, config: ModelConfig) -> None:
    """
    Replace the weights of the model in *folder* by weights of fewer bits.

    Raises:
        ExportRefused: A package or the device for it is missing, or the model has other shapes
            than the precision takes.
    """
    from transformers import AutoModelForCausalLM

    from finetuned.model.load import pick_device

    device = pick_device(config.device).type
    require_bits(quant, device)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            device_map=device,
            dtype="bfloat16" if quant is not Quant.INT8 else "auto",
            quantization_config=_settings(quant),
        )
    except (ImportError, RuntimeError, ValueError, AssertionError) as error:
        raise ExportRefused(f"the model cannot be quantised to {quant}: {error}") from error
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    model.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def _settings(quant: Quant) -> Any:
    import torch

    if quant is Quant.NF4:
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    from torchao.quantization import (  # type: ignore[import-not-found, unused-ignore]
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        PerGroup,
    )
    from transformers import TorchAoConfig

    if quant is Quant.INT8:
        return TorchAoConfig(quant_type=Int8WeightOnlyConfig())
    four_bits: torch.dtype = torch.int4  # type: ignore[attr-defined]  # its stubs lack it
    return TorchAoConfig(
        quant_type=IntxWeightOnlyConfig(weight_dtype=four_bits, granularity=PerGroup(32))
    )


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ExportRefused(
            f"the package {package} is not installed: .venv/bin/pip install {package}"
        )
