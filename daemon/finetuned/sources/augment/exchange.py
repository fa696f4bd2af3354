"""
What a transform sees of a row: its last question, its answer, and which words of them may change.

Words of the answer, names, numbers and whatever stands in quotes are content and stay. So does
what follows a colon or a line break: in "Translate to German: the house" it is what is worked on.
Pure; does not know transforms.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from finetuned.core.scoring.json_values import NOT_JSON, parse_json
from finetuned.data.examples import Example

_CHUNK: Final = re.compile(r"\S+")
_WORD: Final = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_PAYLOAD: Final = re.compile(r":\s|\n")
_QUOTED: Final = re.compile(r"`[^`]*`|\"[^\"]*\"|'[^']*'(?!\w)|[\u201c\u00ab][^\u201d\u00bb]*.")
_EDGES: Final = ".,;:!?()[]{}<>\"'`"

NOT_FOR_TEXT: Final = "text_row"
NOT_FOR_TOOLS: Final = "tool_call"
NOT_FOR_SEVERAL: Final = "several_answers"
NOT_FOR_OTHER: Final = "no_question"
"""Why a row cannot have children."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """
    The part of a row that transforms work on.
    """

    prompt: str
    """The last user message."""
    answer: str
    """The assistant's answer to it."""
    common: frozenset[str] = frozenset()
    """Words, in small letters, that many rows of the file have: the file's way of asking."""
    values: tuple[str, ...] = ()
    """Values that the answer copies from the prompt and that may be exchanged in both."""


@dataclass(frozen=True, slots=True)
class FreeWord:
    """
    A word of a prompt that may be written or said otherwise.
    """

    start: int
    text: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def exchange_of(example: Example) -> Exchange | str:
    """
    Return what may be transformed of a row, or why nothing may: one of the words above.
    """
    if example.kind != "conversation":
        return NOT_FOR_TEXT
    messages = example.messages
    if example.tools or any(m.get("tool_calls") or m["role"] == "tool" for m in messages):
        return NOT_FOR_TOOLS
    if sum(m["role"] == "assistant" for m in messages) - len(example.untrained) != 1:
        return NOT_FOR_SEVERAL
    if len(messages) < 2 or messages[-2]["role"] != "user" or messages[-1]["role"] != "assistant":
        return NOT_FOR_OTHER
    if not messages[-2]["content"].strip() or messages[-1].get("reasoning_content"):
        return NOT_FOR_OTHER
    return Exchange(messages[-2]["content"], messages[-1]["content"])


def instruction_end(prompt: str) -> int:
    """
    Return where the instruction of a prompt ends and the text that it is about begins.
    """
    found = _PAYLOAD.search(prompt.rstrip())
    return found.start() if found else len(prompt)


def words_of(text: str) -> Iterator[str]:
    """
    Yield the words and values of a text, without punctuation around them.
    """
    for chunk in _CHUNK.findall(text):
        if core := chunk.strip(_EDGES):
            yield core


def free_words(exchange: Exchange) -> list[FreeWord]:
    """
    Return the words of the instruction that are neither content nor name, in their order.
    """
    prompt = exchange.prompt
    answer = {word.casefold() for word in re.findall(r"\w+", exchange.answer)}
    quoted = [match.span() for match in _QUOTED.finditer(prompt)]
    found: list[FreeWord] = []
    begins = True
    for chunk in _CHUNK.finditer(prompt, 0, instruction_end(prompt)):
        core = chunk[0].strip(_EDGES)
        start = chunk.start() + chunk[0].find(core) if core else chunk.start()
        is_name = not (core.islower() or core == "I" or (begins and core[1:].islower()))
        begins = chunk[0].endswith((".", "!", "?"))
        if (
            core
            and _WORD.fullmatch(core)
            and not is_name
            and core.casefold() in exchange.common
            and core.casefold() not in answer
            and not any(low <= start < high for low, high in quoted)
        ):
            found.append(FreeWord(start, core))
    return found


def kept_values(exchange: Exchange) -> Counter[str]:
    """
    Return the values of the answer that stand in the prompt, with how often: they must stay there.

    Values are the strings and numbers of a JSON answer, and the words of another one.
    """
    in_prompt = Counter(words_of(exchange.prompt))
    parsed = parse_json(exchange.answer)
    if parsed is NOT_JSON or not isinstance(parsed, dict | list):
        values = set(words_of(exchange.answer))
        return Counter({v: n for v, n in in_prompt.items() if v in values})
    found: Counter[str] = Counter()
    for _, value in leaves(parsed):
        text = value if isinstance(value, str) else str(value)
        if n := occurrences(text, exchange.prompt):
            found[text] = n
    return found


def leaves(value: object, path: str = "$") -> Iterator[tuple[str, str | int | float | bool | None]]:
    """
    Yield path and value of everything in a JSON value that is neither object nor list.

    The path of an item of a list has ``[]`` for its place; the ``action`` of an object, if it has
    one, stands in the path, because other actions have other fields.
    """
    if isinstance(value, dict):
        kind = value.get("action")
        here = f"{path}({kind})" if isinstance(kind, str) else path
        for key, item in value.items():
            yield from leaves(item, f"{here}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, f"{path}[]")
    elif isinstance(value, str | int | float) or value is None:
        yield path, value


def occurrences(value: str, text: str) -> int:
    """
    Return how often *value* stands in *text* as a whole word: "home" is no part of "home.lan".
    """
    return 0 if not value.strip() else len(_whole(value).findall(text))


def exchanged(text: str, values: dict[str, str]) -> str:
    """
    Return *text* with every whole occurrence of each key replaced by its value, all at once.
    """
    if not values:
        return text
    longest_first = sorted(values, key=len, reverse=True)
    pattern = "|".join(_whole(value).pattern for value in longest_first)
    return re.sub(pattern, lambda match: values[match[0]], text)


def _whole(value: str) -> re.Pattern[str]:
    before = r"(?<!\w)(?<!\w[.\-/:@_])" if not value.startswith("/") else r"(?<![\w/])"
    return re.compile(rf"{before}{re.escape(value)}(?!\w)(?![.\-/:@_]\w)")
