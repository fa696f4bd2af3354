"""
The loss of a micro-batch: each shared prefix computed once, only supervised positions scored.

Loss and gradients are those of one row at a time. The prefix is run once, either in one
sequence with its branches or with its key/value cache kept in the graph, and logits are
computed only where a supervised token follows. Works with any causal language model of
transformers that has the standard cache; kernel_check.py checks that before it is used.
Does not know plans, optimizers or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from peft import PeftModel
from transformers import DynamicCache, PreTrainedModel

from finetuned.loss.head_loss import LanguageHead, each_cross_entropy, summed_cross_entropy
from finetuned.loss.micro_batch import MaskedTokens, MicroBatch, make_micro_batch
from finetuned.loss.packaged_loss import packaged_loss
from finetuned.loss.selective_mlp import SelectiveMLP, at_positions
from finetuned.loss.split_attention import RowLayout, split_attention

CHUNK_LOGITS: Final = 2**25
"""Most logits that the loss holds at a time: 128 MiB of float32."""

SHARING: Final = ("split", "cache")
"""The values of Kernels.prefix that compute a shared beginning once."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """
    How the loss is computed; every choice gives the same loss.
    """

    prefix: str
    """
    "split": shared, one sequence, attention in parts; "cache": shared, two passes;
    "none": rows padded side by side; "stock": padded, all logits, the model's own forward.
    """
    attention: str
    """Its name in transformers: "sdpa", "eager", "flash_attention_2" ..."""
    head: str = "chunked"
    """"chunked": head_loss.py; "liger" and "cce": kernels of those packages, on CUDA."""

    def __str__(self) -> str:
        return f"prefix={self.prefix} attention={self.attention} head={self.head}"

    @classmethod
    def parse(cls, text: str) -> Kernels | None:
        """
        Return the kernels that str() wrote as *text*, or None for any other text.
        """
        fields = dict(part.split("=", 1) for part in text.split() if "=" in part)
        return cls(**fields) if fields.keys() == {"prefix", "attention", "head"} else None


class SupervisedLM(torch.nn.Module):
    """
    A language model with its loss, as one module that data parallelism can wrap.
    """

    def __init__(
        self, model: PreTrainedModel | PeftModel, kernels: Kernels, *, pad_token_id: int = 0
    ) -> None:
        """
        Args:
            model: With or without an adapter.
            kernels: How to compute.
            pad_token_id: Fills rows on the right.
        """
        super().__init__()
        self.model = model
        self.kernels = kernels
        self.pad_token_id = pad_token_id
        self.autocast: torch.dtype | None = None
        """Precision of the matrix products; None is that of the weights."""
        lm = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._lm = [lm]  # in a list: one module, registered once
        self._head = LanguageHead(lm)
        self._last_mlp = SelectiveMLP(lm)

    @property
    def lm(self) -> PreTrainedModel:
        """The language model, without an adapter around it."""
        return self._lm[0]

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        found: torch.device = next(p.device for p in self.model.parameters())
        return found

    def forward(self, rows: Sequence[MaskedTokens]) -> torch.Tensor:
        """
        Return the summed loss of *rows* in nats, a float32 scalar.

        Without rows the loss is zero but still a function of the parameters: a rank without
        a micro-batch takes part in the all-reduce of the gradients with it.
        """
        if not rows:
            empty = make_micro_batch([([0, 0], [False, True])], 0).to(self.device)
            hidden = self._predicting(empty)
            with self._autocast():
                return self._head(hidden).sum() * 0.0
        share = self.kernels.prefix in SHARING
        batch = make_micro_batch(rows, self.pad_token_id, share=share).to(self.device)
        return self.batch_loss(batch)

    def batch_loss(self, batch: MicroBatch) -> torch.Tensor:
        """
        Return the summed loss of a micro-batch that is on the device already.
        """
        if self.kernels.prefix == "stock":
            with self._autocast():
                logits = self.model(input_ids=batch.branches, use_cache=False).logits
            scored = at_positions(logits, batch.slots[batch.scored]).float()
            return torch.nn.functional.cross_entropy(scored, batch.targets, reduction="sum")
        hidden = self._predicting(batch)
        with self._autocast():
            return self._score(hidden, batch.targets)

    def row_losses(self, batch: MicroBatch) -> torch.Tensor:
        """
        Return the summed loss of each row, float32 (N,), without gradients.
        """
        with torch.no_grad(), self._autocast():
            if self.kernels.prefix == "stock":
                logits = self.model(input_ids=batch.branches, use_cache=False).logits
                scored = at_positions(logits, batch.slots[batch.scored]).float()
                losses = torch.nn.functional.cross_entropy(scored, batch.targets, reduction="none")
            else:
                losses = each_cross_entropy(
                    self._head, self._predicting(batch), batch.targets, max_elements=CHUNK_LOGITS
                )
        total = torch.zeros(len(batch.branches), device=losses.device)
        return total.index_add_(0, batch.owners, losses)

    # -- hidden states -----------------------------------------------------------

    def _predicting(self, batch: MicroBatch) -> torch.Tensor:
        """Return the last hidden states (S, H) of the positions that are scored."""
        if self.training and self.kernels.prefix in SHARING and self._recomputes():
            # transformers drops the cache then, and branches would not see their prefix.
            raise RuntimeError(f"{self.kernels}: not possible with gradient checkpointing")
        if self.kernels.prefix == "split":
            computed, at = len(batch.prefix) + len(batch.slots), len(batch.prefix) + batch.scored
        else:
            computed, at = batch.branches.numel(), batch.slots[batch.scored]
        # A layer that is run again in backward would not know the positions any more.
        few = at if 4 * len(at) < 3 * computed and not self._recomputes() else None
        try:
            with self._autocast():
                if self.kernels.prefix == "split":
                    states = self._in_one_sequence(batch, few)
                elif len(batch.prefix):
                    states = self._through_cache(batch, few)
                else:
                    states = self._padded(batch, few)
                return at_positions(states, at)
        finally:
            self._last_mlp.positions = None

    def _states(self, input_ids: torch.Tensor, **arguments: Any) -> torch.Tensor:
        states: torch.Tensor = self.lm.base_model(
            input_ids=input_ids, **arguments
        ).last_hidden_state
        return states

    def _in_one_sequence(self, batch: MicroBatch, scored: torch.Tensor | None) -> torch.Tensor:
        """Run prefix and branches as one sequence: fewer, larger products, no padding."""
        prefix, (n, width) = len(batch.prefix), batch.branches.shape
        branches = batch.branches.flatten().index_select(0, batch.slots)
        sequence = torch.cat([batch.prefix, branches]).unsqueeze(0)
        places = torch.arange(prefix, device=sequence.device)
        positions = torch.cat([places, prefix + batch.slots % width]).unsqueeze(0)
        self._last_mlp.positions = scored
        with split_attention(self.lm.config, RowLayout(prefix, n, width, batch.slots)):
            return self._states(sequence, position_ids=positions, use_cache=False)

    def _padded(self, batch: MicroBatch, scored: torch.Tensor | None) -> torch.Tensor:
        """Run the rows side by side; padding is on the right, where no row attends to it."""
        self._last_mlp.positions = scored
        with self._attention():
            return self._states(batch.branches, use_cache=False)

    def _through_cache(self, batch: MicroBatch, scored: torch.Tensor | None) -> torch.Tensor:
        """Run the prefix, then the branches on its cache, with the model's own mask."""
        cache = DynamicCache()
        with self._attention():
            self._states(batch.prefix.unsqueeze(0), past_key_values=cache, use_cache=True)
            for layer in cache.layers:
                if layer.is_initialized:
                    layer.keys = layer.keys.expand(len(batch.branches), -1, -1, -1)
                    layer.values = layer.values.expand(len(batch.branches), -1, -1, -1)
            places = torch.arange(batch.branches.shape[1], device=batch.branches.device)
            self._last_mlp.positions = scored
            return self._states(
                batch.branches,
                position_ids=(len(batch.prefix) + places).unsqueeze(0),
                past_key_values=cache,
                use_cache=True,
            )

    @contextmanager
    def _attention(self) -> Iterator[None]:
        config = self.lm.config
        before = config._attn_implementation
        config._attn_implementation = self.kernels.attention
        try:
            yield
        finally:
            config._attn_implementation = before

    def _autocast(self) -> AbstractContextManager[object]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)

    def _score(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.kernels.head == "chunked" or not len(targets):
            return summed_cross_entropy(self._head, hidden, targets, max_elements=CHUNK_LOGITS)
        return packaged_loss(self.kernels.head, self._head, hidden, targets)

    def _recomputes(self) -> bool:
        return bool(getattr(self.lm, "is_activation_checkpointing", False))
