"""
How likely a model finds each of several given answers to one prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.inference.batches import choices_at_once
from finetuned.inference.cached_lm import CachedLM, answering
from finetuned.inference.prompt_cache import Prefill, Prefix
from finetuned.inference.score import continuation_losses, summed_loss
from finetuned.model.types import LanguageModel


def choice_scores(
    model: LanguageModel,
    prompt: Sequence[int],
    choices: Sequence[Sequence[int]],
    pad_token_id: int,
    *,
    batch_size: int = 32,
) -> list[tuple[float, int]]:
    """
    Return ``(summed log-likelihood in nats, tokens)`` of each choice after *prompt*.

    The prompt is run once for all choices. An empty choice has (0.0, 0).

    Args:
        model: Left in the mode it was in.
        prompt: Token ids, not empty.
        choices: Token ids each, any number of choices.
        pad_token_id: Fills masked places.
        batch_size: Most choices run together, >= 1.
    """
    found: list[tuple[float, int]] = []
    with answering(model):
        lm = CachedLM(model)
        exact = lm.is_exact(prompt[0])
        prefix = Prefix.shared(lm, [prompt] * len(choices)) if exact else None
        longest = max((len(c) for c in choices), default=0) + (0 if exact else len(prompt))
        at_once = choices_at_once(longest, lm.vocabulary, batch_size)
        for start in range(0, len(choices), at_once):
            part = choices[start : start + at_once]
            if prefix is None:
                rows = [([*prompt, *c], [False] * len(prompt) + [True] * len(c)) for c in part]
                found += summed_loss(model, rows, pad_token_id)
                continue
            made = Prefill(lm, prefix, [prompt] * len(part), part, pad_token_id)
            found += continuation_losses(made.logits, [[(t, True) for t in c] for c in part])
    return [(0.0 - nll, n) for nll, n in found]
