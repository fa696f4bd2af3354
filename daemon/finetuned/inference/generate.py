"""
Greedy answers to prompts by a deadline, and the loss of expected answers on the way.

Works on token ids. Does not know where prompts come from, nor which answer is right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from finetuned.inference.cached_answers import CachedAnswers
from finetuned.inference.cached_lm import CachedLM, answering
from finetuned.inference.pending import (
    Answer,
    Continuation,
    Generation,
    Holding,
    PendingAnswer,
)
from finetuned.inference.prompt_cache import Prefix
from finetuned.inference.stock_answers import answer_by_stock
from finetuned.model.types import LanguageModel


def generate(
    model: LanguageModel,
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
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Continuation],
    *,
    stop_token_ids: Collection[int],
    pad_token_id: int,
    max_new_tokens: int | Sequence[int],
    deadline: float,
    item_seconds: float | None = None,
    on_token: Callable[[], None] | None = None,
    on_answered: Callable[[int], None] | None = None,
    batch_size: int = 32,
    reuse_agreement: bool = True,
    cut_loops: bool = False,
    guards: Sequence[Holding | None] | None = None,
) -> list[tuple[Answer, tuple[float, int]]]:
    """
    Answer *prompts* greedily, and measure the loss of the model on given continuations.

    Prompts are run shortest first, the tokens that all of them begin with once. A model
    whose cache cannot be cut and shifted exactly (one with recurrent states, for example)
    is run by transformers' own generate(), with the same results.

    Args:
        model: Left in the mode it was in.
        prompts: Token ids, one list per prompt, none empty. Length N, any number.
        continuations: The expected tokens after each prompt, may be empty. Length N.
        stop_token_ids: Any of these ends an answer.
        pad_token_id: Fills the left side of shorter prompts; masked out.
        max_new_tokens: Longest answer in tokens, >= 0, one for all or one for each prompt;
            0 only scores.
        deadline: When to stop, on the clock of time.monotonic, in seconds.
        item_seconds: Longest time of an answer's own, which is its share of the passes that
            it is part of: their wall time by the answers in them. An answer that has not
            ended by then is cut. None: no limit.
        on_token: Called after every pass through the model. Its exceptions end the call.
        on_answered: Called after a pass with the number of answers that ended in it, if any did.
        batch_size: Most prompts run together, >= 1; fewer if the vocabulary is large.
        reuse_agreement: Take tokens on which the model agrees with the continuation from
            the pass that scores it. False generates all of them, to measure how fast
            that is; the answers are the same.
        cut_loops: End an answer whose last 48 tokens repeat up to 8 of them over and over,
            as one that did not stop: a greedy model does not leave such a loop, and waiting
            for the longest answer would be most of the time of an evaluation. An answer
            that is the beginning of the continuation is never cut.
        guards: What holds each answer to a grammar, None for a free one. None: all are free.
            The loss is that of the model alone.

    Returns:
        For each prompt its answer, and ``(summed loss in nats, number)`` of the supervised
        tokens of its continuation. A prompt that was not reached before the deadline has
        an empty, timed out answer and (0.0, 0).
    """
    limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
    items = [
        PendingAnswer(prompt, continuation, limit, guard=guard)
        for prompt, continuation, limit, guard in zip(
            prompts, continuations, limits, guards or [None] * len(prompts), strict=True
        )
    ]
    n_ended = 0

    def passed() -> None:
        nonlocal n_ended
        if on_token is not None:
            on_token()
        before, n_ended = n_ended, sum(item.done for item in items)
        if on_answered is not None and n_ended > before:
            on_answered(n_ended - before)

    generation = Generation(
        frozenset(stop_token_ids), pad_token_id, deadline, item_seconds, passed, cut_loops
    )
    with answering(model):
        lm = CachedLM(model)
        if not items or generation.is_late():
            pass
        elif lm.is_exact(prompts[0][0]):
            prefix = Prefix.shared(lm, prompts)
            CachedAnswers(generation, lm, prefix, batch_size, reuse_agreement).answer(items)
        else:
            answer_by_stock(model, generation, items, batch_size)
    return [(item.answer(), item.loss) for item in items]
