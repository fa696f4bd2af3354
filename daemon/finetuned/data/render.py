"""
Examples to token ids and the mask of what is learned: the one renderer of training and serving.

The mask is made from token ids by incremental rendering, never by searching
for markers in text. For each assistant turn the prompt is rendered as serving
renders it (with the generation prompt) and tokenised as serving tokenises it;
what the template adds when the answer is there, up to the token that ends the
turn, is what the model must learn to produce. Templates without
``{% generation %}`` marks therefore need no patch.

Where a template rewrites earlier turns (stock Qwen3 drops their think block),
one conversation becomes several sequences, each ending at the turn it
teaches, so that every turn is learned after exactly the ids that serving sees.

transformers is imported inside ``Renderer.load``, and only its tokenizers,
which do not load torch. Knows templates and tokens; does not know files of
examples, splits or models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.data.examples import Example
from finetuned.data.messages import Message
from finetuned.data.template_checks import refuse_control_tokens, refuse_losses
from finetuned.errors import BaseModelMissing, ConfigError, MalformedExample

RENDER_VERSION: Final = 1
"""Raised when the same example and template would give other ids or another mask."""

FALLBACK_TEMPLATE: Final = """\
{%- if tools %}{{ 'Tools:\\n' }}
{%- for tool in tools %}{{ (tool | tojson) + '\\n' }}{% endfor %}{{ '\\n' }}{% endif %}
{%- for message in messages %}
{{- message.role | capitalize + ':\\n' + message.content }}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>' + ({'name': call.function.name, 'arguments': call.function.arguments} | tojson) }}
{{- '</tool_call>' }}
{%- endfor %}
{{- (eos_token if message.role == 'assistant' else '') + '\\n\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:\\n' }}{% endif %}"""
"""
For tokenizers that bring no chat template (GPT-2): a role's name on a line of
its own, the content below, the tokenizer's end-of-text token after each answer.
"""

_PROBE: Final = "probe 7"


@dataclass(frozen=True, slots=True)
class TrainingSequence:
    """
    One row of training input.
    """

    input_ids: list[int]
    """Token ids, without padding."""

    supervised: list[bool]
    """For each id, whether the loss is taken on it; same length."""


class Renderer:
    """
    One tokenizer and chat template with one policy; make it with ``load``.
    """

    def __init__(self, tokenizer: Any, *, max_length: int, enable_thinking: bool) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._enable_thinking = enable_thinking
        self.max_length = max_length
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                "model.base: its tokenizer has no eos token, so nothing ends an answer"
            )
        self.eos_token_id: int = tokenizer.eos_token_id
        self.pad_token_id: int = (
            self.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        )
        special = {t.content: i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        self._control = _any_of(special)
        self.stop_token_ids: frozenset[int] = frozenset({self.eos_token_id})
        self.fingerprint = ""

    @classmethod
    def load(cls, path: Path, *, max_length: int, enable_thinking: bool = False) -> Renderer:
        """
        Load the tokenizer of a model directory.

        Args:
            path: Holds tokenizer.json, and perhaps chat_template.jinja,
                tokenizer_config.json and generation_config.json.
            max_length: Longest sequence in tokens, prompt and answer together.
            enable_thinking: Passed to templates that know the switch.

        Raises:
            BaseModelMissing: There is no tokenizer.json in *path*.
            ConfigError: The tokenizer has no eos token or cannot be read.
        """
        if not (path / "tokenizer.json").is_file():
            raise BaseModelMissing(str(path), [path])
        # The generic class reads tokenizer.json as it stands; the model-specific
        # ones would load torch (0.2 GB, 2 s) only to arrive at the same ids.
        from transformers import PreTrainedTokenizerFast

        try:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"model.base: the tokenizer in {path} cannot be read: {error}"
            ) from error
        if not tokenizer.chat_template:
            tokenizer.chat_template = FALLBACK_TEMPLATE
        renderer = cls(tokenizer, max_length=max_length, enable_thinking=enable_thinking)
        renderer._find_stop_tokens(path / "generation_config.json")
        facts = [tokenizer.chat_template, enable_thinking, max_length, RENDER_VERSION]
        facts += [sorted(renderer.stop_token_ids), renderer.pad_token_id]
        digest = sha256((path / "tokenizer.json").read_bytes())
        digest.update(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))
        renderer.fingerprint = digest.hexdigest()[:12]
        return renderer

    def render(self, example: Example) -> list[TrainingSequence]:
        """
        Return the training sequences of one example, in the order of its turns.

        Raises:
            MalformedExample: The code is one of too_long, control_token,
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
        Render many examples at once; faster, as their texts are tokenised together.

        Returns:
            One entry per example, in order: its sequences, or why it is refused.
        """
        plans: list[list[tuple[str, str]] | str | MalformedExample] = []
        for example in examples:
            try:
                plans.append(example.text or "" if example.kind == "text" else self._turns(example))
            except MalformedExample as error:
                plans.append(error)
        texts = [
            text
            for plan in plans
            if isinstance(plan, list)
            for prompt, answer in plan
            for text in (prompt, prompt + answer)
        ]
        encoded = iter(self._encode_many(texts))
        results: list[list[TrainingSequence] | MalformedExample] = []
        for plan in plans:
            if isinstance(plan, MalformedExample):
                results.append(plan)
                continue
            try:
                if isinstance(plan, str):
                    sequences = [self._plain(plan)]
                else:
                    pairs = [(next(encoded), next(encoded)) for _ in plan]
                    sequences = self._assemble(plan, pairs)
                self._check(sequences)
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
        return self._encode_many([self._last_turn(example)[0]])[0]

    def golden(self, example: Example) -> str:
        """
        Return the last assistant turn as the model must write it, without its stop token.

        Raises:
            MalformedExample: As ``render``.
            ValueError: The example is a text, which has no answer.
        """
        _, answer = self._last_turn(example)
        match = self._stop.search(answer)
        return answer if match is None else answer[: match.start()]

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
        Return the text of *ids*, special tokens included, nothing tidied.
        """
        return str(
            self._tokenizer.decode(
                list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    def _find_stop_tokens(self, generation_config: Path) -> None:
        stops = {self.eos_token_id}
        if generation_config.is_file():
            given = orjson.loads(generation_config.read_bytes()).get("eos_token_id")
            stops.update(given if isinstance(given, list) else [given] if given is not None else [])
        messages = [
            {"role": "user", "content": "probe"},
            {"role": "assistant", "content": _PROBE},
        ]
        # The token that ends a turn is often not the tokenizer's eos (Qwen3,
        # Phi-3): it is the first special one after an answer.
        _, _, rest = self._template(messages, None, asks=False).rpartition(_PROBE)
        match = self._control.search(rest)
        if match is not None:
            stops.add(self._tokenizer.convert_tokens_to_ids(match.group()))
        self.stop_token_ids = frozenset(stops)
        self._stop = _any_of(self._tokenizer.convert_ids_to_tokens(sorted(stops)))

    def _template(
        self, messages: list[Message], tools: list[dict[str, Any]] | None, *, asks: bool
    ) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    messages,
                    tools=tools,
                    tokenize=False,
                    add_generation_prompt=asks,
                    enable_thinking=self._enable_thinking,
                )
            )
        except RecursionError:
            raise MalformedExample("template_error", "tools or arguments nest too deep") from None
        except Exception as error:  # a template is somebody's program and may raise anything
            raise MalformedExample(
                "template_error", f"the chat template refuses: {type(error).__name__}: {error}"
            ) from error

    def _turns(self, example: Example) -> list[tuple[str, str]]:
        """
        Return, for each assistant turn, what serving is asked and what it must answer.
        """
        refuse_control_tokens(example, self._control)
        turns = [
            self._turn(example, i)
            for i, message in enumerate(example.messages)
            if message["role"] == "assistant"
        ]
        prompt, answer = turns[-1]
        refuse_losses(example, prompt + answer)
        return turns

    def _turn(self, example: Example, index: int) -> tuple[str, str]:
        messages = example.messages
        prompt = self._template(messages[:index], example.tools, asks=True)
        whole = self._template(messages[: index + 1], example.tools, asks=False)
        if not whole.startswith(prompt):
            message = messages[index]
            if "</think>" in message["content"] or message.get("reasoning_content"):
                raise MalformedExample(
                    "think_conflict",
                    f"message {index} contains reasoning, but the prompt already closes the think "
                    "block (model.enable_thinking is false)",
                )
            raise MalformedExample(
                "template_error",
                f"the chat template renders message {index} otherwise than after its own prompt",
            )
        answer = whole[len(prompt) :]
        match = self._stop.search(answer)
        if match is None:
            raise MalformedExample(
                "no_stop_token",
                f"the chat template puts no stop token after message {index}, so the model "
                "would never learn to stop",
            )
        if not answer[: match.start()].strip():
            if messages[index].get("tool_calls"):
                raise MalformedExample(
                    "template_drops", f"this chat template drops tool calls (message {index})"
                )
            raise MalformedExample(
                "no_supervised_token", f"message {index} renders to nothing that can be learned"
            )
        return prompt, answer[: match.end()]

    def _last_turn(self, example: Example) -> tuple[str, str]:
        if example.kind == "text":
            raise ValueError("a text example has no prompt and no answer")
        refuse_control_tokens(example, self._control)
        return self._turn(example, len(example.messages) - 1)

    def _encode_many(self, texts: list[str], *, special: bool = False) -> list[list[int]]:
        encodings = self._backend.encode_batch_fast(texts, add_special_tokens=special)
        return [encoding.ids for encoding in encodings]

    def _assemble(
        self, turns: list[tuple[str, str]], pairs: list[tuple[list[int], list[int]]]
    ) -> list[TrainingSequence]:
        """
        Join turns into as few sequences as show each turn what serving will show.
        """
        sequences: list[TrainingSequence] = []
        ids: list[int] = []
        mask: list[bool] = []
        for (_, answer), (prompt_ids, whole_ids) in zip(turns, pairs, strict=True):
            n = len(prompt_ids)
            # Tokenised together only where that leaves the prompt's ids alone:
            # serving will not see the answer when it tokenises the prompt.
            if whole_ids[:n] == prompt_ids:
                answer_ids = whole_ids[n:]
            else:
                answer_ids = self._encode_many([answer])[0]
            if ids and prompt_ids[: len(ids)] == ids:
                mask += [False] * (n - len(ids))
                ids = prompt_ids + answer_ids
            else:
                if ids:
                    sequences.append(TrainingSequence(ids, mask))
                ids = prompt_ids + answer_ids
                mask = [False] * n
            mask += [True] * len(answer_ids)
        sequences.append(TrainingSequence(ids, mask))
        return sequences

    def _plain(self, text: str) -> TrainingSequence:
        ids = self._encode_many([text], special=True)[0]
        if ids[-1:] != [self.eos_token_id]:
            ids.append(self.eos_token_id)
        return TrainingSequence(ids, [True] * len(ids))

    def _check(self, sequences: list[TrainingSequence]) -> None:
        for sequence in sequences:
            if len(sequence.input_ids) > self.max_length:
                raise MalformedExample(
                    "too_long",
                    f"{len(sequence.input_ids)} tokens after rendering, at most {self.max_length} "
                    "are allowed (data.max_length and the model's own limit)",
                )
            if not any(sequence.supervised):
                raise MalformedExample("no_supervised_token", "there is no token to learn")
            if not sequence.supervised[-1] or sequence.input_ids[-1] not in self.stop_token_ids:
                raise MalformedExample(
                    "no_stop_token", "the last learned token is not a stop token"
                )


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """
    Return a pattern for any of *tokens*, the longest first, as tokenizers match them.
    """
    return re.compile("|".join(re.escape(t) for t in sorted(tokens, key=len, reverse=True)))
