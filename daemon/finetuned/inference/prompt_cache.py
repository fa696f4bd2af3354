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
        self._appended = 0

    @property
    def slots(self) -> int:
        """W."""
        return int(self._cache.get_seq_length())

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

    def extend(
        self, lm: CachedLM, tokens: Sequence[Sequence[int]], pad_token_id: int
    ) -> torch.Tensor:
        """
        Append some tokens to each row; settle() must follow.

        Args:
            lm: The model.
            tokens: One or more for each row, not the same number for all. Length N.
            pad_token_id: Fills masked places.

        Returns:
            (N, Q, V): at place j, what follows the first j + 1 of a row's tokens; undefined
            at the places after its last one.
        """
        width, self._appended = self.slots, max(len(some) for some in tokens)
        ids = torch.full((len(tokens), self._appended), pad_token_id, dtype=torch.long)
        for i, some in enumerate(tokens):
            ids[i, : len(some)] = torch.tensor(some)
        ends = torch.tensor([[width + len(some)] for some in tokens], device=lm.device)
        slots = torch.arange(width + self._appended, device=lm.device)
        mask = ((slots >= width - self._lengths.unsqueeze(1)) & (slots < ends)).long()
        return lm.logits(ids.to(lm.device), mask, self._cache, self._appended)

    def settle(self, kept: Sequence[int]) -> None:
        """
        Cut each row after the first tokens that extend() appended to it.

        Args:
            kept: How many of them each row keeps, >= 1. Length N.
        """
        width, self._appended = self.slots - self._appended, 0
        more = torch.tensor(kept, device=self._lengths.device)
        self._lengths = self._lengths + more
        if min(kept) == max(kept):
            for layer in self._cache.layers:
                layer.keys = layer.keys[:, :, : width + kept[0]]
                layer.values = layer.values[:, :, : width + kept[0]]
            return
        used = int(self._lengths.max())
        slots = torch.arange(used, device=more.device) + (width - used)
        slots = (slots + more.unsqueeze(1)).clamp_(min=0)
        rows = torch.arange(len(kept), device=more.device)
        for layer in self._cache.layers:
            layer.keys, layer.values = _at(layer.keys, rows, slots), _at(layer.values, rows, slots)

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
    The leading tokens that several prompts share, run once.
    """

    def __init__(self, cache: DynamicCache, length: int) -> None:
        """
        Args:
            cache: Of one row and *length* slots.
            length: >= 0.
        """
        self._cache = cache
        self.length = length

    @classmethod
    def shared(cls, lm: CachedLM, prompts: Sequence[Sequence[int]]) -> Prefix:
        """
        Run what all prompts of a call share.

        Args:
            lm: The model.
            prompts: All prompts of the call, none empty.
        """
        length, cache = shared_length(prompts), DynamicCache()
        if length:
            ids = torch.tensor([list(prompts[0][:length])], device=lm.device)
            lm.logits(ids, torch.ones_like(ids), cache, 1)
        return cls(cache, length)

    @property
    def bytes(self) -> int:
        """Memory of its keys and values."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._cache.layers)

    def cut(self, length: int) -> Prefix:
        """
        Return its first *length* tokens, 1 to ``self.length``, without a copy.
        """
        made = DynamicCache()
        for i, layer in enumerate(self._cache.layers):
            made.update(layer.keys[:, :, :length], layer.values[:, :, :length], i)
        return Prefix(made, length)

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

    def prompt(self, row: int) -> Prefix:
        """
        Return a copy of what the prompt of one row left in the cache.
        """
        length, made = int(self._lengths[row]), DynamicCache()
        part = slice(self._width - length, self._width)
        for i, layer in enumerate(self._cache.layers):
            keys, values = (x[row : row + 1, :, part].clone() for x in (layer.keys, layer.values))
            made.update(keys, values, i)
        return Prefix(made, length)

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
