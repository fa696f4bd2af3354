"""
Small random models of many architectures, rows, and the plain loss that the engine must equal.

The plain way knows nothing of the engine: one row at a time through the model as
transformers ships it, logits of every position, the cross-entropy of those that are
supervised.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model

from finetuned.config import TrainingConfig
from finetuned.core.learning_rate import WarmUp
from finetuned.data.plan import plan_batches
from finetuned.data.prefixes import block_reader, find_prefixes
from finetuned.loss.micro_batch import MaskedTokens
from finetuned.loss.supervised import Kernels, SupervisedLM
from finetuned.training.optimizer import make_optimizer, make_schedule
from finetuned.training.token_budget import TokenBudget
from finetuned.training.trainer import StreamTrainer

VOCABULARY = 211
_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GEMMA = {**_SHAPE, "head_dim": 16, "sliding_window": 20, "num_hidden_layers": 3}


def _qwen3() -> Any:
    config = transformers.Qwen3Config(**_SHAPE, head_dim=16, tie_word_embeddings=True)
    return transformers.Qwen3ForCausalLM(config)


def _llama() -> Any:
    config = transformers.LlamaConfig(**_SHAPE, attention_bias=True, mlp_bias=True)
    return transformers.LlamaForCausalLM(config)


def _mistral() -> Any:
    return transformers.MistralForCausalLM(transformers.MistralConfig(**_SHAPE, sliding_window=20))


def _gemma2() -> Any:
    config = transformers.Gemma2Config(
        **_GEMMA,
        query_pre_attn_scalar=16,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0,
        attn_implementation="eager",
    )
    return transformers.Gemma2ForCausalLM(config)


def _gemma3() -> Any:
    config = transformers.Gemma3TextConfig(
        **_GEMMA,
        query_pre_attn_scalar=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )
    return transformers.Gemma3ForCausalLM(config)


def _gpt2() -> Any:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_positions=512,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return transformers.GPT2LMHeadModel(config)


def _phi3() -> Any:
    return transformers.Phi3ForCausalLM(transformers.Phi3Config(**_SHAPE))


def _granite() -> Any:
    config = transformers.GraniteConfig(**_SHAPE, logits_scaling=3.0, embedding_multiplier=2.0)
    return transformers.GraniteForCausalLM(config)


def _qwen3_moe() -> Any:
    config = transformers.Qwen3MoeConfig(
        **_SHAPE,
        head_dim=16,
        moe_intermediate_size=48,
        num_experts=4,
        num_experts_per_tok=2,
        decoder_sparse_step=1,
    )
    return transformers.Qwen3MoeForCausalLM(config)


ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "qwen3": _qwen3,
    "llama": _llama,
    "mistral": _mistral,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gpt2": _gpt2,
    "phi3": _phi3,
    "granite": _granite,
}
"""Tied and untied heads, biases, sliding windows, softcaps, scaled logits, Conv1D."""

EXPERTS: dict[str, Callable[[], Any]] = {"qwen3_moe": _qwen3_moe}
"""Whose MLP is several; without adapters here, peft warns of them."""

SPLIT = ("qwen3", "llama", "gpt2", "phi3", "granite")
"""Those that attend to everything, by sdpa: attention in two parts is allowed."""


def make_lm(name: str, *, seed: int = 0) -> Any:
    """
    Return a model in training mode whose weights are far enough from zero to tell masks apart.
    """
    torch.manual_seed(seed)
    model = (ARCHITECTURES | EXPERTS)[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.12)
            else:  # norms and biases too
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.train()


def with_lora(lm: Any, **options: Any) -> Any:
    """
    Return a copy of *lm* with adapters on all linear layers, their B not zero.
    """
    torch.manual_seed(1)
    config = LoraConfig(
        **{
            "r": 4,
            "lora_alpha": 8,
            "target_modules": "all-linear",
            "fan_in_fan_out": isinstance(lm, transformers.GPT2LMHeadModel),
            "task_type": "CAUSAL_LM",
            **options,
        }
    )
    model = get_peft_model(copy.deepcopy(lm), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.1)
    return model.train()


def row(ids: Sequence[int], *spans: tuple[int, int]) -> MaskedTokens:
    """
    Return a row whose tokens in the half-open *spans* are supervised.
    """
    return list(ids), [any(a <= i < b for a, b in spans) for i in range(len(ids))]


def tokens(n: int, seed: int) -> list[int]:
    """
    Return *n* random token ids.
    """
    rng = random.Random(seed)
    return [rng.randrange(3, VOCABULARY) for _ in range(n)]


def plain_loss(
    model: Any, one: MaskedTokens, *, autocast: torch.dtype | None = None
) -> torch.Tensor:
    """
    Return the summed loss of one row, from the logits of all its positions.
    """
    ids, supervised = one
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    targets = torch.tensor(ids[1:])
    wanted = torch.tensor(supervised[1:], dtype=torch.bool)
    return torch.nn.functional.cross_entropy(
        logits[:-1][wanted].float(), targets[wanted], reduction="sum"
    )


def gradients(model: Any) -> dict[str, torch.Tensor]:
    """
    Return a float64 copy of the gradient of everything that is trained, zero where there is none.
    """
    return {
        name: (p.grad if p.grad is not None else torch.zeros_like(p)).double()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def one_by_one(
    model: Any, rows: Sequence[MaskedTokens], *, autocast: torch.dtype | None = None
) -> tuple[float, dict[str, torch.Tensor]]:
    """
    Return loss and gradients of *rows*, each run alone through the stock model.
    """
    model.zero_grad(set_to_none=True)
    total = 0.0
    for one in rows:
        loss = plain_loss(model, one, autocast=autocast)
        loss.backward()
        total += float(loss.detach())
    found = gradients(model)
    model.zero_grad(set_to_none=True)
    return total, found


def distance(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """
    Return the relative L2 distance of two sets of gradients, all parameters as one vector.
    """
    assert expected.keys() == found.keys()
    of = torch.cat([expected[k].flatten() for k in expected])
    gap = torch.cat([(found[k] - expected[k]).flatten() for k in expected])
    return float(gap.norm() / of.norm())


class PlannedRows:
    """
    Rows in memory, read by number as a job's are.
    """

    def __init__(self, rows: Sequence[MaskedTokens], *, rows_per_step: int) -> None:
        self._rows = list(rows)
        flat = np.array([t for ids, _ in rows for t in ids], dtype=np.uint32)
        lengths = np.array([len(ids) for ids, _ in rows], dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        limits = np.array([max(0, flags.index(True) - 1) for _, flags in rows])
        found = find_prefixes(block_reader([(flat, offsets)]), limits, rows_per_batch=rows_per_step)
        self.plan = plan_batches(
            lengths,
            class_of=found.class_of,
            prefix_lengths=found.lengths,
            rows_per_step=rows_per_step,
            max_rows=rows_per_step,
            epochs=1,
            seed=0,
        )

    def __getitem__(self, number: int) -> MaskedTokens:
        return self._rows[number]


def train(
    model: Any,
    rows: PlannedRows,
    scratch: Path,
    *,
    max_tokens: int = 4096,
    prefix: str = "cache",
    callbacks: Sequence[transformers.TrainerCallback] = (),
    **options: Any,
) -> StreamTrainer:
    """
    Train *model* on all of *rows* by the product's trainer, at one rate, and return that.
    """
    rate = {"learning_rate": 1e-3, "lr_scheduler_type": "constant", "warmup_steps": 0}
    config = TrainingConfig(**{**rate, **options})
    lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = make_optimizer(trained, config)
    trainer = StreamTrainer(
        SupervisedLM(model, Kernels(prefix, lm.config._attn_implementation)),
        rows=rows,  # type: ignore[arg-type]  # read by number only
        plan=rows.plan,
        start=0,
        budget=TokenBudget(max_tokens, on_change=lambda _: None),
        optimizer=optimizer,
        schedule=make_schedule(
            optimizer,
            config,
            warm_up=WarmUp(0, config.warmup_steps),
            lineage_step=0,
            job_step=0,
            total_steps=len(rows.plan),
        ),
        config=config,
        scratch=scratch,
        callbacks=list(callbacks),
        before_first_step=lambda: None,
    )
    trainer.train()
    return trainer
