"""
The key/value cache of a batch of prompts: a shared prefix run once, rows that come and go.

All rows of a batch are right-aligned: the last token of each is in the last slot, and the
padding before it is masked. The distance of two slots is then the distance of two
positions, which sliding windows depend on. Every layer keeps all its slots, a sliding one
too, because its mask applies the window; slots can then be cut off at the end without a
trace. Does not know stop tokens, deadlines or losses.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from finetuned.inference.batches import shared_length
from finetuned.inference.cached_lm import CachedLM
from finetuned.inference.growing_layer import GrowingLayer


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
        Drop all rows but *rows*, and the leading slots that only dropped rows used.
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
        Append the rows of *other*, which must not be used any more.
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
    The leading tokens that all prompts of a call share, run once.
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
        Return a cache of N rows, each with the prefix shifted to the right by its padding.

        Args:
            pads: int64 (N,), >= 0: slots of padding. Slots before the prefix are undefined;
                what is shifted past ``length`` slots is cut off.
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
    A batch of prompts, each followed by its continuation, run in one pass.
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
            continuations: The tokens after each prompt; any may be empty. Length N.
            pad_token_id: Fills masked places.
        """
        width = max(len(p) for p in prompts)
        # The prediction after the last token of a continuation is not needed.
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
        Return some rows, each cut after its prompt and the first tokens of its continuation.

        Args:
            picked: Numbers of M rows.
            accepted: How many tokens of its continuation each of them keeps. Length M.
        """
        index = torch.tensor(picked, dtype=torch.long, device=self._lengths.device)
        more = torch.tensor(accepted, dtype=torch.long, device=self._lengths.device)
        lengths = self._lengths.index_select(0, index) + more
        longest = int(lengths.max())
        slots = torch.arange(longest, device=lengths.device) + (self._width - longest)
        slots = (slots + more.unsqueeze(1)).clamp_(min=0)
        made = DynamicCache()
        for layer in self._cache.layers:
            made.layers.append(GrowingLayer())
            made.layers[-1].update(_at(layer.keys, index, slots), _at(layer.values, index, slots))
        return CachedRows(made, lengths)


def _at(states: torch.Tensor, rows: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """(N, K, W, D), int64 (M,), int64 (M, V) -> (M, K, V, D)."""
    return states[rows.unsqueeze(1), :, slots].transpose(1, 2)


def _widened(states: torch.Tensor, width: int) -> torch.Tensor:
    """(N, K, W, D) -> (N, K, width, D), padded with zeros on the left."""
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[-2], 0))
