"""
What is exported, in which precisions, and whether that can be done at all: known before work.

Pure: names and sizes in, steps or reasons out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from finetuned.errors import ExportRefused


class Target(StrEnum):
    """
    What an export is made for.
    """

    HF = "hf"  # a folder that AutoModelForCausalLM loads
    VLLM = "vllm"  # the same folder, which vLLM serves
    GGUF = "gguf"  # files of llama.cpp
    OLLAMA = "ollama"  # the same files with a Modelfile
    ADAPTER = "adapter"  # the adapter alone: a PEFT folder, and a GGUF LoRA


class Quant(StrEnum):
    """
    The precision of exported weights.
    """

    NONE = "none"  # as the base is stored: float32 or bfloat16
    Q8_0 = "q8_0"
    Q5_K_M = "q5_k_m"
    Q4_K_M = "q4_k_m"
    INT8 = "int8"
    INT4 = "int4"
    NF4 = "nf4"


LLAMA_CPP: Final = (Target.GGUF, Target.OLLAMA)
"""Targets whose weights are a GGUF file."""

_ALLOWED: Final = {
    Target.HF: (Quant.NONE, Quant.INT8, Quant.INT4, Quant.NF4),
    Target.VLLM: (Quant.NONE,),
    Target.GGUF: (Quant.Q8_0, Quant.Q5_K_M, Quant.Q4_K_M, Quant.NONE),
    Target.OLLAMA: (Quant.Q8_0, Quant.Q5_K_M, Quant.Q4_K_M, Quant.NONE),
    Target.ADAPTER: (Quant.NONE,),
}
"""The precisions of each target; the first is the one that is taken if none is named."""

BITS: Final = {
    Quant.Q8_0: 8.5,
    Quant.Q5_K_M: 6.0,
    Quant.Q4_K_M: 5.2,
    Quant.INT8: 8.5,
    Quant.INT4: 5.0,
    Quant.NF4: 5.0,
}
"""Bits of one weight, for foreseeing sizes; K-quants keep some matrices in more bits."""

_SPARE: Final = 1.1
"""Disk that is asked for, as a multiple of what is foreseen."""


@dataclass(frozen=True, slots=True)
class Request:
    """
    One export, as somebody asks for it.
    """

    target: Target
    quants: tuple[Quant, ...]
    """Each once, in the order given."""


def request_of(target: str, quants: str | None) -> Request:
    """
    Return the export that the words of a command mean.

    Args:
        target: A target's name.
        quants: Names of precisions between commas; None takes the target's usual one.

    Raises:
        ValueError: A name is not known, or the target has no such precision.
    """
    wanted = Target(target)
    allowed = _ALLOWED[wanted]
    if quants is None:
        return Request(wanted, (allowed[0],))
    names = [name.strip().lower() for name in quants.split(",") if name.strip()]
    unknown = [name for name in names if name not in {str(q) for q in allowed}]
    if unknown or not names:
        raise ValueError(
            f"--to {wanted} takes --quant {','.join(allowed)}, "
            f"not {', '.join(unknown) or 'nothing'}"
        )
    return Request(wanted, tuple(dict.fromkeys(Quant(name) for name in names)))


def require_architecture(name: str, known: Collection[str]) -> None:
    """
    Raises:
        ExportRefused: llama.cpp's converter does not know models of this class.
    """
    if name not in known:
        raise ExportRefused(
            f"llama.cpp's converter has no architecture {name or '(config.json names none)'}; "
            f"it knows {len(known)} others. Export with --to hf, or use a base model that it knows"
        )


def needed_bytes(stored_bytes: int, bits: int, request: Request) -> int:
    """
    Return how much disk an export takes while it is made.

    Args:
        stored_bytes: Size of the base's weights, in bytes.
        bits: Bits of one stored weight, 16 or 32.
        request: What is exported.
    """
    if request.target is Target.ADAPTER:
        return int(stored_bytes * 0.1 * _SPARE)
    parts: list[float] = [stored_bytes]  # the whole model
    if request.target in LLAMA_CPP:
        parts.append(stored_bytes)  # the file that is quantised
    parts += [stored_bytes * BITS.get(quant, 0) / bits for quant in request.quants]
    return int(sum(parts) * _SPARE)


def default_name(version: str, request: Request) -> str:
    """
    Return the name of the folder that an export gets if none is given.
    """
    quants: Sequence[Quant] = [q for q in request.quants if q is not Quant.NONE]
    marked = f"-{'-'.join(quants)}" if request.target is Target.HF and quants else ""
    return f"{version}-{request.target}{marked}"
