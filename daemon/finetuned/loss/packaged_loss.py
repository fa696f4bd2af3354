"""
The summed loss by kernels of other packages: liger-kernel and cut-cross-entropy.
"""

from __future__ import annotations

import torch

from finetuned.loss.head_loss import LanguageHead


def packaged_loss(
    name: str, head: LanguageHead, hidden: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """
    Return the summed loss in nats, a float32 scalar, for heads without adapters.

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
