"""
The answers of one model that run together: one pass gives each of them its next tokens.

Answers join and leave between passes. Each pass may verify drafted tokens: those that the
model would have chosen are taken at once, the others are cut off. Does not know sockets,
queues or budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from transformers import DynamicCache

from finetuned.inference.cached_lm import CachedLM
from finetuned.inference.prompt_cache import CachedRows, Prefill, Prefix
from finetuned.serving.engine.answer import RunningAnswer
from finetuned.serving.engine.draft import Drafter
from finetuned.serving.engine.prefixes import KeptPrompts
from finetuned.serving.engine.sample import likeliest

_DRAFTED: Final = 32
"""Most drafted tokens of one pass, over all rows."""

_DRAFTED_PER_ROW: Final = 12


def slot_bytes(lm: CachedLM, token: int) -> int:
    """
    Return the memory that a slot of one row takes in the cache, by running one token.
    """
    cache, ids = DynamicCache(), torch.tensor([[token]], device=lm.device)
    lm.logits(ids, torch.ones_like(ids), cache, 1)
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


def slots_of(answers: Sequence[RunningAnswer]) -> int:
    """
    Return the most slots, over all rows, that a batch of *answers* may come to need.
    """
    return len(answers) * max((a.slots + _DRAFTED_PER_ROW for a in answers), default=0)


class Batch:
    """
    The running answers of one model, a row of the cache for each.
    """

    def __init__(self, lm: CachedLM, pad_token_id: int, kept: KeptPrompts) -> None:
        self._lm = lm
        self._pad = pad_token_id
        self._kept = kept
        self._drafter = Drafter()
        self._rows: CachedRows | None = None
        self.answers: list[RunningAnswer] = []
        """Those that have not ended, in the order of their rows."""

    def join(self, answers: Sequence[RunningAnswer]) -> None:
        """
        Run the prompts of *answers*, choose their first tokens, and add them.
        """
        for group in _groups(answers, self._kept):
            self._prefill(group)

    def step(self) -> list[RunningAnswer]:
        """
        Give each answer its next tokens, at least one.

        Returns:
            The answers before the step; those that have ended have left the batch.
        """
        if self._rows is None or not self.answers:
            return []
        answers = self.answers
        drafts = self._drafts(answers)
        tokens = [[a.ids[-1], *draft] for a, draft in zip(answers, drafts, strict=True)]
        logits = self._rows.extend(self._lm, tokens, self._pad)
        accepted = _choose(answers, drafts, logits)
        self._rows.settle([1 + n for n in accepted])
        self.drop([a for a in answers if a.reason is not None])
        return answers

    def drop(self, leaving: Sequence[RunningAnswer]) -> None:
        """
        Take some answers out.
        """
        gone = {id(a) for a in leaving}
        left = [i for i, a in enumerate(self.answers) if id(a) not in gone]
        self._learn(leaving)
        if self._rows is not None:
            if left:
                self._rows.keep(left)
            else:
                self._rows = None
        self.answers = [self.answers[i] for i in left]

    def clear(self) -> None:
        """
        Forget all answers and what was computed for them, after an error in a pass.
        """
        self._rows, self.answers = None, []

    def _learn(self, answers: Sequence[RunningAnswer]) -> None:
        for answer in answers:
            if answer.reason is not None and answer.is_plain:
                self._drafter.learn(answer.prompt, answer.ids)

    def _drafts(self, answers: Sequence[RunningAnswer]) -> list[list[int]]:
        most = min(_DRAFTED_PER_ROW, _DRAFTED // len(answers))
        return [
            self._drafter.draft(a.prompt, a.ids, min(most, a.limit - len(a.ids) - 1))
            if a.is_plain
            else []
            for a in answers
        ]

    def _prefill(self, group: _Group) -> None:
        answers = group.answers
        prompts, drafts = [a.prompt for a in answers], self._drafts(answers)
        # A continuation's last token is not run, so one more is added that is never read.
        known = [[*draft, self._pad] for draft in drafts]
        made = Prefill(self._lm, group.prefix, prompts, known, self._pad)
        for i, answer in enumerate(answers):
            answer.cached = group.prefix.length
            if not self._kept.has(answer.prompt):
                self._kept.keep(answer.prompt, made.prompt(i))
        accepted = _choose(answers, drafts, made.logits)
        left = [i for i, a in enumerate(answers) if a.reason is None]
        self._learn([a for a in answers if a.reason is not None])
        if not left:
            return
        rows = made.rows(left, [accepted[i] for i in left])
        if self._rows is None:
            self._rows = rows
        else:
            self._rows.join(rows)
        self.answers = [*self.answers, *(answers[i] for i in left)]


def _choose(
    answers: Sequence[RunningAnswer], drafts: Sequence[Sequence[int]], logits: torch.Tensor
) -> list[int]:
    """
    Add the next tokens to each answer, and return how many drafted ones each has taken.

    Args:
        answers: Length N.
        drafts: The tokens that each was run with. Length N.
        logits: (N, Q, V); at place j, what follows j drafted tokens.
    """
    likely = likeliest(logits)
    accepted = []
    for i, (answer, draft) in enumerate(zip(answers, drafts, strict=True)):
        place = 0
        while True:
            if answer.is_plain:
                chosen = likely[i][place]
            else:
                allowed = None if answer.guard is None else answer.guard.allowed()
                chosen = answer.sampler.choose(logits[i, place], allowed)
            answer.add(chosen)
            if answer.reason is not None or place >= len(draft) or chosen.token != draft[place]:
                break
            place += 1
        accepted.append(place)
    return accepted


@dataclass(frozen=True, slots=True)
class _Group:
    """
    Answers whose prompts are run in one pass.
    """

    answers: list[RunningAnswer]
    prefix: Prefix
    """What all of them begin with."""


def _groups(answers: Sequence[RunningAnswer], kept: KeptPrompts) -> list[_Group]:
    """
    Return the answers in groups that share a beginning and are of about the same length.
    """
    matched = [(a, *kept.match(a.prompt)) for a in answers]
    matched.sort(key=lambda m: (m[1][: m[2]], len(m[0].prompt)))
    groups: list[_Group] = []
    before: tuple[int, ...] | None = None
    for answer, ids, shared in matched:
        begins = ids[:shared]
        if begins == before and len(answer.prompt) <= 2 * len(groups[-1].answers[0].prompt):
            groups[-1].answers.append(answer)
        else:
            groups.append(_Group([answer], kept.prefix(ids, shared)))
        before = begins
    return groups
