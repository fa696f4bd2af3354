"""
An exported folder asked as a stranger asks it: by transformers, its tokenizer and its template.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuned.data.examples import Example

if TYPE_CHECKING:
    from finetuned.model.types import LanguageModel


class StockModel:
    """
    A model and a tokenizer of transformers.
    """

    def __init__(self, folder: Path, model: LanguageModel) -> None:
        """
        Read the tokenizer of *folder*.

        Args:
            folder: The export.
            model: Loaded from it.
        """
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = model
        found = model.generation_config.eos_token_id
        self._stops = frozenset(found if isinstance(found, list) else [found])

    def render(self, example: Example) -> str:
        """
        Return the prompt of an example's last turn, without any setting of ours.
        """
        return str(
            self._tokenizer.apply_chat_template(
                example.messages[:-1],
                tools=example.tools,
                tokenize=False,
                add_generation_prompt=True,
            )
        )

    def ids(self, text: str) -> list[int]:
        """
        Return the token ids of a prompt.
        """
        found: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def answer(self, text: str, max_tokens: int) -> tuple[list[int], str]:
        """
        Return the greedy answer to a prompt: its token ids, and its text.
        """
        from finetuned.inference.generate import generate

        found = generate(
            self._model,
            [self.ids(text)],
            stop_token_ids=self._stops,
            pad_token_id=self._tokenizer.pad_token_id or 0,
            max_new_tokens=max_tokens,
            deadline=math.inf,
        )[0]
        ids = list(found.ids)
        return ids, str(self._tokenizer.decode(ids, skip_special_tokens=False))
