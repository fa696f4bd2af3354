"""
Examples to token ids and the mask of supervised tokens: one renderer for training and serving.

The mask is made from token ids by incremental rendering, never by searching
for markers in text. For each assistant turn the prompt is rendered as serving
renders it (with the generation prompt) and tokenised as serving tokenises it;
the ids that follow once the answer is there, up to the token that ends the
turn, are what the model must learn to produce. Templates without
``{% generation %}`` marks therefore need no patch.

If a template rewrites earlier turns (stock Qwen3 drops their think block),
one conversation becomes several sequences, each ending at the turn it
teaches, so that every turn is learned after exactly the ids that serving sees.

transformers is imported inside ``Renderer.load``, and only its tokenizers,
which do not load torch. Knows templates and tokens; does not know files of
examples, splits or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.data.chat_template import ChatTemplate, adds_bos
from finetuned.data.examples import Example
from finetuned.data.messages import Message, Tool
from finetuned.data.training_sequence import (
    TrainingSequence,
    TurnIds,
    check_sequences,
    join_turns,
)
from finetuned.data.turn import Turn
from finetuned.errors import BaseModelMissing, ConfigError, MalformedExample

RENDER_VERSION: Final = 2
"""Raised when the same example and template would give other ids or another mask."""

_Plan = str | list[Turn] | MalformedExample
"""An example before tokenisation: a plain text, its turns, or why it is refused."""


class Renderer:
    """
    One tokenizer and chat template with one policy; make it with ``load``.
    """

    def __init__(
        self, tokenizer: Any, *, max_length: int, limited_by: str, enable_thinking: bool
    ) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self.max_length = max_length
        self._limited_by = limited_by
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                "model.base: its tokenizer has no eos token, so nothing ends an answer"
            )
        self.eos_token_id: int = tokenizer.eos_token_id
        self.bos_token_id: int | None = tokenizer.bos_token_id
        self.pad_token_id: int = (
            self.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        )
        self._adds_bos = adds_bos(tokenizer)
        self._template = ChatTemplate(tokenizer, enable_thinking=enable_thinking)
        self.stop_token_ids: frozenset[int] = frozenset({self.eos_token_id})
        self.shows_names = True
        """Whether the chat template shows the ``name`` of a turn."""
        self.fingerprint = ""
        """12 hex digits that differ if the same example would give other ids or another mask."""

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        max_length: int,
        limited_by: str = "data.max_length",
        enable_thinking: bool = False,
    ) -> Renderer:
        """
        Load the tokenizer of a model directory.

        Args:
            path: Holds tokenizer.json, and perhaps chat_template.jinja,
                tokenizer_config.json and generation_config.json.
            max_length: Longest sequence in tokens, prompt and answer together.
            limited_by: The name of that limit, for the message of a row that is too long.
            enable_thinking: Passed to templates that know the switch.

        Raises:
            BaseModelMissing: There is no tokenizer.json in *path*.
            ConfigError: The tokenizer has no eos token or cannot be read.
        """
        if not (path / "tokenizer.json").is_file():
            raise BaseModelMissing(str(path), [path])
        # The generic class reads tokenizer.json as it is; the model-specific
        # ones would load torch (0.2 GB, 2 s) and give the same ids.
        from transformers import PreTrainedTokenizerFast

        try:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"model.base: the tokenizer in {path} cannot be read: {error}"
            ) from error
        renderer = cls(
            tokenizer,
            max_length=max_length,
            limited_by=limited_by,
            enable_thinking=enable_thinking,
        )
        template = renderer._template
        try:
            template.find_stop_tokens(path / "generation_config.json")
        except MalformedExample as error:
            raise ConfigError(
                f"model.base: the chat template in {path} cannot render one question and its "
                f"answer, so no row could be read: {error.reason}"
            ) from error
        renderer.stop_token_ids = template.stop_token_ids
        renderer.shows_names = template.shows_names()
        facts: list[object] = [template.source, enable_thinking, max_length, RENDER_VERSION]
        facts += [sorted(renderer.stop_token_ids), renderer.pad_token_id]
        digest = sha256((path / "tokenizer.json").read_bytes())
        digest.update(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))
        renderer.fingerprint = digest.hexdigest()[:12]
        return renderer

    @property
    def template(self) -> ChatTemplate:
        """The chat template."""
        return self._template

    def render(self, example: Example) -> list[TrainingSequence]:
        """
        Return the training sequences of one example, in the order of its turns.

        Raises:
            MalformedExample: The code is one of too_long, too_slow, control_token,
                template_error, template_drops, think_conflict, no_stop_token,
                no_supervised_token.
        """
        result = self.render_many([example])[0]
        if isinstance(result, MalformedExample):
            raise result
        return result

    def render_many(
        self, examples: Iterable[Example]
    ) -> list[list[TrainingSequence] | MalformedExample]:
        """
        Render many examples at once; faster, because their texts are tokenised together.

        Returns:
            One entry per example, in order: its sequences, or why it is refused.
        """
        plans = [self._plan(example) for example in examples]
        texts = [
            text
            for plan in plans
            if isinstance(plan, list)
            for turn in plan
            for text in (turn.prompt, turn.prompt + turn.answer)
        ]
        encoded = iter(self._encode_many(texts))
        results: list[list[TrainingSequence] | MalformedExample] = []
        for plan in plans:
            if isinstance(plan, MalformedExample):
                results.append(plan)
                continue
            if isinstance(plan, str):
                sequences = [self._plain(plan)]
            else:
                ids = [self._turn_ids(turn, next(encoded), next(encoded)) for turn in plan]
                sequences = join_turns(ids)
            try:
                check_sequences(
                    sequences,
                    max_length=self.max_length,
                    limited_by=self._limited_by,
                    stop_token_ids=self.stop_token_ids,
                )
                results.append(sequences)
            except MalformedExample as error:
                results.append(error)
        return results

    def prompt_ids(self, example: Example) -> list[int]:
        """
        Return the ids that serving feeds the model to get the last assistant turn.

        Raises:
            MalformedExample: As ``render``.
            ValueError: The example is a text, which has no prompt.
        """
        return self._encode_many([self._template.last_turn(example).prompt])[0]

    def conversation_ids(self, messages: list[Message], tools: list[Tool] | None) -> list[int]:
        """
        Return the ids that the model is fed to answer a conversation, as prompt_ids() does.

        Args:
            messages: As ChatTemplate.prompt() takes them.
            tools: As Example.tools.

        Raises:
            MalformedExample: control_token, template_error or too_slow.
        """
        return self._encode_many([self._template.prompt(messages, tools)])[0]

    @property
    def tokenizer(self) -> object:
        """The tokenizer of transformers, for libraries that need all of its tokens."""
        return self._tokenizer

    def text_ids(self, text: str) -> list[int]:
        """
        Return the ids of a plain text as the tokenizer begins every text, with one bos token.
        """
        ids = self._encode_many([text], special=True)[0]
        if self._adds_bos and len(ids) > 1 and ids[0] == ids[1]:
            ids = ids[1:]  # the text begins with the token that the tokenizer adds
        return ids

    def golden(self, example: Example) -> str:
        """
        Return the last assistant turn as the model must write it, without its stop token.

        Raises:
            MalformedExample: As ``render``.
            ValueError: The example is a text, which has no answer.
        """
        return self._template.without_stop(self._template.last_turn(example).answer)

    def answer_ids(self, example: Example, answer: str) -> list[int]:
        """
        Return the ids of *answer* as the last assistant turn, its stop token included.

        Raises:
            MalformedExample: As ``render``.
            ValueError: The example is a text, which has no answer.
        """
        turn: Message = {"role": "assistant", "content": answer}
        other = replace(example, messages=[*example.messages[:-1], turn])
        return self.render(other)[-1].input_ids[len(self.prompt_ids(other)) :]

    def decode(self, ids: Sequence[int]) -> str:
        """
        Return the text of *ids*, special tokens included, without any clean-up.
        """
        return str(self._backend.decode(list(ids), skip_special_tokens=False))

    def _plan(self, example: Example) -> _Plan:
        if example.kind == "text":
            return example.text or ""
        try:
            return self._template.turns(example)
        except MalformedExample as error:
            return error

    def _encode_many(self, texts: list[str], *, special: bool = False) -> list[list[int]]:
        encodings = self._backend.encode_batch_fast(texts, add_special_tokens=special)
        return [encoding.ids for encoding in encodings]

    def _turn_ids(self, turn: Turn, prompt: list[int], whole: list[int]) -> TurnIds:
        # Tokenised together only if that leaves the prompt's ids unchanged:
        # serving does not see the answer when it tokenises the prompt.
        if whole[: len(prompt)] == prompt:
            return TurnIds(prompt, whole[len(prompt) :])
        return TurnIds(prompt, self._encode_many([turn.answer])[0])

    def _plain(self, text: str) -> TrainingSequence:
        ids = self.text_ids(text)
        if ids[-1:] != [self.eos_token_id]:
            ids.append(self.eos_token_id)
        # Nothing comes before the first token, so nothing predicts it.
        return TrainingSequence(ids, [False] + [True] * (len(ids) - 1))
