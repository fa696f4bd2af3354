"""
The base model's tokenizer: bytes, and whole words that commands are made of.

A name has the same tokens wherever it stands, so that copying a name never seen
before is the same work as copying a known one. Only frequent words of sentences,
and the punctuation of JSON, are tokens of their own; they are matched as a whole
or not at all, there are no merges. A space sticks to nothing but the little words
that name nothing, such as "the". Any bytes come back as they were.

Knows tokens and the chat template; does not know the model.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any

from experiments.base_model import wording
from experiments.base_model.commands import draw
from experiments.base_model.notations import words_of_commands
from finetuned.sources.intents.grammar import GAP, tidy
from finetuned.sources.intents.tables import stems

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Padding; start of a turn; end of a turn, the one stop token."""
MARKUP = ("<tool_call>", "</tool_call>")
GLUE = (
    '{"', '"}', '":"', '","', '":', ',"', '":["', '"]}', '":[{"', '"},{"', '"}]}', '"]', '["',
    ": ", ", ", "; ", ". ", "://", "::", "*.",
)  # fmt: skip
KEYS = tidy(
    """
    user assistant system tool action zone ip name host type record target username password
    ref group path share steps batch clarify missing none reason question out scope unsafe dns
    add remove member create grant A AAAA CNAME secret local lan internal com net org home arpa
    corp io de test srv data mnt shares svc
    """
).split() + sorted(words_of_commands())
"""Words that are tokens whatever the corpus counts: roles, JSON keys, common name parts."""

SPACED = tidy(
    """
    the to for a an of with on in at and is be as it from by that this has have we i you
    please should must can could would will not are was if so me us or into under via then also
    """
).split()
"""Words that name nothing; with the space before them they are tokens too."""

WORDS = 1500
CAPITALS = 150
"""How many frequent words are tokens as they are, and capitalised."""

TEMPLATE = """\
{%- macro text(content) -%}
{%- if content is string -%}{{ content }}
{%- elif content -%}{%- for part in content -%}{{ part.text }}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
{{- '<|im_start|>system\\n' -}}
{%- if messages[0].role == 'system' -%}{{ text(messages[0].content) + '\\n' }}{%- endif -%}
{{- 'tools:' -}}
{%- for tool in tools -%}{{ '\\n' + (tool | tojson) }}{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
{{- '<|im_start|>assistant\\n' -}}
{%- generation -%}
{{- text(message.content) -}}
{%- for call in message.tool_calls or [] -%}
{%- set function = call.function or call -%}
{{- '<tool_call>' -}}
{{- {'name': function.name, 'arguments': function.arguments} | tojson -}}
{{- '</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>' -}}
{%- endgeneration -%}
{{- '\\n' -}}
{%- elif not (tools and loop.first and message.role == 'system') -%}
{{- '<|im_start|>' + message.role + '\\n' + text(message.content) + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""


NAMED = ("host", "domain", "person", "group", "share")
"""Kinds of names whose stems are words."""


def frequent_words(n_sentences: int = 40000) -> Counter[str]:
    """
    Count the words of commands and of the answers to small questions, names left out.
    """
    rng = random.Random("base:words")
    texts = [GAP.sub(" ", draw(rng).phrasing) for _ in range(n_sentences)]
    texts += [text for _, answer in wording.FACTS for text in [answer] * 20]
    counts = Counter(word for text in texts for word in re.findall("[A-Za-z]{2,}", text))
    names = {word for kind in NAMED for word in stems(kind)}
    for word in list(counts):
        if word.lower() in names and word not in KEYS:
            del counts[word]
    return counts


def build_tokenizer() -> Any:
    """
    Return the tokenizer, always the same, as a ``PreTrainedTokenizerFast``.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    counts = frequent_words()
    common = [w for w, n in sorted(counts.items(), key=lambda p: (-p[1], p[0])) if n >= 10]
    lower = [w for w in common if w.islower()]
    spaced = sorted(set(SPACED))
    whole = {*KEYS, *lower[:WORDS], *[w for w in common if not w.islower()][:CAPITALS]}
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL, *MARKUP, *alphabet]
    for piece in (*GLUE, *sorted(whole), *(f" {w}" for w in spaced)):
        token = piece.replace(" ", "\u0120")
        if token not in tokens:
            tokens.append(token)
    pattern = (
        f" (?:{'|'.join(spaced)})(?![A-Za-z0-9_]|[-./:@][A-Za-z0-9])"
        r"|[A-Za-z]+|[0-9]|: |, |; |\. |://|::|\*\.|[{}\[\]\x22:,]+|\s"
    )
    tokenizer = Tokenizer(
        models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[], ignore_merges=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in MARKUP])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        chat_template=TEMPLATE,
        model_max_length=2048,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
