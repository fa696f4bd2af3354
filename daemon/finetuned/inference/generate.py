"""
Prompts in, greedy answers out, by a deadline, and on the way what expected answers cost.

A prompt and its expected answer are run once, together: that gives the loss, and
the answer as far as the model would say the same. Only from there on tokens are
generated one by one, by rows that leave their batch when they are done. Works on
token ids: answers are sliced by token, never by the length of a decoded string.
Does not know where prompts come from or what is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from finetuned.inference.prompt_cache import CachedLM, CachedRows, Prefill, Prefix, answering
from finetuned.inference.score import MAX_LOGITS, choice_scores, continuation_losses, summed_loss

__all__ = [
    "Answer",
    "Continuation",
    "answer_and_score",
    "answering",
    "choice_scores",
    "generate",
]

LOOP_TOKENS = 48
"""An answer that ends in so many tokens of one short pattern will not end by itself."""

LOOP_PERIOD = 8
"""Longest pattern, in tokens."""

Continuation = Sequence[tuple[int, bool]]
"""``(token id, supervised)`` of each token after a prompt."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    One generated answer.
    """

    ids: list[int]
    """New tokens without the stop token."""
    stopped: bool
    """Whether the model ended it with a stop token."""
    timed_out: bool
    """Whether the deadline cut it; such an answer counts as wrong."""


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    stop_token_ids: Collection[int],
    pad_token_id: int,
    max_new_tokens: int | Sequence[int],
    deadline: float,
    on_token: Callable[[], None] | None = None,
    batch_size: int = 32,
) -> list[Answer]:
    """
    Answer *prompts* greedily; the arguments are those of answer_and_score().

    Returns:
        N answers in the order of *prompts*.
    """
    scored = answer_and_score(
        model,
        prompts,
        [[] for _ in prompts],
        stop_token_ids=stop_token_ids,
        pad_token_id=pad_token_id,
        max_new_tokens=max_new_tokens,
        deadline=deadline,
        on_token=on_token,
        batch_size=batch_size,
    )
    return [answer for answer, _ in scored]


def answer_and_score(
    model: Any,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Continuation],
    *,
    stop_token_ids: Collection[int],
    pad_token_id: int,
    max_new_tokens: int | Sequence[int],
    deadline: float,
    item_seconds: float | None = None,
    on_token: Callable[[], None] | None = None,
    batch_size: int = 32,
    reuse_agreement: bool = True,
    cut_loops: bool = False,
) -> list[tuple[Answer, tuple[float, int]]]:
    """
    Answer *prompts* greedily, and say how surprised the model is by given continuations.

    Prompts are run shortest first, the beginning that all of them share once. A
    model whose cache cannot be handled exactly (recurrent states, for one) goes
    through transformers' own generate(), with the same results.

    Args:
        model: A causal language model; left in the mode it was in.
        prompts: Token ids, one list per prompt, none empty. Length N, any number.
        continuations: The expected tokens after each prompt, may be empty. Length N.
        stop_token_ids: Any of these ends an answer.
        pad_token_id: Fills the left side of shorter prompts; it is masked out.
        max_new_tokens: Longest answer in tokens, >= 0, for all or one for each prompt;
            0 only scores.
        deadline: When to stop, on the clock of time.monotonic, in seconds.
        item_seconds: Longest wall time of the passes that an answer is part of, which it
            shares with its batch; one that is unfinished then is cut. None: no limit.
        on_token: Called after every pass through the model: a sign of life. What it
            raises ends the call.
        batch_size: Most prompts run together, >= 1; fewer where the vocabulary is large.
        reuse_agreement: Take tokens on which the model agrees with the continuation from
            the pass that scores it. False generates all of them, to measure how fast
            that is; the answers are the same.
        cut_loops: End an answer whose last 48 tokens repeat up to 8 of them over and over, as
            one that did not stop: a greedy model does not leave such a loop, and waiting for
            its longest answer would be most of the time of an evaluation. Never while the
            answer is the beginning of the continuation.

    Returns:
        For each prompt its answer, and ``(summed loss in nats, number)`` of the supervised
        tokens of its continuation. A prompt that the deadline left no time for has an
        empty, timed out answer and (0.0, 0).
    """
    limits = (
        [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    )
    items = [
        _Item(i, p, c, limit)
        for i, (p, c, limit) in enumerate(zip(prompts, continuations, limits, strict=True))
    ]
    if not items:
        return []
    run = _Run(
        model, frozenset(stop_token_ids), pad_token_id, deadline, item_seconds, on_token, cut_loops
    )
    with answering(model):
        lm = CachedLM(model)
        if time.monotonic() >= deadline:
            pass
        elif lm.is_exact(prompts[0][0]):
            _Batches(run, lm, Prefix(lm, prompts), batch_size, reuse_agreement).answer(items)
        else:
            _answer_stock(run, items, batch_size)
    return [(item.answer(), item.loss) for item in items]


@dataclass(slots=True)
class _Item:
    """
    One prompt on its way.
    """

    number: int
    prompt: Sequence[int]
    continuation: Continuation
    limit: int
    ids: list[int] = field(default_factory=list)
    stopped: bool = False
    done: bool = False
    loss: tuple[float, int] = (0.0, 0)
    seconds: float = 0.0
    """Wall time of the passes it was part of."""

    def say(self, token: int, stops: frozenset[int]) -> None:
        """Take the next token of the answer."""
        if token in stops:
            self.stopped = self.done = True
            return
        self.ids.append(token)
        self.done = len(self.ids) >= self.limit

    def loops(self) -> bool:
        """Say whether the answer repeats itself; looked at now and then."""
        if len(self.ids) < LOOP_TOKENS or len(self.ids) % 8:
            return False
        tail = self.ids[-LOOP_TOKENS:]
        periods = range(1, LOOP_PERIOD + 1)
        if not any(tail[p:] == tail[:-p] for p in periods):
            return False
        return [token for token, _ in self.continuation[: len(self.ids)]] != self.ids

    def answer(self) -> Answer:
        """Return what there is."""
        return Answer(self.ids, self.stopped, timed_out=not self.done)


@dataclass(frozen=True, slots=True)
class _Run:
    """
    What all items of a call have in common.
    """

    model: Any
    stops: frozenset[int]
    pad: int
    deadline: float
    item_seconds: float | None
    on_token: Callable[[], None] | None
    cut_loops: bool

    def late(self, seconds: float = 0.0) -> bool:
        """Say whether time is up, for an item that had *seconds* already."""
        if time.monotonic() >= self.deadline:
            return True
        return self.item_seconds is not None and seconds >= self.item_seconds

    def alive(self) -> None:
        """Give a sign of life."""
        if self.on_token is not None:
            self.on_token()


@dataclass(frozen=True, slots=True)
class _Batches:
    """
    Items through the cache: scored in batches, and those not done by that generated.
    """

    run: _Run
    lm: CachedLM
    prefix: Prefix
    size: int
    reuse: bool

    def answer(self, items: Sequence[_Item]) -> None:
        """
        Fill in *items*, as far as there is time.

        Half a batch is prefilled at a time and joins as soon as half a batch has left,
        so that few passes are made for a last few long answers.
        """
        half = max(1, self.size // 2)
        running: list[_Item] = []
        rows: CachedRows | None = None
        for batch in self._cut(items, half):
            if self.run.late():
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

    def _cut(self, items: Sequence[_Item], size: int) -> Iterator[list[_Item]]:
        """Yield batches of about equal length, of *size* at most and what the logits allow."""
        batch: list[_Item] = []
        tail = 1
        for item in sorted(items, key=lambda x: len(x.prompt) + len(x.continuation)):
            wider = max(tail, len(item.continuation))
            logits = (len(batch) + 1) * wider * self.lm.vocabulary
            if batch and (len(batch) == size or logits > MAX_LOGITS):
                yield batch
                batch, wider = [], max(1, len(item.continuation))
            batch.append(item)
            tail = wider
        if batch:
            yield batch

    def _prefill(self, batch: list[_Item]) -> tuple[CachedRows, list[_Item]] | None:
        """Score *batch*; return those that have to be generated on."""
        began = time.monotonic()
        expected = [[token for token, _ in item.continuation] for item in batch]
        made = Prefill(self.lm, self.prefix, [x.prompt for x in batch], expected, self.run.pad)
        self.run.alive()
        losses = continuation_losses(made.logits, [x.continuation for x in batch])
        accepted = []
        for item, loss, says, tokens in zip(
            batch, losses, made.logits.argmax(-1).tolist(), expected, strict=True
        ):
            item.loss, item.done = loss, item.limit == 0
            place = 0
            while not item.done:
                item.say(says[place], self.run.stops)
                agrees = place + 1 < len(tokens) and says[place] == tokens[place]
                if not agrees or not self.reuse:
                    break
                place += 1
            accepted.append(place)
        left = [i for i, item in enumerate(batch) if not item.done]
        rows = made.rows(left, [accepted[i] for i in left]) if left else None
        for item in batch:
            item.seconds = time.monotonic() - began
        return None if rows is None else (rows, [batch[i] for i in left])

    def _generate(self, rows: CachedRows, items: list[_Item], *, most: int) -> list[_Item]:
        """Go on token by token until at most *most* are neither done nor cut; return those."""
        while True:
            left = [
                i
                for i, item in enumerate(items)
                if not item.done and not self.run.late(item.seconds)
            ]
            rows.keep(left)
            items = [items[i] for i in left]
            if len(items) <= most:
                return items
            began = time.monotonic()
            says = rows.step(self.lm, [item.ids[-1] for item in items]).argmax(-1).tolist()
            for item, token in zip(items, says, strict=True):
                item.say(token, self.run.stops)
                if self.run.cut_loops and item.loops():
                    item.done = True
            self.run.alive()
            took = time.monotonic() - began
            for item in items:
                item.seconds += took


class _Limits(StoppingCriteria):  # type: ignore[misc]
    """Ends transformers' generation between two tokens, and reports each."""

    def __init__(self, run: _Run, items: Sequence[_Item], width: int) -> None:
        self._run = run
        self._lengths = torch.tensor([width + item.limit for item in items])
        self._began = time.monotonic()
        self.late = False

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any
    ) -> torch.BoolTensor:
        self._run.alive()
        self.late = self.late or self._run.late(time.monotonic() - self._began)
        full = (self._lengths <= input_ids.shape[1]).to(input_ids.device)
        return full | self.late  # type: ignore[return-value]


def _answer_stock(run: _Run, items: Sequence[_Item], batch_size: int) -> None:
    """
    Fill in *items* by the model's own generate(), in batches of equal length.

    Equal, as padding can leave a trace in a recurrent state.
    """
    by_length: dict[int, list[_Item]] = {}
    for item in sorted(items, key=lambda x: len(x.prompt)):
        by_length.setdefault(len(item.prompt), []).append(item)
    for width, group in by_length.items():
        for start in range(0, len(group), batch_size):
            if run.late():
                return
            batch = group[start : start + batch_size]
            rows = [
                (
                    [*item.prompt, *(token for token, _ in item.continuation)],
                    [False] * width + [supervised for _, supervised in item.continuation],
                )
                for item in batch
            ]
            for item, loss in zip(batch, summed_loss(run.model, rows, run.pad), strict=True):
                item.loss, item.done = loss, item.limit == 0
            _generate_stock(run, [item for item in batch if not item.done], width)


def _generate_stock(run: _Run, items: Sequence[_Item], width: int) -> None:
    if not items:
        return
    device = next(run.model.parameters()).device
    ids = torch.tensor([list(item.prompt) for item in items], device=device)
    output = run.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max(item.limit for item in items),
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=sorted(run.stops) or None,
        pad_token_id=run.pad,
        stopping_criteria=StoppingCriteriaList([_Limits(run, items, width)]),
    )
    for item, said in zip(items, output[:, width:].tolist(), strict=True):
        for token in said:
            if not item.done:
                item.say(token, run.stops)
