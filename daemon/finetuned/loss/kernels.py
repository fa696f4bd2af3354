"""
Which way of computing the loss is right and fastest for this model on this machine.

Every candidate is first compared with the model's own loss and gradients on a few
short rows; one that differs, or fails, is out, with the reason. Those that are left
are timed on rows of the job. Does not know jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from finetuned.loss.micro_batch import MIN_SHARED, Row
from finetuned.loss.supervised import Kernels, SupervisedLM

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""
Largest relative difference of loss and gradients that still is rounding. A wrong mask or a
wrong position shows as a difference of the order of 1.
"""

_TIMED = 3
_TIMED_SECONDS = 20.0
"""After this long no further turn begins: a first look is enough for a large model."""
_CHECK_ROWS = 3
_CHECK_PARAMETERS = 8


@dataclass
class Choice:
    """
    What was chosen, and everything that was looked at.
    """

    kernels: Kernels
    autocast: torch.dtype | None
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds of forward and backward of one micro-batch, by candidate."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why a candidate is out."""

    @property
    def precision(self) -> str:
        """What the matrix products are computed in, where it differs from the weights."""
        return "" if self.autocast is None else str(self.autocast).removeprefix("torch.")


def candidates(lm: Any, device: torch.device, *, prefix: str = "auto") -> list[Kernels]:
    """
    Return what may be tried for this model, the plainest last.

    Args:
        lm: The causal language model.
        device: Where it is.
        prefix: training.kernels; other than "auto" leaves only that way, then "stock".
    """
    attention = lm.config._attn_implementation
    stock = Kernels("stock", attention)
    if prefix == "stock":
        return [stock]
    recomputes = any(getattr(m, "gradient_checkpointing", False) for m in lm.modules())
    if prefix == "none" or recomputes:  # what is computed again has no cache to keep
        return [Kernels("none", attention), stock]
    shared = [Kernels("cache", attention)]
    plain = not _slides(lm.config) and not _drops_attention(lm.config)
    if device.type == "cpu" and attention == "sdpa" and plain:
        shared.insert(0, Kernels("split", attention))
    if device.type == "cuda":
        shared += [Kernels("cache", name) for name in _cuda_attentions()]
        shared += [Kernels("cache", attention, head) for head in ("liger", "cce") if _has(head)]
    if prefix != "auto":
        shared = [k for k in shared if k.prefix == prefix]
    return [*shared, Kernels("none", attention), stock]


def _slides(config: Any) -> bool:
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None)
    if kinds is not None:
        return any(kind != "full_attention" for kind in kinds)
    return getattr(text, "sliding_window", None) is not None


def _drops_attention(config: Any) -> bool:
    """Whether attention has dropout while training, which a check without it does not see."""
    text = config.get_text_config()
    return any(getattr(text, name, 0.0) for name in ("attention_dropout", "attn_pdrop"))


def _cuda_attentions() -> list[str]:
    from transformers.utils import is_flash_attn_2_available, is_torch_flex_attn_available

    found = ["flash_attention_2"] if is_flash_attn_2_available() else []
    return [*found, "flex_attention"] if is_torch_flex_attn_available() else found


def _has(head: str) -> bool:
    from importlib.util import find_spec

    return find_spec({"liger": "liger_kernel", "cce": "cut_cross_entropy"}[head]) is not None


def choose(
    model: SupervisedLM,
    rows: Sequence[Row],
    *,
    prefix: str,
    may_autocast: bool,
    on_progress: Callable[[], None],
) -> Choice:
    """
    Check and time the candidates on *model* and leave it set to the best.

    Neither parameters, gradients nor random state are changed by it.

    Args:
        model: In training mode.
        rows: A typical micro-batch of the job, >= 1 row.
        prefix: training.kernels.
        may_autocast: Whether bfloat16 may be tried for weights of float32.
        on_progress: Called between candidates.

    Returns:
        The choice; timings are empty where there was only one candidate.
    """
    choice = Choice(model.kernels, None)
    precisions: list[torch.dtype | None] = [None]
    if may_autocast and has_fast_bfloat16(model.device):
        precisions.append(torch.bfloat16)
    with _aside(model):
        right: list[Kernels] = []
        for kernels in candidates(model.lm, model.device, prefix=prefix):
            if kernels.prefix in ("none", "stock") and right:
                break  # the plain ways are for models that cannot do better
            reason = refusal(model, kernels)
            on_progress()
            if reason is None:
                right.append(kernels)
            else:
                choice.refused[str(kernels)] = reason
        choice.kernels = right[0]
        if len(right) + len(precisions) > 2:
            # The precisions are compared on the way that is used: nothing is chosen unseen.
            ways = [(kernels, None) for kernels in right]
            choice.kernels = _fastest(model, ways, rows, choice, on_progress)[0]
            both = [(choice.kernels, precision) for precision in precisions]
            choice.autocast = _fastest(model, both, rows, choice, on_progress)[1]
    model.kernels, model.autocast = choice.kernels, choice.autocast
    return choice


Way = tuple[Kernels, torch.dtype | None]


def _fastest(
    model: SupervisedLM,
    ways: Sequence[Way],
    rows: Sequence[Row],
    choice: Choice,
    on_progress: Callable[[], None],
) -> Way:
    """
    Time *ways* in turns, so that what else the machine does meets all of them.

    Times and refusals are noted in *choice*; the first way wins where none can be timed.
    """
    if len(ways) == 1:
        return ways[0]
    began = time.monotonic()
    best: dict[str, float] = {}
    for turn in range(_TIMED):
        if turn and time.monotonic() - began > _TIMED_SECONDS:
            break
        for way in ways:
            name = _name(*way)
            if name in choice.refused:
                continue
            try:
                seconds = round(_seconds(model, *way, rows), 5)
            except Exception as error:  # such as: rows of the job that memory has no room for
                choice.refused[name] = f"{type(error).__name__}: {error}"[:300]
                best.pop(name, None)
                model.zero_grad(set_to_none=True)
            else:
                best[name] = min(seconds, best.get(name, seconds))
            on_progress()
    choice.timings |= best
    return min(ways, key=lambda way: best.get(_name(*way), float("inf")))


def _name(kernels: Kernels, precision: torch.dtype | None) -> str:
    return f"{kernels} {str(precision or 'as loaded').removeprefix('torch.')}"


def first_right(
    model: SupervisedLM, ways: Sequence[Kernels], *, agree: Callable[[bool], bool]
) -> Choice:
    """
    Take the first of *ways* that is right, without a clock, and leave *model* set to it.

    Args:
        model: In training mode.
        ways: From candidates; the last, the model's own way, is always right.
        agree: Makes of one process's verdict that of all; called once per way that is checked.
    """
    refused: dict[str, str] = {}
    with _aside(model):
        for kernels in ways:
            reason = refusal(model, kernels)
            if agree(reason is None):
                break
            refused[str(kernels)] = reason or "refused by another process"
    model.kernels, model.autocast = kernels, None
    return Choice(kernels, None, refused=refused)


def has_fast_bfloat16(device: torch.device) -> bool:
    """
    Whether the device multiplies bfloat16 in hardware; float16 is never used on a CPU.
    """
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return False


def refusal(model: SupervisedLM, kernels: Kernels) -> str | None:
    """
    Return why *kernels* cannot be used for this model, or None if they can.

    Compares loss and the gradients of some parameters with the model's own, on
    rows that share a beginning and differ in length.
    """
    if kernels.prefix == "stock":
        return None
    rows = _check_rows(int(model.lm.config.get_text_config().vocab_size))
    limit = TOLERANCE[torch.float32]
    if any(p.dtype == torch.bfloat16 for p in model.parameters()):
        limit = TOLERANCE[torch.bfloat16]
    was_training = model.training
    model.eval()  # without dropout both ways must agree
    try:
        expected = _loss_and_gradients(model, Kernels("stock", kernels.attention), rows)
        found = _loss_and_gradients(model, kernels, rows)
    except Exception as error:  # a kernel that fails here would fail in every step
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        model.train(was_training)
    for name, want, got in zip(("loss", "gradient"), expected, found, strict=True):
        difference = float((want - got).norm() / want.norm().clamp_min(1e-20))
        if not difference <= limit:
            return f"{name} differs by {difference:.2g}, at most {limit:g} is rounding"
    return None


def _check_rows(vocabulary: int) -> list[Row]:
    rng = np.random.Generator(np.random.PCG64(0))
    prefix = rng.integers(0, vocabulary, 2 * MIN_SHARED)
    rows: list[Row] = []
    for i in range(_CHECK_ROWS):
        ids = np.concatenate([prefix, rng.integers(0, vocabulary, 8 + 3 * i)])
        supervised = np.arange(len(ids)) >= len(prefix) + 3
        rows.append((ids.tolist(), supervised.tolist()))
    return rows


def _loss_and_gradients(
    model: SupervisedLM, kernels: Kernels, rows: Sequence[Row]
) -> tuple[torch.Tensor, torch.Tensor]:
    model.kernels, model.autocast = kernels, None
    trained = [p for p in model.parameters() if p.requires_grad]
    some = trained[:: max(1, len(trained) // _CHECK_PARAMETERS)]
    loss = model(rows)
    gradients = torch.autograd.grad(loss, some, allow_unused=True)
    flat = [g.float().flatten() for g in gradients if g is not None]
    return loss.detach().reshape(1), torch.cat(flat) if flat else loss.detach().reshape(1)


def _seconds(
    model: SupervisedLM, kernels: Kernels, precision: torch.dtype | None, rows: Sequence[Row]
) -> float:
    model.kernels, model.autocast = kernels, precision
    _synchronize(model.device)
    began = time.perf_counter()
    model(rows).backward()
    _synchronize(model.device)
    seconds = time.perf_counter() - began
    model.zero_grad(set_to_none=True)
    return seconds


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _aside(model: SupervisedLM) -> Iterator[None]:
    """Leave random state and gradients as they were."""
    before = [(p, p.grad) for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    with torch.random.fork_rng(enabled=True):
        try:
            yield
        finally:
            for parameter, gradient in before:
                parameter.grad = gradient
