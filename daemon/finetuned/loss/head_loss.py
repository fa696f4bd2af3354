"""
Cross-entropy from hidden states, a chunk of positions at a time.

The logits of all positions are the largest tensor of a training step if the vocabulary
is large. Here they never exceed a given number of elements. The gradient of a chunk is
taken while its logits are in memory, so that none are kept or computed twice, as in
Liger's fused linear cross-entropy (arXiv 2410.10989). Does not know rows.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel


class LanguageHead:
    """
    The language head of a model: hidden states to logits, as in the model's own forward.
    """

    def __init__(self, lm: PreTrainedModel) -> None:
        """
        Args:
            lm: A causal language model, adapters injected or not.
        """
        self.linear = lm.get_output_embeddings()
        config = lm.config.get_text_config()
        self.softcap: float | None = getattr(config, "final_logit_softcapping", None)
        factor = getattr(config, "logit_scale", None)
        divisor = getattr(config, "logits_scaling", None)
        self.factor = (factor or 1.0) / (divisor or 1.0)

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """
        Return logits (S, V) in float32 for hidden states (S, H).
        """
        logits = self.linear(hidden)
        if self.factor != 1.0:
            logits = logits * self.factor
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        wide: torch.Tensor = logits.float()
        return wide

    @property
    def vocabulary(self) -> int:
        """Logits per position."""
        return int(self.linear.weight.shape[0])

    def trained(self) -> list[torch.Tensor]:
        """
        Return the parameters of the head that need a gradient.
        """
        return [p for p in self.linear.parameters() if p.requires_grad]


def _losses(head: LanguageHead, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(head(hidden), targets, reduction="none")


class _ChunkedLoss(torch.autograd.Function):
    """
    The summed loss; gradients are computed in forward and scaled in backward.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        targets: torch.Tensor,
        head: LanguageHead,
        rows: int,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        d_hidden = torch.empty_like(hidden)
        d_weights = [torch.zeros_like(w) for w in weights]
        for start in range(0, len(hidden), rows):
            with torch.enable_grad():
                part = hidden[start : start + rows].detach().requires_grad_()
                loss = _losses(head, part, targets[start : start + rows]).sum()
                found = torch.autograd.grad(loss, [part, *weights])
            total += loss.detach()
            d_hidden[start : start + rows] = found[0]
            for sum_, more in zip(d_weights, found[1:], strict=True):
                sum_ += more
        ctx.save_for_backward(d_hidden, *d_weights)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        d_hidden, *d_weights = ctx.saved_tensors
        scaled = [(d * grads[0]).to(d.dtype) for d in (d_hidden, *d_weights)]
        return scaled[0], None, None, None, *scaled[1:]


def each_cross_entropy(
    head: LanguageHead, hidden: torch.Tensor, targets: torch.Tensor, *, max_elements: int
) -> torch.Tensor:
    """
    Return the loss of each position in nats, float32 (S,); arguments as summed_cross_entropy.

    With a gradient, the logits of every chunk are kept for it.
    """
    rows = max(1, max_elements // head.vocabulary)
    parts = zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True)
    return torch.cat([_losses(head, h, t) for h, t in parts])


def summed_cross_entropy(
    head: LanguageHead, hidden: torch.Tensor, targets: torch.Tensor, *, max_elements: int
) -> torch.Tensor:
    """
    Return the summed loss in nats, a float32 scalar with a gradient.

    Args:
        head: Makes logits.
        hidden: The states that predict, shape (S, H), S >= 0.
        targets: The tokens they should predict, int64 of shape (S,).
        max_elements: Most logits to hold at a time, >= 1; at least one position is done at once.
    """
    rows = max(1, max_elements // head.vocabulary)
    if len(hidden) <= rows or not torch.is_grad_enabled():
        if not len(hidden):
            return hidden.float().sum()
        return each_cross_entropy(head, hidden, targets, max_elements=max_elements).sum()
    total: torch.Tensor = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
        hidden, targets, head, rows, *head.trained()
    )
    return total
