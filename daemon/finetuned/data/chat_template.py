"""
A tokenizer's chat template: conversations as text, cut into prompt and answer of each turn.

A prompt is rendered as serving renders it, with the generation prompt. The answer
is the text that the template adds when the answer is there, up to the token that
ends the turn. Knows templates and text; does not know token ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.data.examples import Example
from finetuned.data.messages import Message, Tool
from finetuned.data.template_checks import LossCheck, refuse_control_tokens
from finetuned.data.time_limit import TimeUp, time_limit
from finetuned.data.turn import Turn
from finetuned.errors import MalformedExample

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
Chat template of tokenizers that have none (GPT-2): the name of the role on a line of
its own, the content below it, and the end-of-text token after each answer. If the tokenizer
begins every text with its bos token, so does the conversation: see ``ChatTemplate.source``.
"""

RENDER_SECONDS: Final = 20.0
"""Longest time that the chat template may take: it is a program, and may loop for ever."""

_OPEN_THINK: Final = re.compile(r"<think>\s*\Z")
_CLOSED_THINK: Final = re.compile(r"</think>\s*\Z")
_INLINE_REASONING: Final = re.compile(r"\s*(?:<think>)?\n*(.*?)\n*</think>", re.DOTALL)

_THINKING: Final = (
    "{{%- if enable_thinking is not defined %}}{{%- set enable_thinking = {} %}}{{%- endif %}}\n"
)
"""Before a published template that knows the switch: its value when nobody sets it."""

BASE: Final = "base"
FALLBACK: Final = "fallback"
"""Whose template is used: the base model's own, or FALLBACK_TEMPLATE."""

DEFAULT: Final = "default"
"""Name of the one template that is used if a tokenizer has several."""

_PROBE: Final = "probe 7"
"""An answer that no template rewrites, to find the token after it."""


class ChatTemplate:
    """
    The chat template of one tokenizer, with one policy for reasoning.
    """

    def __init__(self, tokenizer: Any, *, enable_thinking: bool) -> None:
        if not tokenizer.chat_template:
            begin = "{{ bos_token }}" if adds_bos(tokenizer) else ""
            tokenizer.chat_template = begin + FALLBACK_TEMPLATE
        self._tokenizer = tokenizer
        self._enable_thinking = enable_thinking
        self.source: str | dict[str, str] = tokenizer.chat_template
        """The template that is used, the fallback too."""
        special = {t.content: i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        self._control = _any_of(special)
        self.turn_end: int | None = None
        """The token that the template puts after an answer; None until it is looked for."""
        self.stop_token_ids: frozenset[int] = frozenset()
        self._stop = re.compile(r"(?!)")
        given = self.source if isinstance(self.source, str) else "\n".join(self.source.values())
        self._check = LossCheck(given, self._trained_turns)

    def find_stop_tokens(self, generation_config: Path) -> None:
        """
        Set the tokens that end an answer.

        They are the tokenizer's eos token, those of *generation_config*, and the
        first special token after an answer: the token that ends a turn is often
        not the eos token (Qwen3, Phi-3).

        Args:
            generation_config: The model's generation_config.json, which may be missing.
        """
        stops = {self._tokenizer.eos_token_id}
        if generation_config.is_file():
            given = orjson.loads(generation_config.read_bytes()).get("eos_token_id")
            stops.update(given if isinstance(given, list) else [given] if given is not None else [])
        messages = [
            {"role": "user", "content": "probe"},
            {"role": "assistant", "content": _PROBE},
        ]
        _, _, rest = self._render(messages, None, asks=False).rpartition(_PROBE)
        match = self._control.search(rest)
        if match is not None:
            self.turn_end = self._tokenizer.convert_tokens_to_ids(match.group())
            stops.add(self.turn_end)
        self.stop_token_ids = frozenset(stops)
        self._stop = _any_of(self._tokenizer.convert_ids_to_tokens(sorted(stops)))

    @property
    def origin(self) -> str:
        """BASE, or FALLBACK if the base model has no template."""
        is_own = not isinstance(self.source, str) or not self.source.endswith(FALLBACK_TEMPLATE)
        return BASE if is_own else FALLBACK

    def published(self) -> dict[str, str]:
        """
        Return the templates as they are published with a model, by name.

        A template that knows ``enable_thinking`` gets the value that was trained as its
        default, so that whoever does not set it sees the prompts that were trained.
        """
        named = {DEFAULT: self.source} if isinstance(self.source, str) else self.source
        default = _THINKING.format(str(self._enable_thinking).lower())
        return {
            name: default + text
            if "enable_thinking" in text and not text.startswith(default)
            else text
            for name, text in named.items()
        }

    def shows_names(self) -> bool:
        """
        Return whether the ``name`` of a turn comes into the prompt.
        """
        name = "k7q0z"
        message = {"role": "user", "name": name, "content": _PROBE}
        try:
            return name in self._render([message], None, asks=True)
        except MalformedExample:
            return True  # it has an opinion on names

    def turns(self, example: Example) -> list[Turn]:
        """
        Return every assistant turn of a conversation that carries loss.

        Raises:
            MalformedExample: As Renderer.render.
        """
        refuse_control_tokens(example, self._control)
        turns = self._trained_turns(example)
        self._check.refuse_losses(example, turns)
        return turns

    def last_turn(self, example: Example) -> Turn:
        """
        Return the last assistant turn of a conversation.

        Raises:
            MalformedExample: As Renderer.render.
            ValueError: The example is a text.
        """
        if example.kind == "text":
            raise ValueError("a text example has no prompt and no answer")
        refuse_control_tokens(example, self._control)
        return self._turn(example, len(example.messages) - 1)

    def prompt(self, messages: list[Message], tools: list[Tool] | None) -> str:
        """
        Return the text after which the model answers a conversation.

        Args:
            messages: As Example.messages, but the last one is any turn; not empty.
            tools: As Example.tools.

        Raises:
            MalformedExample: control_token, template_error or too_slow.
        """
        example = Example("conversation", "messages", messages, tools)
        refuse_control_tokens(example, self._control)
        return self._render(messages, tools, asks=True)

    def without_stop(self, answer: str) -> str:
        """
        Return *answer* up to its first stop token.
        """
        match = self._stop.search(answer)
        return answer if match is None else answer[: match.start()]

    def _trained_turns(self, example: Example) -> list[Turn]:
        return [
            self._turn(example, i)
            for i, message in enumerate(example.messages)
            if message["role"] == "assistant" and i not in example.untrained
        ]

    def _render(
        self,
        messages: list[Message],
        tools: list[Tool] | None,
        *,
        asks: bool,
        enable_thinking: bool | None = None,
    ) -> str:
        try:
            with time_limit(RENDER_SECONDS):
                return str(
                    self._tokenizer.apply_chat_template(
                        messages,
                        tools=tools,
                        tokenize=False,
                        add_generation_prompt=asks,
                        enable_thinking=self._enable_thinking
                        if enable_thinking is None
                        else enable_thinking,
                    )
                )
        except TimeUp:
            raise MalformedExample(
                "too_slow",
                f"the chat template did not finish within {RENDER_SECONDS:g} s; shorten the row, "
                "or use a base model whose chat template ends",
            ) from None
        except RecursionError:
            raise MalformedExample("template_error", "tools or arguments nest too deep") from None
        except Exception as error:  # a template is a program and may raise anything
            raise MalformedExample(
                "template_error", f"the chat template refuses: {type(error).__name__}: {error}"
            ) from error

    def _rewritten_prompt(self, example: Example, index: int, prompt: str) -> MalformedExample:
        """
        Return why a turn cannot be learned after the prompt that serving shows.
        """
        message = example.messages[index]
        reasons = "</think>" in message["content"] or message.get("reasoning_content")
        if reasons and _CLOSED_THINK.search(prompt):
            other = self._render(
                example.messages[:index],
                example.tools,
                asks=True,
                enable_thinking=not self._enable_thinking,
            )
            if not self._enable_thinking and other != prompt:
                return MalformedExample(
                    "think_conflict",
                    f"message {index} contains reasoning, but the prompt already closes the "
                    "think block (model.enable_thinking is false)",
                    hint="Set model.enable_thinking = true to learn reasoning, or remove it",
                )
            return MalformedExample(
                "think_conflict",
                f"message {index} contains reasoning, but this chat template closes the think "
                "block in the prompt",
                hint="Remove the reasoning, or use a base whose template lets the model reason",
            )
        return MalformedExample(
            "template_error",
            f"the chat template renders message {index} otherwise than after its own prompt",
        )

    def _turn(self, example: Example, index: int) -> Turn:
        messages = example.messages
        prompt = self._render(messages[:index], example.tools, asks=True)
        whole = self._render(messages[: index + 1], example.tools, asks=False)
        if whole.startswith(prompt):
            answer = whole[len(prompt) :]
        elif (opened := _OPEN_THINK.search(prompt)) and whole.startswith(prompt[: opened.start()]):
            answer = _after_opened_think(messages[index], whole[opened.start() :])
        else:
            raise self._rewritten_prompt(example, index, prompt)
        match = self._stop.search(answer)
        if match is None:
            raise MalformedExample(
                "no_stop_token",
                f"the chat template puts no stop token after message {index}, so the model "
                "would never learn to stop",
            )
        if not answer[: match.start()].strip():
            raise _nothing_to_learn(messages[index], index)
        return Turn(prompt, answer[: match.end()])


def adds_bos(tokenizer: Any) -> bool:
    """
    Return whether a tokenizer begins every text with its bos token.
    """
    ids = tokenizer.backend_tokenizer.encode("a", add_special_tokens=True).ids
    return len(ids) > 1 and ids[0] == tokenizer.bos_token_id


def _after_opened_think(message: Message, rendered: str) -> str:
    """
    Return what the model writes after a prompt that ends with an opened think block.

    Such a template cuts the block out of earlier turns, and out of the last one when it is
    rendered without the generation prompt. Serving sees the model close the block before it
    answers; without reasoning, at once.

    Args:
        message: The assistant turn.
        rendered: What the template makes of it, from where the prompt opens the block.

    Raises:
        MalformedExample: think_conflict: it says something before its own think block.
    """
    if rendered.startswith("<think>"):
        return rendered.removeprefix("<think>").lstrip("\n")
    if "</think>" in rendered:
        return rendered
    inline = _INLINE_REASONING.match(message["content"])
    reasoning = message.get("reasoning_content") or (inline[1] if inline else "")
    if "<think>" in reasoning:
        raise MalformedExample(
            "think_conflict",
            "an answer says something before its think block, which the prompt opens already",
            hint="Move what stands before <think> into the block or behind it",
        )
    return f"{reasoning.strip(chr(10))}\n</think>\n\n" + rendered.lstrip("\n")


def _nothing_to_learn(message: Message, index: int) -> MalformedExample:
    if message.get("tool_calls"):
        return MalformedExample(
            "template_drops", f"this chat template drops tool calls (message {index})"
        )
    return MalformedExample(
        "no_supervised_token", f"message {index} renders to nothing that can be learned"
    )


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """
    Return a pattern for any of *tokens*, the longest first, as tokenizers match them.
    """
    return re.compile("|".join(re.escape(t) for t in sorted(tokens, key=len, reverse=True)))
