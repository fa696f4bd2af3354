"""
The loss of a micro-batch: each shared prefix computed once, only supervised positions scored.

The same loss and gradients as one row at a time. The prefix is run once, in one
sequence with its branches or with its key/value cache kept in the graph, and the
language head is asked only where a supervised token follows. Works with any causal
language model of transformers whose cache is the standard one; kernels.py checks
that before it is trusted. Does not know plans, optimizers or files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from finetuned.loss.head_loss import LanguageHead, each_cross_entropy, summed_cross_entropy
from finetuned.loss.micro_batch import MicroBatch, Row, make_micro_batch
from finetuned.loss.split_attention import RowLayout, split_attention

MAX_LOGITS = 2**25
"""Most logits held at a time: 128 MiB of float32."""


SHARING = ("split", "cache")
"""Kernels.prefix of the ways that compute a shared beginning once."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """
    How the loss is computed; every choice gives the same loss.
    """

    prefix: str
    """
    "split": shared, one sequence, attention in parts; "cache": shared, two passes;
    "none": rows padded side by side; "stock": padded, all logits, the model's own way.
    """
    attention: str
    """What transformers calls it: "sdpa", "eager", "flash_attention_2" ..."""
    head: str = "chunked"
    """"chunked": head_loss.py; "liger" and "cce": those packages' kernels, on CUDA."""

    def __str__(self) -> str:
        return f"prefix={self.prefix} attention={self.attention} head={self.head}"

    @classmethod
    def parse(cls, text: str) -> Kernels | None:
        """
        Return what str() wrote, or None for any other text.
        """
        fields = dict(part.split("=", 1) for part in text.split() if "=" in part)
        return cls(**fields) if fields.keys() == {"prefix", "attention", "head"} else None


class SupervisedLM(torch.nn.Module):
    """
    A language model with its loss, as one module that data parallelism can wrap.
    """

    def __init__(self, model: Any, kernels: Kernels, *, pad_token_id: int = 0) -> None:
        """
        Args:
            model: A causal language model, possibly inside a PeftModel.
            kernels: How to compute.
            pad_token_id: Fills rows on the right.
        """
        super().__init__()
        self.model = model
        self.kernels = kernels
        self.pad_token_id = pad_token_id
        self.autocast: torch.dtype | None = None
        """Precision of the matrix products when the weights are kept in a wider one."""
        lm = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._lm = [lm]  # in a list: one module, registered once
        self._head = LanguageHead(lm)
        self._scored: torch.Tensor | None = None
        self._hook_last_mlp(lm)

    @property
    def lm(self) -> Any:
        """The language model inside any adapter wrapper."""
        return self._lm[0]

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        found: torch.device = next(p.device for p in self.model.parameters())
        return found

    def forward(self, rows: Sequence[Row]) -> torch.Tensor:
        """
        Return the summed loss of *rows* in nats, a float32 scalar.

        No rows give a loss of zero that is still a function of the parameters, for a
        process that has nothing to do in a step that others work on.
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
            return torch.nn.functional.cross_entropy(
                _picked(logits, batch.slots[batch.scored]).float(), batch.targets, reduction="sum"
            )
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
                scored = _picked(logits, batch.slots[batch.scored]).float()
                losses = torch.nn.functional.cross_entropy(scored, batch.targets, reduction="none")
            else:
                losses = each_cross_entropy(
                    self._head, self._predicting(batch), batch.targets, max_elements=MAX_LOGITS
                )
        total = torch.zeros(len(batch.branches), device=losses.device)
        return total.index_add_(0, batch.owners, losses)

    # -- hidden states -----------------------------------------------------------

    def _predicting(self, batch: MicroBatch) -> torch.Tensor:
        """Return the last hidden states (S, H) of the positions that are scored."""
        if self.training and self.kernels.prefix in SHARING and self._recomputes():
            # transformers then drops the cache, and branches would not see their prefix.
            raise RuntimeError(f"{self.kernels}: not with activations that are computed again")
        if self.kernels.prefix == "split":
            computed, at = len(batch.prefix) + len(batch.slots), len(batch.prefix) + batch.scored
        else:
            computed, at = batch.branches.numel(), batch.slots[batch.scored]
        # What the last layer's MLP says elsewhere reaches no loss. A layer that is run again
        # in backward would not find out which positions were meant.
        few = at if 4 * len(at) < 3 * computed and not self._recomputes() else None
        try:
            with self._autocast():
                if self.kernels.prefix == "split":
                    states = self._in_one_sequence(batch, few)
                elif len(batch.prefix):
                    states = self._through_cache(batch, few)
                else:
                    states = self._padded(batch, few)
                return _picked(states, at)
        finally:
            self._scored = None

    def _states(self, input_ids: torch.Tensor, **arguments: Any) -> torch.Tensor:
        states: torch.Tensor = self.lm.base_model(
            input_ids=input_ids, **arguments
        ).last_hidden_state
        return states

    def _in_one_sequence(self, batch: MicroBatch, scored: torch.Tensor | None) -> torch.Tensor:
        """Run prefix and branches one after another: fewer, larger products, no padding."""
        prefix, (n, width) = len(batch.prefix), batch.branches.shape
        branches = batch.branches.flatten().index_select(0, batch.slots)
        sequence = torch.cat([batch.prefix, branches]).unsqueeze(0)
        places = torch.arange(prefix, device=sequence.device)
        positions = torch.cat([places, prefix + batch.slots % width]).unsqueeze(0)
        self._scored = scored
        with split_attention(self.lm.config, RowLayout(prefix, n, width, batch.slots)):
            return self._states(sequence, position_ids=positions, use_cache=False)

    def _padded(self, batch: MicroBatch, scored: torch.Tensor | None) -> torch.Tensor:
        """Run the rows side by side; the padding is on the right, so no row sees it."""
        self._scored = scored
        with self._attention():
            return self._states(batch.branches, use_cache=False)

    def _through_cache(self, batch: MicroBatch, scored: torch.Tensor | None) -> torch.Tensor:
        """Run the prefix, then the branches on its cache, whose mask is the model's own."""
        cache = DynamicCache()
        with self._attention():
            self._states(batch.prefix.unsqueeze(0), past_key_values=cache, use_cache=True)
            for layer in cache.layers:
                if layer.is_initialized:
                    layer.keys = layer.keys.expand(len(batch.branches), -1, -1, -1)
                    layer.values = layer.values.expand(len(batch.branches), -1, -1, -1)
            places = torch.arange(batch.branches.shape[1], device=batch.branches.device)
            self._scored = scored
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

    def _autocast(self) -> Any:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)

    def _score(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.kernels.head == "chunked" or not len(targets):
            return summed_cross_entropy(self._head, hidden, targets, max_elements=MAX_LOGITS)
        return packaged_loss(self.kernels.head, self._head, hidden, targets)

    def _recomputes(self) -> bool:
        return bool(getattr(self.lm, "is_activation_checkpointing", False))

    def _hook_last_mlp(self, lm: Any) -> None:
        """Let the last layer's MLP work on scored positions only, where it is one module."""
        layers = getattr(lm.base_model, "layers", None) or getattr(lm.base_model, "h", None)
        mlp = getattr(layers[-1], "mlp", None) if layers else None
        if mlp is None:
            return

        shape: list[int] = []

        def select(_: Any, args: tuple[Any, ...]) -> Any:
            if self._scored is None:
                return None
            shape[:] = args[0].shape
            return (_picked(args[0], self._scored).unsqueeze(0), *args[1:])

        def spread(_: Any, args: tuple[Any, ...], output: Any) -> Any:
            if self._scored is None:
                return None
            wide = output.new_zeros(shape[0] * shape[1], output.shape[-1])
            return wide.index_copy(0, self._scored, output[0]).view(shape[0], shape[1], -1)

        mlp.register_forward_pre_hook(select)
        mlp.register_forward_hook(spread)


def _picked(x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """(N, R, H), int64 (S,) -> (S, H). Several times faster than a boolean mask, both ways."""
    return x.reshape(-1, x.shape[-1]).index_select(0, positions)


def packaged_loss(
    name: str, head: LanguageHead, hidden: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """
    Return the summed loss by another package's kernel, for heads without adapters.

    Args:
        name: "liger" (liger-kernel) or "cce" (cut-cross-entropy).
        head: Its weight is used as it is; logit factors are not supported.
        hidden: (S, H).
        targets: (S,).

    Raises:
        ImportError: The package is not installed.
        NotImplementedError: The head does more than one matrix product.
    """
    if head.factor != 1.0 or not isinstance(head.linear, torch.nn.Linear):
        raise NotImplementedError(f"{name}: only for a plain linear head")
    weight = head.linear.weight
    if name == "liger":
        from liger_kernel.transformers import (  # type: ignore[import-not-found]
            LigerFusedLinearCrossEntropyLoss,
        )

        loss = LigerFusedLinearCrossEntropyLoss(reduction="sum", softcap=head.softcap)
        total: torch.Tensor = loss(weight, hidden.to(weight.dtype), targets)
        return total.float()
    from cut_cross_entropy import linear_cross_entropy  # type: ignore[import-not-found]

    total = linear_cross_entropy(
        hidden.to(weight.dtype), weight, targets, reduction="sum", softcap=head.softcap
    )
    return total.float()
