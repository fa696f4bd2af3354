"""
The engine's loss and gradients are those of one row at a time through the stock model.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from finetuned.loss.fused_lora import fuse_lora
from finetuned.loss.micro_batch import MIN_SHARED, MaskedTokens, make_micro_batch, shared_length
from finetuned.loss.supervised import Kernels, SupervisedLM
from support.engine import (
    ARCHITECTURES,
    SPLIT,
    PlannedRows,
    distance,
    gradients,
    make_lm,
    one_by_one,
    row,
    tokens,
    train,
    with_lora,
)

WAYS = [
    (name, way)
    for name in ARCHITECTURES
    for way in (*(("split",) if name in SPLIT else ()), "cache", "none", "stock")
]

_HEAD = tokens(40, 0)  # twice the sliding window of those models that have one


def _conversation() -> list[MaskedTokens]:
    """Rows that share 40 tokens: three turns, a one-token answer, unlike lengths."""
    return [
        row(_HEAD + tokens(30, 1), (45, 50), (58, 59), (64, 70)),
        row(_HEAD + tokens(9, 2), (48, 49)),
        row(_HEAD + tokens(21, 3), (50, 61)),
        row(_HEAD + tokens(3, 4), (41, 43)),
    ]


def _to_the_border() -> list[MaskedTokens]:
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
    model: Any, prefix: str, rows: list[MaskedTokens], *, autocast: torch.dtype | None = None
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


# -- a whole step ------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["split", "cache", "none"])
def test_a_step_is_the_same_in_micro_batches_of_any_size(prefix: str, tmp_path: Path) -> None:
    """
    A quarter of the budget, one row at a time, or all at once: the same weights after the step.
    """
    lm = with_lora(make_lm("qwen3"))
    same = [row(_HEAD + tokens(6 + 3 * i, 50 + i), (42, 46 + 3 * i)) for i in range(12)]
    other = [row(tokens(20 + i, 70 + i), (15, 20 + i)) for i in range(4)]
    rows = PlannedRows([*same, *other], rows_per_step=16)
    assert 1 == len(rows.plan)
    found, counts = [], []
    for max_tokens in (400, 100, 16):
        model = copy.deepcopy(lm)
        trainer = train(model, rows, tmp_path, max_tokens=max_tokens, prefix=prefix)
        found.append({n: p.detach() for n, p in model.named_parameters() if p.requires_grad})
        counts.append(len(rows.plan.micro_batches(0, max_tokens)))
        assert 1 == trainer.state.global_step
        assert trainer.bad_steps == 0
    assert counts[0] < counts[1] < counts[2] == 16
    before = dict(lm.named_parameters())
    for weights in found[1:]:
        for name, expected in found[0].items():
            assert float((weights[name] - expected).abs().max()) <= 1e-6, name
            assert not torch.equal(before[name], expected)


def test_a_step_divides_by_its_supervised_tokens(tmp_path: Path) -> None:
    """
    Long answers and short ones count by token: the gradient is that of the mean over tokens.
    """
    lm = make_lm("llama")
    rows, _ = CASES["conversation"]
    planned = PlannedRows(rows, rows_per_step=len(rows))
    model = copy.deepcopy(lm)
    trainer = train(model, planned, tmp_path, max_tokens=60)
    n = sum(sum(flags[1:]) for _, flags in rows)
    loss, expected = one_by_one(lm, rows)
    norm = torch.cat([g.flatten() for g in expected.values()]).norm() / n
    assert n == trainer.last_step.supervised_tokens
    assert loss / n == pytest.approx(trainer.last_step.loss, rel=1e-5)
    assert float(norm) == pytest.approx(trainer.last_step.grad_norm, rel=1e-5)


def test_a_prefix_that_is_not_worth_a_pass_is_not_shared() -> None:
    """
    Below MIN_SHARED rows are padded side by side.
    """
    same = tokens(MIN_SHARED - 1, 9)
    rows = [row([*same, 3 + i, 9, 9], (len(same) + 1, len(same) + 3)) for i in range(2)]
    assert 0 == shared_length(rows)
    assert 0 == len(make_micro_batch(rows, 0).prefix)
