"""
Whether a merged model computes what its base and adapter computed: logits on probes.

Everything is compared in float32, before the merged weights are rounded to the type that
they are stored in, so that only float32's own rounding lies between a right merge and
its parts. What is stored has to be these weights, rounded once. Does not know how a model
is merged, nor what depends on the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import torch

from finetuned.config import ModelConfig
from finetuned.files.run import read_json
from finetuned.model.load import load_causal_lm
from finetuned.model.types import LanguageModel

TOLERANCE: Final = 1e-4
"""
Largest difference of two logits, as a share of the largest logit of a probe. Sums in
another order differ by about 1e-6 in float32, and by some times that in deep models.
"""

MAX_PROBES: Final = 8
MAX_PROBE_TOKENS: Final = 256

_SYNTHETIC_TOKENS: Final = 64
"""Tokens of a probe that is made of the vocabulary."""


@dataclass
class MergeCheck:
    """
    Probes, and the logits that base and adapter compute for them.
    """

    probes: list[list[int]]
    """Token ids of each probe."""
    before: list[torch.Tensor] = field(default_factory=list)
    """Logits of base and adapter, a tensor (tokens, vocabulary) per probe; see note."""

    @classmethod
    def of(cls, base: Path, rows: Sequence[Sequence[int]] = ()) -> MergeCheck:
        """
        Return a check for a model that is merged into *base*.

        Args:
            base: Directory of the base model.
            rows: Token ids of rows to probe with; none: ids of the vocabulary.
        """
        return cls(_probes(rows, base))

    @property
    def n_positions(self) -> int:
        """Positions that are compared."""
        return sum(len(probe) for probe in self.probes)

    def note(self, model: LanguageModel) -> None:
        """
        Keep the logits of *model*, base and adapter together in float32, before the merge.
        """
        self.before = [logits(model, probe) for probe in self.probes]

    def difference(self, merged: LanguageModel) -> float:
        """
        Compare the merged model, in float32, with the model that was noted.

        Returns:
            The largest difference of two logits, as a share of the largest one of its
            probe, >= 0; NaN if some logit is not finite.
        """
        return largest_difference(self.before, [logits(merged, probe) for probe in self.probes])


def first_other_tensor(model: LanguageModel, folder: Path, config: ModelConfig) -> str | None:
    """
    Load the model in *folder*, and return the name of a tensor that is not that of *model*.

    Args:
        model: What *folder* has to hold, in the type in which it is stored.
        folder: A full model.
        config: Its device is used.

    Returns:
        None if all tensors are equal bit for bit.
    """
    expected = model.state_dict()
    found = load_full(folder, config, model.dtype).state_dict()
    names = sorted(expected.keys() ^ found.keys())
    names += [
        name
        for name in expected.keys() & found.keys()
        if not torch.equal(expected[name], found[name])
    ]
    return names[0] if names else None


def largest_difference(before: Sequence[torch.Tensor], after: Sequence[torch.Tensor]) -> float:
    """
    Return the largest difference over all pairs, each as a share of the largest value before.

    NaN if any difference is NaN, which compares as neither larger nor smaller.
    """
    worst = 0.0
    for old, new in zip(before, after, strict=True):
        found = float((new - old).abs().max() / old.abs().max())
        worst = found if not found <= worst else worst
    return worst


def stored_dtype(base: Path) -> torch.dtype:
    """
    Return the type in which weights merged into *base* are stored: float32, else bfloat16.
    """
    config = read_json(base / "config.json") or {}
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return torch.float32 if name == "float32" else torch.bfloat16


def load_full(path: Path, config: ModelConfig, dtype: torch.dtype) -> LanguageModel:
    """
    Load the full model in *path* in *dtype*, on the configured device.
    """
    return load_causal_lm(path, replace(config, dtype=str(dtype)[len("torch.") :]))


def logits(model: LanguageModel, ids: Sequence[int]) -> torch.Tensor:
    """
    Return the model's logits for one sequence, float32 on the CPU, shape (tokens, vocabulary).
    """
    with torch.no_grad():
        found = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits
    rows: torch.Tensor = found[0].float().cpu()
    return rows


def _probes(rows: Sequence[Sequence[int]], base: Path) -> list[list[int]]:
    if rows:
        return [list(row[:MAX_PROBE_TOKENS]) for row in rows[:MAX_PROBES]]
    size = int((read_json(base / "config.json") or {}).get("vocab_size") or 256)
    return [[(7 * i + j) % size for i in range(_SYNTHETIC_TOKENS)] for j in range(MAX_PROBES)]
