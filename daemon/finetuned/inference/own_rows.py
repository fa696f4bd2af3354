"""
Rows that a base model writes itself: prompts it samples for its own chat template, and its answers.

After the beginning of a user turn, a chat model goes on with what such turns looked like when it
was made (Xu et al. 2024, "Magpie", arXiv 2406.08464). Trained along with new files, its own answers
keep what it could do before them. Knows models and templates; does not know files.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

from finetuned.data.examples import Example
from finetuned.data.messages import Message
from finetuned.data.render import Renderer
from finetuned.errors import MalformedExample
from finetuned.inference.cached_lm import answering
from finetuned.inference.generate import generate
from finetuned.model.types import LanguageModel

TOGETHER: Final = 16
"""Prompts sampled in one batch."""

TRIES: Final = 8
"""Prompts sampled for each row wanted before the model is called exhausted."""

_MARK: Final = "probe 7"


@dataclass(frozen=True, slots=True)
class OwnRow:
    """
    One prompt that a model made up, and its answer.
    """

    prompt: str
    answer: str


class OwnRows:
    """
    The rows of one model.

    Args:
        model: A base model or a version; it is left in the mode it was in.
        renderer: Of its tokenizer and template.
        seed: The same seed gives the same rows on the same machine.
        temperature: Of the prompts, > 0; answers are greedy.
        max_prompt_tokens: A longer prompt is refused.
        max_new_tokens: A longer answer is refused.
    """

    def __init__(
        self,
        model: LanguageModel,
        renderer: Renderer,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        max_prompt_tokens: int = 128,
        max_new_tokens: int = 256,
    ) -> None:
        self._model = model
        self._renderer = renderer
        self._seed = seed
        self._temperature = temperature
        self._max_prompt_tokens = max_prompt_tokens
        self._max_new_tokens = max_new_tokens
        self.refused: Counter[str] = Counter()
        """Prompts that became no row, by reason."""

    def rows(self, n: int, deadline: float) -> Iterator[OwnRow]:
        """
        Yield up to *n* rows, each prompt once; fewer if the model is exhausted or time is up.

        Args:
            n: Rows wanted.
            deadline: On the clock of time.monotonic, in seconds.
        """
        opening, ending = self._user_turn()
        torch.manual_seed(self._seed)
        seen: set[str] = set()
        made = tried = 0
        while made < n and tried < TRIES * n and time.monotonic() < deadline:
            tried += TOGETHER
            prompts = []
            for prompt in self._prompts(opening, ending):
                if prompt in seen:
                    self.refused["a prompt again"] += 1
                    continue
                seen.add(prompt)
                prompts.append(prompt)
            for row in self._answered(prompts, deadline):
                if made == n:
                    self.refused["more than were wanted"] += 1
                    continue
                made += 1
                yield row

    def _user_turn(self) -> tuple[list[int], int]:
        """Return the ids before a user's message, and the first id after it."""
        turn: Message = {"role": "user", "content": _MARK}
        text = self._renderer.template.prompt([turn], None)
        before, _, after = text.partition(_MARK)
        ids = self._renderer.conversation_ids([turn], None)
        opening = self._encode(before)
        if ids[: len(opening)] != opening or not after:
            # A template whose beginning merges with the message: nothing before it is kept.
            opening = ids[:1]
        return opening, self._encode(after)[0] if after else next(
            iter(self._renderer.stop_token_ids)
        )

    def _encode(self, text: str) -> list[int]:
        tokenizer: Any = self._renderer.tokenizer
        return list(tokenizer.encode(text, add_special_tokens=False))

    def _prompts(self, opening: list[int], ending: int) -> Iterator[str]:
        """Sample one batch of prompts and yield those that ended."""
        stops = sorted({ending, *self._renderer.stop_token_ids})
        ids = torch.tensor([opening] * TOGETHER, device=self._model.device)
        with answering(self._model), torch.inference_mode():
            out = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=self._temperature,
                top_k=0,
                max_new_tokens=self._max_prompt_tokens,
                eos_token_id=stops,
                pad_token_id=self._renderer.pad_token_id,
                use_cache=True,
            )
        for row in out[:, len(opening) :].tolist():
            end = next((i for i, token in enumerate(row) if token in stops), None)
            if end is None:
                self.refused["a prompt without an end"] += 1
                continue
            prompt = self._renderer.decode(row[:end]).strip()
            if len(prompt) < 2:
                self.refused["an empty prompt"] += 1
                continue
            yield prompt

    def _answered(self, prompts: list[str], deadline: float) -> Iterator[OwnRow]:
        """Answer prompts and yield those whose answers are whole, as rows."""
        asked: list[tuple[str, list[int]]] = []
        for prompt in prompts:
            turn: Message = {"role": "user", "content": prompt}
            try:
                asked.append((prompt, self._renderer.conversation_ids([turn], None)))
            except MalformedExample as error:
                self.refused[f"a prompt that is no text ({error.code})"] += 1
        answers = generate(
            self._model,
            [ids for _, ids in asked],
            stop_token_ids=self._renderer.stop_token_ids,
            pad_token_id=self._renderer.pad_token_id,
            max_new_tokens=self._max_new_tokens,
            deadline=deadline,
            batch_size=TOGETHER,
        )
        for (prompt, _), answer in zip(asked, answers, strict=True):
            text = self._renderer.decode(answer.ids)
            if answer.timed_out:
                self.refused["no time to answer"] += 1
            elif not answer.stopped:
                self.refused["an answer without an end"] += 1
            elif not text.strip():
                self.refused["an empty answer"] += 1
            elif (reason := self._unfit(prompt, text)) is not None:
                self.refused[f"an answer that is no text ({reason})"] += 1
            else:
                yield OwnRow(prompt, text)

    def _unfit(self, prompt: str, answer: str) -> str | None:
        """Return why the row could not be trained, None if it can."""
        messages: list[Message] = [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": answer},
        ]
        try:
            self._renderer.render(
                Example(kind="conversation", format="messages", messages=messages)
            )
        except MalformedExample as error:
            return str(error.code)
        return None
