"""
Answers by the generate() of transformers, for models whose cache cannot be cut or shifted.

Prompts of a batch have equal length, since padding can leave a trace in a recurrent state.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from finetuned.inference.pending import Generation, PendingAnswer
from finetuned.inference.score import summed_loss
from finetuned.inference.token_facts import note_facts
from finetuned.loss.micro_batch import MaskedTokens
from finetuned.model.types import LanguageModel


def answer_by_stock(
    model: LanguageModel, generation: Generation, items: Sequence[PendingAnswer], batch_size: int
) -> None:
    """
    Fill in answers and losses of *items*, as far as there is time.

    Loops are not cut. Arguments as in generate.answer_and_score.
    """
    by_length: dict[int, list[PendingAnswer]] = {}
    for item in sorted(items, key=lambda x: len(x.prompt)):
        by_length.setdefault(len(item.prompt), []).append(item)
    for group in by_length.values():
        for start in range(0, len(group), batch_size):
            if generation.is_late():
                return
            batch = group[start : start + batch_size]
            losses = summed_loss(model, list(map(_whole, batch)), generation.pad_token_id)
            for item, loss in zip(batch, losses, strict=True):
                item.loss, item.done = loss, item.limit == 0
            _generate(model, generation, [item for item in batch if not item.done])


def _whole(item: PendingAnswer) -> MaskedTokens:
    """Return prompt and continuation as one sequence."""
    return (
        [*item.prompt, *(token for token, _ in item.continuation)],
        [False] * len(item.prompt) + [supervised for _, supervised in item.continuation],
    )


def _generate(model: LanguageModel, generation: Generation, items: Sequence[PendingAnswer]) -> None:
    """Generate the answers of *items*, whose prompts have equal length."""
    if not items:
        return
    device = next(model.parameters()).device
    ids = torch.tensor([list(item.prompt) for item in items], device=device)
    width = ids.shape[1]
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max(item.limit for item in items),
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=sorted(generation.stop_token_ids) or None,
        pad_token_id=generation.pad_token_id,
        stopping_criteria=StoppingCriteriaList([_Limits(generation, items, width)]),
        logits_processor=LogitsProcessorList([_Held(generation, items)]),
    )
    for item, tokens in zip(items, output[:, width:].tolist(), strict=True):
        for token in tokens:
            if not item.done:
                item.add(token, generation)


class _Limits(StoppingCriteria):  # type: ignore[misc]
    """
    Ends the generation of transformers at a limit, and reports every token.
    """

    def __init__(self, generation: Generation, items: Sequence[PendingAnswer], width: int) -> None:
        self._generation = generation
        self._lengths = torch.tensor([width + item.limit for item in items])
        self._n = len(items)
        self._began = time.monotonic()
        self._late = False

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any
    ) -> torch.BoolTensor:
        self._generation.report_pass()
        share = (time.monotonic() - self._began) / self._n
        self._late = self._late or self._generation.is_late(share)
        full = (self._lengths <= input_ids.shape[1]).to(input_ids.device)
        return full | self._late  # type: ignore[return-value]


class _Held(LogitsProcessor):  # type: ignore[misc]
    """
    Counts how likely tokens are, and leaves one to choose from in each answer with a guard.
    """

    def __init__(self, generation: Generation, items: Sequence[PendingAnswer]) -> None:
        self._stops = generation.stop_token_ids
        self._items = items
        self._open = list(range(len(items)))

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        tokens = scores.argmax(-1).tolist()
        for i in self._open:
            item, best = self._items[i], tokens[i]
            if item.guard is not None:
                tokens[i] = item.guard.likeliest(best, scores[i])
                item.n_refused += tokens[i] != best
        places = [(i, 0, tokens[i]) for i in self._open]
        note_facts(self._items, scores.unsqueeze(1), places)
        for i in self._open:
            if self._items[i].guard is not None:
                scores[i] = -torch.inf
                scores[i, tokens[i]] = 0.0
        self._open = [
            i
            for i in self._open
            if tokens[i] not in self._stops and self._items[i].likely.n < self._items[i].limit
        ]
        return scores
