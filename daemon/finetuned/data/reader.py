"""
Rows to examples: the one reader that ingestion, suites and the commands share.

``read_line`` takes the bytes of one line and returns what was read, or why it cannot be
trained; it never raises for a row, whatever is in it. A value that is not a string is never
converted into one: a bare number as an answer is usually a broken export.

Knows the formats; does not know templates, tokens or files.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from finetuned.data.answer_formats import check_answer
from finetuned.data.examples import Example
from finetuned.data.formats import alpaca, input_output, messages, prompt, sharegpt, text
from finetuned.data.formats.draft import Draft
from finetuned.data.formats.row_format import RowFormat
from finetuned.data.messages import kind_of
from finetuned.data.strict_json import parse_line
from finetuned.errors import MalformedExample

FORMATS: Final[tuple[RowFormat, ...]] = (
    messages.FORMAT,
    sharegpt.FORMAT,
    prompt.FORMAT,
    alpaca.FORMAT,
    input_output.FORMAT,
    text.FORMAT,
)
"""Every format, the most specific keys first: the first whose keys all have a value decides."""


class UnknownKeys(StrEnum):
    """
    What is done with a row that has a key nobody knows (``data.unknown_keys``).
    """

    REPORT = "report"  # the row is trained, the key is kept as metadata and counted
    REFUSE = "refuse"  # the row is refused


@dataclass(frozen=True, slots=True)
class ReadRow:
    """
    One row that can be trained.
    """

    example: Example
    unused: tuple[str, ...]
    """
    Its keys that no reader knows, each once, in alphabetical order; a key of a turn is
    written with the list that the turn is in: ``messages[].mood``.
    """


def read_line(
    line: bytes, *, unknown_keys: UnknownKeys = UnknownKeys.REPORT
) -> ReadRow | MalformedExample:
    """
    Read one line of a dropped file.

    Args:
        line: One JSON value in UTF-8, without its line break (a final CR is allowed).
        unknown_keys: What is done with a key nobody knows.

    Returns:
        The example and its unused keys, or the refusal: its ``code``, its ``reason``
        and, where something can be done, a ``hint`` that says what.
    """
    try:
        return read_row(parse_line(line), unknown_keys=unknown_keys)
    except MalformedExample as error:
        return error


def read_row(row: object, *, unknown_keys: UnknownKeys = UnknownKeys.REPORT) -> ReadRow:
    """
    Read one parsed row.

    Turns after the last answer that carries loss are left out: there is nothing to learn.

    Raises:
        MalformedExample: The codes are those of docs/reference/rows.md, except the ones that
            only a base's template and tokenizer decide.
    """
    read = _read(row)
    check_answer(read.example)
    unused = read.unused
    if unused and unknown_keys is UnknownKeys.REFUSE:
        raise MalformedExample(
            "unknown_key",
            f"a row of the format {read.example.format!r} has no key "
            f"{', '.join(map(repr, unused))}"[:400],
            hint="Remove the key, move it into metadata, or set data.unknown_keys to report",
        )
    return read


def to_example(row: object) -> Example:
    """
    Return the example of one parsed row; its unused keys are not reported.

    Its ``answer_format`` is not looked at: an item of a suite may have no answer.

    Raises:
        MalformedExample: As ``read_row``.
    """
    return _read(row).example


def _read(row: object) -> ReadRow:
    if not isinstance(row, dict):
        raise MalformedExample("not_an_object", f"a row must be a JSON object, got {kind_of(row)}")
    found = _format_of(row)
    draft = Draft()
    example = found.read(row, draft)
    return ReadRow(example, tuple(sorted(draft.unused)))


def _format_of(row: Mapping[str, object]) -> RowFormat:
    for found in FORMATS:
        if all(row.get(key) is not None for key in found.needs):
            return found
    for found in FORMATS:  # a key whose value is null: its reader says what is missing
        if all(key in row for key in found.needs):
            return found
    for keys, remedy in _OTHER_FORMATS.items():
        if all(key in row for key in keys):
            code = _CODES.get(remedy, "unknown_format")
            raise MalformedExample(code, f"rows of {' and '.join(keys)} are not read", hint=remedy)
    listed = ", ".join(sorted(repr(str(k)[:40]) for k in row)[:20]) or "none"
    titles = "; or ".join(found.title for found in FORMATS)
    raise MalformedExample(
        "unknown_format",
        f"no known format: keys are {listed}; expected {titles}",
        hint=_hint_of_wrapper(row),
    )


def _hint_of_wrapper(row: Mapping[str, object]) -> str:
    """Return what to do with an object that holds a whole dataset in a list; else nothing."""
    for key, value in row.items():
        if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            path = f"--arg k {shlex.quote(key)} '.[$k][]'"
            return (
                f"If the rows are the {len(value)} objects in its list {key!r}: "
                f"jq -c {path} FILE > NEW.jsonl"
            )
    return ""


_PAIRS: Final = "Drop rows with the good answer alone: a prompt and its completion"
_ANSWERS: Final = "Drop one row for each good answer, as prompt and completion"
_TOKENS: Final = "Drop the text: every version tokenises it for its own base model"
_CODES: Final[Mapping[str, str]] = {
    _PAIRS: "preference_row",
    _ANSWERS: "preference_row",
    _TOKENS: "tokenized_row",
}
"""What to do with rows of other tools -> their code, as for the same keys in a known format."""
_OTHER_FORMATS: Final[Mapping[tuple[str, ...], str]] = {
    ("chosen", "rejected"): _PAIRS,
    ("chosen",): _PAIRS,
    ("preferred_output",): _PAIRS,
    ("prompt", "completions"): _ANSWERS,
    ("input_ids",): _TOKENS,
    ("query", "response"): "Rename query to prompt and response to completion",
    ("instruction", "response"): "Rename response to output",
    ("prompt", "response"): "Rename response to completion",
    ("question", "answer"): "Rename question to prompt and answer to completion",
    ("conversation",): "Rename conversation to messages, a list of turns with role and content",
    ("dialogue",): "Rename dialogue to messages, a list of turns with role and content",
    ("contents",): "Write each content as a turn of messages: role, and its parts as content",
    ("segments",): "Write the row as messages; answers are trained and questions are not",
}
"""Keys of formats of other tools -> what to do with such rows."""
