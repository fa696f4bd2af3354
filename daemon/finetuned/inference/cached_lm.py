"""
A causal language model as a function of tokens and a key/value cache.

Does not know prompts, stop tokens or losses.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from finetuned.model.types import LanguageModel


@contextmanager
def answering(model: LanguageModel) -> Iterator[None]:
    """
    Put *model* into evaluation mode with a key/value cache and without gradients, then back.

    The block draws no random number, so training goes on as if nothing had happened.
    """
    was_training, used_cache = model.training, model.config.use_cache
    model.eval()
    model.config.use_cache = True
    try:
        with torch.no_grad():
            yield
    finally:
        model.config.use_cache = used_cache
        model.train(was_training)


class CachedLM:
    """
    A language model with the cache of transformers.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._lm = model.get_base_model() if hasattr(model, "get_base_model") else model
        accepted = inspect.signature(self._lm.forward).parameters
        self._wants_positions = "position_ids" in accepted
        self._keeps_logits = "logits_to_keep" in accepted
        self.device: torch.device = next(model.parameters()).device
        self.vocabulary: int = self._lm.config.get_text_config().vocab_size
        """Logits per position."""

    def is_exact(self, token: int) -> bool:
        """
        Run one token, and return whether prompt_cache.py can cut and shift the cache it leaves.

        It can with transformers' DynamicCache of ordinary or sliding-window layers. It
        cannot with recurrent or convolutional states, static or quantised caches, layers
        that share the cache of another, attention in chunks, or virtual tokens of an adapter.
        """
        configs = getattr(self._model, "peft_config", {}).values()
        if any(getattr(config, "is_prompt_learning", False) for config in configs):
            return False
        if getattr(self._lm.config.get_text_config(), "attention_chunk_size", None) is not None:
            return False
        ids = torch.tensor([[token]], device=self.device)
        cache: Any = getattr(self._lm(input_ids=ids, use_cache=True), "past_key_values", None)
        return (
            type(cache) is DynamicCache
            and len(cache.layers) > 0
            and all(
                type(layer) in (DynamicLayer, DynamicSlidingWindowLayer)
                and layer.is_initialized
                and layer.keys.shape[-2] == 1
                for layer in cache.layers
            )
        )

    def logits(
        self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache, keep: int
    ) -> torch.Tensor:
        """
        Run *ids* on *cache*, append them to it, and return the logits of the last *keep*.

        Args:
            ids: int64 (N, Q).
            mask: int64 (N, W), 1 at every token; W counts the slots of the cache and Q.
            cache: Of W - Q slots.
            keep: 1 to Q.

        Returns:
            (N, keep, V) in the precision of the model.
        """
        arguments: dict[str, Any] = {}
        if self._wants_positions:
            arguments["position_ids"] = (mask.cumsum(1) - 1).clamp_(min=0)[:, -ids.shape[1] :]
        if self._keeps_logits:
            arguments["logits_to_keep"] = keep
        output = self._lm(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **arguments
        )
        logits: torch.Tensor = output.logits[:, -keep:]
        return logits

    def mean_hidden(self, ids: Sequence[int]) -> list[float]:
        """
        Return the mean of the last hidden states over some tokens.

        Args:
            ids: Not empty.
        """
        given = torch.tensor([list(ids)], device=self.device)
        output = self._lm(input_ids=given, output_hidden_states=True, use_cache=False)
        mean: list[float] = output.hidden_states[-1][0].float().mean(0).tolist()
        return mean
