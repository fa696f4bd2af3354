"""
Answers generated on a key/value cache: prompts scored in batches, then token by token.

A prompt and its expected answer are run once, together. That pass gives the loss, and the
answer as far as it agrees with the expected one; only the rest is generated. An answer
that has ended leaves its batch. Does not know where prompts come from.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from finetuned.inference.batches import cut_batches
from finetuned.inference.cached_lm import CachedLM
from finetuned.inference.pending import Generation, PendingAnswer
from finetuned.inference.prompt_cache import CachedRows, Prefill, Prefix
from finetuned.inference.token_facts import note_facts, note_scoring


@dataclass(frozen=True, slots=True)
class CachedAnswers:
    """
    The answering of one call's prompts by a model whose cache can be cut and shifted.
    """

    generation: Generation
    lm: CachedLM
    prefix: Prefix
    size: int
    """Most prompts run together, >= 1."""
    reuse_agreement: bool
    """Whether tokens that agree with the expected answer are taken from the scoring pass."""

    def answer(self, items: Sequence[PendingAnswer]) -> None:
        """
        Fill in answers and losses of *items*, as far as there is time.

        Half a batch is prefilled at a time and joins as soon as half a batch has left, so
        that few passes are made for the last few long answers.
        """
        half = max(1, self.size // 2)
        running: list[PendingAnswer] = []
        rows: CachedRows | None = None
        for batch in cut_batches(items, half, self.lm.vocabulary):
            if self.generation.is_late():
                break
            more = self._prefill(batch)
            if more is None:
                continue
            if rows is None or not running:
                rows, running = more
            else:
                rows.join(more[0])
                running += more[1]
            running = self._generate(rows, running, most=self.size - half)
        if rows is not None and running:
            self._generate(rows, running, most=0)

    def _prefill(self, batch: list[PendingAnswer]) -> tuple[CachedRows, list[PendingAnswer]] | None:
        """Score *batch*; return the rows and items of answers that have not ended, if any."""
        began = time.monotonic()
        expected = [[token for token, _ in item.continuation] for item in batch]
        prompts = [item.prompt for item in batch]
        made = Prefill(self.lm, self.prefix, prompts, expected, self.generation.pad_token_id)
        self.generation.report_pass()
        predicted = made.logits.argmax(-1).tolist()
        accepted = [
            item.accept(
                predicted[i],
                self.generation,
                reuse_agreement=self.reuse_agreement,
                logits=made.logits[i],
            )
            for i, item in enumerate(batch)
        ]
        note_scoring(batch, made.logits)
        left = [i for i, item in enumerate(batch) if not item.done]
        rows = made.rows(left, [accepted[i] for i in left]) if left else None
        for item in batch:
            item.seconds = (time.monotonic() - began) / len(batch)
        return None if rows is None else (rows, [batch[i] for i in left])

    def _generate(
        self, rows: CachedRows, items: list[PendingAnswer], *, most: int
    ) -> list[PendingAnswer]:
        """Add token after token until at most *most* answers are left; return those."""
        generation = self.generation
        while True:
            left = [
                i
                for i, item in enumerate(items)
                if not item.done and not generation.is_late(item.seconds)
            ]
            rows.keep(left)
            items = [items[i] for i in left]
            if len(items) <= most:
                return items
            began = time.monotonic()
            logits = rows.step(self.lm, [item.ids[-1] for item in items])
            for i, (item, best) in enumerate(zip(items, logits.argmax(-1).tolist(), strict=True)):
                item.take(best, logits[i], generation)
                if generation.cut_loops:
                    item.end_if_in_loop()
            places = [(i, 0, item.taken[-1]) for i, item in enumerate(items)]
            note_facts(items, logits.unsqueeze(1), places)
            generation.report_pass()
            share = (time.monotonic() - began) / len(items)
            for item in items:
                item.seconds += share
