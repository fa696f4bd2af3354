"""
The engine's loss and gradients are those of one row at a time through the stock model.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from finetuned.model.fused_lora import fuse_lora
from finetuned.model.head_loss import LanguageHead, summed_cross_entropy
from finetuned.model.micro_batch import MIN_SHARED, Row, make_micro_batch, shared_length
from finetuned.model.supervised import Kernels, SupervisedLM
from support.engine import (
    ARCHITECTURES,
    SPLIT,
    distance,
    gradients,
    make_lm,
    one_by_one,
    row,
    tokens,
    with_lora,
)

WAYS = [
    (name, way)
    for name in ARCHITECTURES
    for way in (*(("split",) if name in SPLIT else ()), "cache", "none", "stock")
]

_HEAD = tokens(40, 0)  # twice the sliding window of those models that have one


def _conversation() -> list[Row]:
    """Rows that share 40 tokens: three turns, a one-token answer, unlike lengths."""
    return [
        row(_HEAD + tokens(30, 1), (45, 50), (58, 59), (64, 70)),
        row(_HEAD + tokens(9, 2), (48, 49)),
        row(_HEAD + tokens(21, 3), (50, 61)),
        row(_HEAD + tokens(3, 4), (41, 43)),
    ]


def _to_the_border() -> list[Row]:
    """Equal up to and past the last token that may be shared: the first answer is equal too."""
    same = tokens(32, 5)
    return [row(same + tokens(n, 6 + n), (30, 32 + n)) for n in (4, 7, 1)]


CASES = {
    "conversation": (_conversation(), 40),
    "border": (_to_the_border(), 29),
    "nothing shared": ([row(tokens(20 + 9 * i, 20 + i), (12, 18 + i)) for i in range(3)], 0),
    "one row": ([row(tokens(37, 30), (30, 37))], 0),
    "answer at once": ([row(tokens(12 + i, 40 + i), (0, 12 + i)) for i in range(2)], 0),
}
"""Rows, and how many tokens they can share."""


def engine(
    model: Any, prefix: str, rows: list[Row], *, autocast: torch.dtype | None = None
) -> tuple[float, dict[str, torch.Tensor]]:
    lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    supervised = SupervisedLM(model, Kernels(prefix, lm.config._attn_implementation))
    supervised.autocast = autocast
    model.zero_grad(set_to_none=True)
    loss = supervised(rows)
    loss.backward()
    return float(loss.detach()), gradients(model)


@pytest.mark.parametrize("case", CASES)
def test_the_cases_share_what_they_say(case: str) -> None:
    """
    Each case is the case it is named for: a shared length that is zero tests nothing else.
    """
    rows, shared = CASES[case]
    assert shared == shared_length(rows)


@pytest.mark.parametrize(("name", "prefix"), WAYS)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_gradients_are_those_of_one_row_at_a_time(name: str, prefix: str, method: str) -> None:
    """
    Every architecture, every way, adapters and whole models: 1e-5 relative in float32.
    """
    lm = make_lm(name)
    stock = with_lora(lm) if method == "lora" else lm
    ours = copy.deepcopy(stock)
    if method == "lora" and name != "gpt2":  # Conv1D is not a plain linear layer
        assert fuse_lora(ours) > 0
    for case, (rows, _) in CASES.items():
        expected_loss, expected = one_by_one(stock, rows)
        loss, found = engine(ours, prefix, rows)
        gap = distance(found, expected)
        print(f"{name} {prefix} {method} {case}: {gap:.1e}")
        assert expected_loss == pytest.approx(loss, rel=1e-5)
        assert gap <= 1e-5, case


@pytest.mark.parametrize("precision", ["weights", "autocast"])
@pytest.mark.parametrize(("name", "prefix"), WAYS)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_bfloat16_is_as_near_to_float32_as_the_stock_model_is(
    name: str, prefix: str, method: str, precision: str
) -> None:
    """
    The rounding of bfloat16 is what the stock model itself is off by: at most twice that here.

    Both are compared with the same weights in float32. Two sums of the same numbers in another
    order differ by as much as either differs from the truth, so twice is the most that rounding
    alone explains; a wrong mask is off by the order of 1.
    """
    rows, _ = CASES["conversation"]
    lm = make_lm(name)
    if precision == "weights":
        lm = lm.to(torch.bfloat16)
    low = with_lora(lm) if method == "lora" else lm
    true = copy.deepcopy(low).float()
    ours = copy.deepcopy(low)
    if method == "lora":
        fuse_lora(ours)
    autocast = torch.bfloat16 if precision == "autocast" else None
    expected_loss, expected = one_by_one(true, rows)
    stock_loss, stock = one_by_one(low, rows, autocast=autocast)
    loss, found = engine(ours, prefix, rows, autocast=autocast)
    rounding, gap = distance(stock, expected), distance(found, expected)
    print(f"{name} {prefix} {method} {precision}: stock {rounding:.1e}, ours {gap:.1e}")
    assert gap <= 2 * rounding
    assert expected_loss == pytest.approx(loss, rel=0.02)
    assert expected_loss == pytest.approx(stock_loss, rel=0.02)


@pytest.mark.parametrize(("name", "prefix"), WAYS)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_no_rows_give_zero_and_a_gradient_of_zero(name: str, prefix: str, method: str) -> None:
    """
    A process without work in a step still has a gradient for everything it trains: zero.
    """
    lm = make_lm(name)
    model = with_lora(lm) if method == "lora" else lm
    supervised = SupervisedLM(model, Kernels(prefix, lm.config._attn_implementation))
    loss = supervised([])
    loss.backward()
    assert 0.0 == float(loss.detach())
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    # Learnt positions and the like are there as a whole as soon as one row of them is used.
    assert [] == missing
    assert all((g == 0).all() for g in gradients(model).values())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_recomputed_activations_give_the_same_gradients(method: str) -> None:
    """
    Gradient checkpointing runs each layer again after the engine has left it.
    """
    rows, _ = CASES["conversation"]
    lm = make_lm("qwen3")
    stock = with_lora(lm) if method == "lora" else lm
    ours = copy.deepcopy(stock)
    core = ours.get_base_model() if method == "lora" else ours
    core.gradient_checkpointing_enable({"use_reentrant": False})
    core.enable_input_require_grads()
    _, expected = one_by_one(stock, rows)
    _, found = engine(ours, "none", rows)
    assert distance(found, expected) <= 1e-5


def test_a_rows_own_loss_is_the_same_in_company() -> None:
    """
    row_losses, which early stopping looks at, gives each row what it has alone.
    """
    rows, _ = CASES["conversation"]
    lm = make_lm("llama")
    expected = torch.tensor([one_by_one(lm, [r])[0] for r in rows])
    for prefix in ("split", "cache", "none", "stock"):
        supervised = SupervisedLM(lm, Kernels(prefix, "sdpa"))
        batch = make_micro_batch(rows, 0, share=prefix in ("split", "cache"))
        found = supervised.row_losses(batch)
        assert torch.allclose(expected, found, rtol=1e-5), prefix


def test_padding_is_never_seen() -> None:
    """
    What fills a row on the right changes no gradient.
    """
    rows, _ = CASES["conversation"]
    lm = make_lm("mistral")
    found = []
    for pad in (0, 77):
        lm.zero_grad()
        SupervisedLM(lm, Kernels("cache", "sdpa"), pad_token_id=pad)(rows).backward()
        found.append(gradients(lm))
    body = {k: v for k, v in found[0].items() if "embed" not in k}
    assert distance({k: found[1][k] for k in body}, body) <= 1e-6


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


def test_a_prefix_that_is_not_worth_a_pass_is_not_shared() -> None:
    """
    Below MIN_SHARED rows are padded side by side.
    """
    same = tokens(MIN_SHARED - 1, 9)
    rows = [row(same + [3 + i, 9, 9], (len(same) + 1, len(same) + 3)) for i in range(2)]
    assert 0 == shared_length(rows)
    assert 0 == len(make_micro_batch(rows, 0).prefix)
