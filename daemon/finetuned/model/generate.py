"""
Prompts in, greedy answers out, by a deadline.

Works on token ids: answers are sliced by token, never by the length of a
decoded string. Does not know where prompts come from or what is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList


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


class _Deadline(StoppingCriteria):  # type: ignore[misc]
    """Ends generation between two tokens once time is up, and reports each token."""

    def __init__(self, at: float, on_token: Callable[[], None] | None) -> None:
        self.at = at
        self.on_token = on_token
        self.passed = False

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any
    ) -> torch.BoolTensor:
        if self.on_token is not None:
            self.on_token()
        self.passed = self.passed or time.monotonic() >= self.at
        return torch.full((input_ids.shape[0],), self.passed, device=input_ids.device)  # type: ignore[return-value]


@contextmanager
def answering(model: Any) -> Iterator[None]:
    """
    Put *model* into evaluation mode with a key/value cache, and back.

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


def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    stop_token_ids: Collection[int],
    pad_token_id: int,
    max_new_tokens: int,
    deadline: float,
    on_token: Callable[[], None] | None = None,
) -> list[Answer]:
    """
    Answer *prompts* greedily, as one batch.

    Args:
        model: A causal language model; see answering().
        prompts: Token ids, one list per prompt, none empty. Length N.
        stop_token_ids: Any of these ends an answer.
        pad_token_id: Fills the left side of shorter prompts; it is masked out.
        max_new_tokens: Longest answer, in tokens.
        deadline: When to stop, on the clock of time.monotonic, in seconds.
        on_token: Called once per generated position: a sign of life.

    Returns:
        N answers in the order of *prompts*.
    """
    width = max(len(p) for p in prompts)
    ids = torch.full((len(prompts), width), pad_token_id, dtype=torch.long)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.as_tensor(prompt, dtype=torch.long)
        mask[row, width - len(prompt) :] = 1
    limit = _Deadline(deadline, on_token)
    device = next(model.parameters()).device
    output = model.generate(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=sorted(stop_token_ids),
        pad_token_id=pad_token_id,
        stopping_criteria=StoppingCriteriaList([limit]),
    )
    stops = set(stop_token_ids)
    answers = []
    for row in output[:, width:].tolist():
        end = next((i for i, token in enumerate(row) if token in stops), None)
        answers.append(
            Answer(
                ids=row[:end] if end is not None else row,
                stopped=end is not None,
                timed_out=end is None and limit.passed,
            )
        )
    return answers
