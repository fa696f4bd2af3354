"""
The parts the engine puts in place of peft's adapter and of the head give what those give.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from finetuned.loss.fused_lora import fuse_lora
from finetuned.loss.head_loss import LanguageHead, summed_cross_entropy
from support.engine import gradients, make_lm, with_lora

# -- the adapter as one node ---------------------------------------------------------


class _Layer(torch.nn.Module):
    """Two linear layers that adapters go on."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.config = {"model_type": "none"}
        self.first = torch.nn.Linear(24, 40, bias=bias)
        self.second = torch.nn.Linear(40, 12, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def _adapted(*, bias: bool = True, **options: Any) -> Any:
    torch.manual_seed(3)
    options = {"target_modules": ["first", "second"], "task_type": None, **options}
    return with_lora(_Layer(bias=bias), **options)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rslora", [True, False])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_a_fused_adapter_is_pefts_own(
    bias: bool, rslora: bool, autocast: torch.dtype | None
) -> None:
    """
    Output, gradient of the input and of both matrices are peft's; in bfloat16 within 2^-7.
    """
    plain = _adapted(bias=bias, use_rslora=rslora)
    fused = copy.deepcopy(plain)
    assert 2 == fuse_lora(fused)
    limit = 1e-6 if autocast is None else 2.0**-7  # one unit in the last place
    found = []
    for model in (plain, fused):
        torch.manual_seed(4)
        x = torch.randn(5, 7, 24, requires_grad=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast is not None):
            y = model(x)
        weights = torch.randn(y.shape)
        (y.float() * weights).sum().backward()
        found.append({"y": y.detach().double(), "x": x.grad.double(), **gradients(model)})
        assert (torch.float32 if autocast is None else autocast) == y.dtype
    for key, expected in found[0].items():
        gap = float((found[1][key] - expected).norm() / expected.norm())
        assert gap <= limit, key


@pytest.mark.parametrize(
    "options", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True, "bias": "none"}]
)
def test_what_is_not_plain_lora_is_left_to_peft(options: dict[str, Any]) -> None:
    """
    Dropout, DoRA and a bias in the adapter are other mathematics.
    """
    assert 0 == fuse_lora(_adapted(**options))


def test_a_trained_base_is_left_to_peft() -> None:
    """
    The fused node has no gradient for the base's weight, so it never stands where one is wanted.
    """
    model = _adapted()
    model.get_base_model().first.base_layer.weight.requires_grad_(True)
    assert 1 == fuse_lora(model)


def test_several_adapters_are_left_to_peft() -> None:
    """
    Which of them counts is decided at each call.
    """
    from peft import LoraConfig

    model = _adapted()
    model.add_adapter("other", LoraConfig(r=2, target_modules=["first", "second"]))
    model.base_model.set_adapter(["default", "other"])
    assert 0 == fuse_lora(model)


def test_a_fused_adapter_can_be_switched_off_and_merged() -> None:
    """
    Evaluation of the base and merging go through the same layers.
    """
    plain, fused = _adapted(), _adapted()
    fuse_lora(fused)
    x = torch.randn(3, 24)
    with plain.disable_adapter(), fused.disable_adapter():
        assert torch.equal(plain(x), fused(x))
    before = fused(x)
    fused.merge_adapter()
    assert torch.allclose(before, fused(x), atol=1e-5)


# -- the head in chunks -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen3", "llama", "gemma2", "granite"])
@pytest.mark.parametrize("trained", [True, False])
def test_a_head_in_chunks_is_the_head(name: str, trained: bool) -> None:
    """
    Softcap, scaling, a tied and an untied head: loss and gradients as from all logits at once.
    """
    lm = make_lm(name)
    lm.requires_grad_(trained)
    head = LanguageHead(lm)
    found = []
    for most in (10**9, 3 * head.vocabulary + 5):
        lm.zero_grad()
        torch.manual_seed(7)
        hidden = torch.randn(17, 64, requires_grad=True)
        targets = torch.randint(0, head.vocabulary, (17,))
        loss = summed_cross_entropy(head, hidden, targets, max_elements=most)
        (loss * 0.37).backward()
        found.append({"loss": loss.detach().double(), "hidden": hidden.grad.double()})
        if trained:
            found[-1]["head"] = head.linear.weight.grad.double()
    for key, expected in found[0].items():
        assert float((found[1][key] - expected).norm() / expected.norm()) <= 1e-6, key
    logits = lm.lm_head(hidden)
    if name == "granite":
        logits = logits / 3.0
    if name == "gemma2":
        logits = 3.0 * torch.tanh(logits / 3.0)
    whole = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    assert float(whole.detach()) == pytest.approx(float(found[0]["loss"]), rel=1e-6)


@pytest.mark.parametrize("with_gradient", [True, False])
def test_logits_never_exceed_their_limit(with_gradient: bool) -> None:
    """
    The largest output of the head's product is what was allowed, whatever the positions.
    """
    lm = make_lm("llama")
    head = LanguageHead(lm)
    sizes: list[int] = []
    head.linear.register_forward_hook(lambda _, __, output: sizes.append(output.numel()))
    limit = 4 * head.vocabulary + 1
    with torch.set_grad_enabled(with_gradient):
        summed_cross_entropy(
            head, torch.randn(103, 64), torch.zeros(103, dtype=torch.long), max_elements=limit
        )
    assert 103 * head.vocabulary == sum(sizes)
    assert 4 * head.vocabulary == max(sizes)
