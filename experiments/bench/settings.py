"""
What is compared with what: the settings all contestants share, and the contestants.

Pure values; imports no torch, so that the tool's --help stays quick.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import Any

WARM_UP_STEPS = 2
"""Optimizer steps on rows of their own, on a model of its own, before the clock starts."""

HELD_OUT_ROWS = 64
LORA_RANK = 16
MAX_GRAD_NORM = 1.0
LEARNING_RATES = {"lora": 1e-3, "full": 1e-4}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """
    Everything that is the same for all contestants of one run.
    """

    workload: str
    model: str = "micro"
    """A name in shapes.SHAPES."""
    method: str = "lora"
    """"lora" (r=16 on all linear layers) or "full"."""
    dtype: str = "float32"
    """"float32", or "bfloat16" (autocast; with LoRA the frozen weights are bfloat16 too)."""
    device: str = "cpu"
    steps: int = 12
    """Measured optimizer steps; the rows are steps * rows_per_step, each trained once."""
    rows_per_step: int = 16
    threads: int = 0
    """CPU threads of torch; 0 leaves torch's default."""
    seed: int = 0

    @property
    def learning_rate(self) -> float:
        """AdamW step size, constant."""
        return LEARNING_RATES[self.method]


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """
    One way to train the rows.
    """

    name: str
    kind: str
    """"ours", "trainer" (transformers.Trainer), "trl" (SFTTrainer) or "unsloth"."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of its TrainingArguments or SFTConfig that differ from the common ones."""
    needs: tuple[str, ...] = ()
    """Packages that must be importable."""
    attention: str = "sdpa"
    bins_per_step: int = 0
    """Packed sequences in one optimizer step, by gradient accumulation; 0 means not packed."""
    cuda_only: bool = False
    same_loss: bool = True
    """False if the setting trains on another loss than one row at a time has."""
    note: str = ""

    def missing(self) -> list[str]:
        """
        Return the packages that are not installed here.
        """
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


_TRL = ("trl", "datasets")
_DENSE = "block-diagonal mask is dense under sdpa"
_FLASH = "flash_attention_2"
_GROUPED = {"train_sampling_strategy": "group_by_length"}


def _packed(strategy: str) -> dict[str, Any]:
    return {"packing": True, "packing_strategy": strategy}


CONTESTANTS = (
    Contestant(name="ours", kind="ours"),
    Contestant(name="trainer-padding", kind="trainer"),
    Contestant(name="trainer-group-by-length", kind="trainer", options=_GROUPED),
    Contestant(name="trl-padding", kind="trl", needs=_TRL),
    Contestant(name="trl-group-by-length", kind="trl", needs=_TRL, options=_GROUPED),
    Contestant(
        name="trl-padding-free",
        kind="trl",
        needs=_TRL,
        options={"padding_free": True},
        note=_DENSE,
    ),
    Contestant(
        name="trl-bfd",
        kind="trl",
        needs=_TRL,
        options=_packed("bfd"),
        bins_per_step=1,
        note=f"one bin is one step; {_DENSE}",
    ),
    Contestant(
        name="trl-bfd-4-bins",
        kind="trl",
        needs=_TRL,
        options=_packed("bfd"),
        bins_per_step=4,
        note="a step is four bins, one after another",
    ),
    Contestant(
        name="trl-bfd-split-4-bins",
        kind="trl",
        needs=_TRL,
        options=_packed("bfd_split"),
        bins_per_step=4,
        note="no row is longer than a bin, so nothing is split",
    ),
    Contestant(
        name="trl-wrapped-4-bins",
        kind="trl",
        needs=_TRL,
        options=_packed("wrapped"),
        bins_per_step=4,
        same_loss=False,
        note="another loss: rows are cut, and each sees the rows before it in its bin",
    ),
    Contestant(
        name="trl-group-by-length-flash",
        kind="trl",
        needs=(*_TRL, "flash_attn"),
        options=_GROUPED,
        attention=_FLASH,
        cuda_only=True,
    ),
    Contestant(
        name="trl-padding-free-flash",
        kind="trl",
        needs=(*_TRL, "flash_attn"),
        options={"padding_free": True},
        attention=_FLASH,
        cuda_only=True,
    ),
    Contestant(
        name="trl-bfd-flash",
        kind="trl",
        needs=(*_TRL, "flash_attn"),
        options=_packed("bfd"),
        attention=_FLASH,
        bins_per_step=1,
        cuda_only=True,
    ),
    Contestant(
        name="trl-bfd-hub-kernels",
        kind="trl",
        needs=(*_TRL, "kernels"),
        options=_packed("bfd"),
        attention="kernels-community/flash-attn2",
        bins_per_step=1,
        cuda_only=True,
        note="attention from the Hugging Face Hub: needs HF_HUB_OFFLINE=0 the first time",
    ),
    Contestant(
        name="trl-group-by-length-liger",
        kind="trl",
        needs=(*_TRL, "liger_kernel"),
        options={**_GROUPED, "use_liger_kernel": True},
        cuda_only=True,
    ),
    Contestant(
        name="trl-bfd-flash-liger",
        kind="trl",
        needs=(*_TRL, "flash_attn", "liger_kernel"),
        options={**_packed("bfd"), "use_liger_kernel": True},
        attention=_FLASH,
        bins_per_step=1,
        cuda_only=True,
    ),
    Contestant(
        name="unsloth-group-by-length",
        kind="unsloth",
        needs=("unsloth", *_TRL),
        options=_GROUPED,
        cuda_only=True,
        note="its own LoRA initialisation",
    ),
    Contestant(
        name="unsloth-packing",
        kind="unsloth",
        needs=("unsloth", *_TRL),
        options=_packed("bfd"),
        bins_per_step=1,
        cuda_only=True,
        note="its own LoRA initialisation",
    ),
)
BY_NAME = {contestant.name: contestant for contestant in CONTESTANTS}


def choose(names: str, *, device: str) -> list[Contestant]:
    """
    Return the contestants of a run, ours first.

    Args:
        names: "all", "none", or peers' names separated by commas; "trl" stands
            for all that begin with ``trl-``.
        device: "cpu" leaves out what runs on CUDA only, unless asked for by name.

    Raises:
        ValueError: There is no such peer; the message lists those that are.
    """
    peers = [c for c in CONTESTANTS if c.kind != "ours"]
    here = [c for c in peers if device == "cuda" or not c.cuda_only]
    if names == "all":
        return [BY_NAME["ours"], *here]
    wanted = [] if names == "none" else [name.strip() for name in names.split(",")]
    unknown = [n for n in wanted if not any(_means(n, c.name) for c in peers)]
    if unknown:
        raise ValueError(f"no such peer: {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    chosen = [
        c
        for c in peers
        if c.name in wanted or (c in here and any(_means(name, c.name) for name in wanted))
    ]
    return [BY_NAME["ours"], *chosen]


def _means(name: str, contestant: str) -> bool:
    """A whole name means itself; the beginning of names means all of them."""
    return contestant == name or (name not in BY_NAME and contestant.startswith(f"{name}-"))
