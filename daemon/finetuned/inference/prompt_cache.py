"""
Keys and values of prompts: what prompts share computed once, rows that come and go.

A batch stands right-aligned: its last token is in the last slot of every row and
the padding before it is masked. So the distance of two slots is the distance of
two positions, which sliding windows count on. Every layer keeps all its slots, a
sliding one too (its window is the mask's business): slots can then be cut off at
the end without a trace. Does not know stop tokens, deadlines or losses.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

ROOM = 64
"""Slots that a cache has to spare when it is copied."""

MIN_SHARED = 8
"""Fewer common tokens are not worth a pass of their own."""


@contextmanager
def answering(model: Any) -> Iterator[None]:
    """
    Put *model* into evaluation mode with a key/value cache, gradients off, and back.

    No random number is drawn inside, so training goes on as if nothing happened.
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


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """
    Return how many leading tokens all *prompts* have in common, 0 if too few to be worth it.

    At least one token of each prompt is left. One prompt shares nothing.
    """
    if len(prompts) < 2:
        return 0
    first, last = min(prompts, key=list), max(prompts, key=list)
    longest = min(len(p) for p in prompts) - 1
    n = next((i for i in range(longest) if first[i] != last[i]), longest)
    return n if n >= MIN_SHARED else 0


class _GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """
    Appends in place, with room for some more slots.

    Stock layers copy all their slots at every token, which for long prompts costs
    more than everything else in a step.
    """

    keys: Any
    values: Any
    is_initialized: bool

    def __init__(self) -> None:
        super().__init__()
        self._rooms: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Append slots, (N, K, Q, D) each, and return all of them.
        """
        if not self.is_initialized or not self.keys.numel():
            self.keys, self.values = key_states, value_states
            self.dtype, self.device = key_states.dtype, key_states.device
            self.is_initialized, self._rooms = True, None
            return self.keys, self.values
        begin, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if self._rooms is None or not self._fits(self._rooms[0], end):
            self._rooms = _roomy(self.keys, end), _roomy(self.values, end)
        for room, states in zip(self._rooms, (key_states, value_states), strict=True):
            room[:, :, begin:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self._rooms)
        return self.keys, self.values

    def _fits(self, room: torch.Tensor, end: int) -> bool:
        """Whether the slots are those at the beginning of *room*, and it has *end* of them."""
        return (
            room.data_ptr() == self.keys.data_ptr()
            and room.shape[0] == self.keys.shape[0]
            and end <= room.shape[-2]
        )


def _roomy(states: torch.Tensor, end: int) -> torch.Tensor:
    """(N, K, W, D) -> (N, K, end + ROOM, D), the first W slots the same and the rest undefined."""
    n, heads, width, size = states.shape
    room = states.new_empty((n, heads, end + ROOM, size))
    room[:, :, :width] = states
    return room


class CachedLM:
    """
    A causal language model as a function of tokens and a cache.
    """

    def __init__(self, model: Any) -> None:
        """
        Args:
            model: A causal language model, possibly inside a PeftModel.
        """
        self._model = model
        self._lm = model.get_base_model() if hasattr(model, "get_base_model") else model
        accepted = inspect.signature(self._lm.forward).parameters
        self._wants_positions = "position_ids" in accepted
        self._keeps_logits = "logits_to_keep" in accepted
        self.device: torch.device = next(model.parameters()).device
        self.vocabulary: int = self._lm.config.get_text_config().vocab_size

    def is_exact(self, token: int) -> bool:
        """
        Run one token and return whether the cache it leaves is of the kind this module handles.

        That is transformers' DynamicCache of ordinary or sliding-window layers. Not
        recurrent or convolutional states, static or quantised caches, layers that
        share another's cache, attention in chunks, or virtual tokens of an adapter.
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
        Run *ids* on *cache*, which grows by them, and return the logits of the last *keep*.

        Args:
            ids: int64 (N, Q).
            mask: int64 (N, W), 1 where there is a token; W counts the cache's slots and Q.
            cache: Of W - Q slots.
            keep: 1 to Q.

        Returns:
            (N, keep, V) in the model's precision.
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


class CachedRows:
    """
    The cached tokens of N sequences, right-aligned in W slots.
    """

    def __init__(self, cache: DynamicCache, lengths: torch.Tensor) -> None:
        """
        Args:
            cache: Of N rows and W slots.
            lengths: int64 (N,), 1 to W: tokens of each row, in its last slots.
        """
        self._cache = cache
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def step(self, lm: CachedLM, tokens: Sequence[int]) -> torch.Tensor:
        """
        Append one token to each row and return the logits after it, (N, V).
        """
        ids = torch.tensor(tokens, device=lm.device).unsqueeze(1)
        width = self._cache.get_seq_length() + 1
        self._lengths = self._lengths + 1
        slots = torch.arange(width, device=lm.device)
        mask = (slots >= width - self._lengths.unsqueeze(1)).long()
        return lm.logits(ids, mask, self._cache, 1)[:, 0]

    def keep(self, rows: Sequence[int]) -> None:
        """
        Let all rows but *rows* go, and the slots that nobody uses then.
        """
        if len(rows) == len(self):
            return
        index = torch.tensor(rows, dtype=torch.long, device=self._lengths.device)
        self._lengths = self._lengths.index_select(0, index)
        used = int(self._lengths.max()) if len(rows) else 0
        for layer in self._cache.layers:
            begin = layer.keys.shape[-2] - used
            layer.keys = layer.keys.index_select(0, index)[:, :, begin:]
            layer.values = layer.values.index_select(0, index)[:, :, begin:]

    def join(self, other: CachedRows) -> None:
        """
        Take the rows of *other* in, after one's own. They are not to be used on their own again.
        """
        mine, more = self._cache.get_seq_length(), other._cache.get_seq_length()
        width = max(mine, more)
        self._lengths = torch.cat([self._lengths, other._lengths])
        for layer, joining in zip(self._cache.layers, other._cache.layers, strict=True):
            layer.keys = torch.cat([_widened(layer.keys, width), _widened(joining.keys, width)])
            layer.values = torch.cat(
                [_widened(layer.values, width), _widened(joining.values, width)]
            )


class Prefix:
    """
    The tokens that all prompts of a call begin with, run once.
    """

    def __init__(self, lm: CachedLM, prompts: Sequence[Sequence[int]]) -> None:
        """
        Args:
            lm: The model.
            prompts: All prompts of the call, none empty.
        """
        self.length = shared_length(prompts)
        self._cache = DynamicCache()
        if self.length:
            ids = torch.tensor([list(prompts[0][: self.length])], device=lm.device)
            lm.logits(ids, torch.ones_like(ids), self._cache, 1)

    def cache(self, pads: torch.Tensor) -> DynamicCache:
        """
        Return a cache that begins each row *pads* slots further right; what is left of it is noise.

        Args:
            pads: int64 (N,), >= 0. What they push out of the first ``length`` slots is cut off.
        """
        made = DynamicCache()
        slots = torch.arange(self.length, device=pads.device) - pads.unsqueeze(1)
        rows = torch.zeros_like(pads)
        for i, layer in enumerate(self._cache.layers):
            keys = _at(layer.keys, rows, slots.clamp(min=0))
            made.update(keys, _at(layer.values, rows, slots.clamp(min=0)), i)
        return made


class Prefill:
    """
    A batch of prompts, each with its continuation after it, run together.
    """

    def __init__(
        self,
        lm: CachedLM,
        prefix: Prefix,
        prompts: Sequence[Sequence[int]],
        continuations: Sequence[Sequence[int]],
        pad_token_id: int,
    ) -> None:
        """
        Args:
            lm: The model.
            prefix: Of a call that these prompts are part of.
            prompts: Token ids, none empty. Length N.
            continuations: What follows each prompt; any may be empty. Length N.
            pad_token_id: Fills what is masked.
        """
        width = max(len(p) for p in prompts)
        # What a continuation's last token predicts is asked by nobody.
        tail = max(0, *(len(c) - 1 for c in continuations))
        ids = torch.full((len(prompts), width + tail), pad_token_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, (prompt, continuation) in enumerate(zip(prompts, continuations, strict=True)):
            known = [*prompt, *continuation[:-1]]
            begin = width - len(prompt)
            ids[i, begin : begin + len(known)] = torch.tensor(known)
            mask[i, begin : begin + len(known)] = 1
        self._width = width
        self._lengths = torch.tensor([len(p) for p in prompts], device=lm.device)
        self._cache = prefix.cache(width - self._lengths)
        self.logits = lm.logits(
            ids[:, prefix.length :].to(lm.device), mask.to(lm.device), self._cache, tail + 1
        )
        """(N, T, V): at place j, what follows a prompt and j tokens of its continuation."""

    def rows(self, picked: Sequence[int], accepted: Sequence[int]) -> CachedRows:
        """
        Return some rows with their prompts and the first tokens of their continuations.

        Args:
            picked: Rows, M of them.
            accepted: Of each, how many tokens of its continuation stay. Length M.
        """
        index = torch.tensor(picked, dtype=torch.long, device=self._lengths.device)
        more = torch.tensor(accepted, dtype=torch.long, device=self._lengths.device)
        lengths = self._lengths.index_select(0, index) + more
        longest = int(lengths.max())
        slots = torch.arange(longest, device=lengths.device) + (self._width - longest)
        slots = (slots + more.unsqueeze(1)).clamp_(min=0)
        made = DynamicCache()
        for layer in self._cache.layers:
            made.layers.append(_GrowingLayer())
            made.layers[-1].update(_at(layer.keys, index, slots), _at(layer.values, index, slots))
        return CachedRows(made, lengths)


def _at(states: torch.Tensor, rows: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """(N, K, W, D), int64 (M,), int64 (M, V) -> (M, K, V, D)."""
    return states[rows.unsqueeze(1), :, slots].transpose(1, 2)


def _widened(states: torch.Tensor, width: int) -> torch.Tensor:
    """(N, K, W, D) -> (N, K, width, D), with slots put in on the left."""
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[-2], 0))
