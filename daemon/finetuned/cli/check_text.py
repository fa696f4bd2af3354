"""
What a person reads after ``finetuned check``.

Knows what a check found; does not know files or how it was found.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from finetuned.core.set_aside import halves
from finetuned.core.text import printable, visible
from finetuned.data.file_shape import FileShape, way_out
from finetuned.data.holdout import HELD_OUT, RESERVED, TRAIN
from finetuned.files.dataset_result import DatasetOutcome

if TYPE_CHECKING:
    from finetuned.ingestion.check import Checked

TO_DO: Final = {
    "not_utf8": "save the file as UTF-8; from Western Windows: iconv -f WINDOWS-1252 -t UTF-8",
    "not_json": "write one whole JSON object on the line, with double quotes around keys and texts",
    "duplicate_key": "keep one of the two",
    "too_deep": "flatten the row, or write the inner part as text",
    "not_a_number": "write null, or leave the key out",
    "number_range": "write the number as a text",
    "line_too_long": "split the row, or raise data.max_line_bytes",
    "not_an_object": 'write the row as an object, such as {"prompt": "...", "completion": "..."}',
    "empty_content": "give the turn a text, or remove it",
    "bad_tool_call": "write arguments as an object, or as JSON text of one",
    "no_assistant": "end the row with the answer to learn, as a turn of the assistant",
    "no_prompt": "put the question before the answer",
    "no_stop_token": "use a base model whose chat template ends each answer",
    "template_error": "write the row as the base's chat template allows, or use another base",
    "too_slow": "shorten the row, or use another base",
}
"""Code -> what to do, for codes whose reason does not say it."""

PIECE_CHARACTERS: Final = 600
"""Longest piece of a row that is shown whole."""

TRAINED: Final = ("\u27e6", "\u27e7")
PLAIN_TRAINED: Final = ("[[", "]]")
"""What stands around trained tokens if there is no colour; the second on old terminals."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """
    With what a file was checked.
    """

    path: Path
    base: str
    """The base model, as model.base names it."""
    root: Path | None
    max_length: int
    limited_by: str
    """The name of the limit that max_length comes from."""


@dataclass(frozen=True, slots=True)
class Piece:
    """
    A part of a row as the model will see it.
    """

    text: str
    trained: bool


def verdict(checked: Checked, about: Circumstances) -> str:
    """
    Return what would become of the file, in one sentence.
    """
    name = about.path.name
    if checked.shape is not FileShape.LINES:
        file = shlex.quote(str(about.path))
        advice = way_out(checked.shape, f"finetuned convert {file}", file)
        return f"{name} would be set aside: it is {checked.shape}, not JSON lines; {advice}"
    if checked.outcome is DatasetOutcome.DUPLICATE:
        return f"{name} would not be trained again: {checked.reason}"
    if checked.outcome is not DatasetOutcome.ACCEPTED:
        return f"{name} would be set aside, with all of its rows: {_why_set_aside(checked)}"
    trained, held_out, left_out = checked.rows_of
    if checked.every_row_is_used:
        return (
            f"{name} would be accepted with every row: {trained:,} to train, {held_out:,} held "
            "out to measure the gain"
        )
    missing = [f"{checked.report.rows_rejected:,} rejected"] * bool(checked.rejected)
    missing += [f"{left_out:,} left out"] * bool(left_out)
    return (
        f"{name} would be accepted with {trained + held_out:,} of its "
        f"{checked.report.rows_read:,} rows: {trained:,} to train, {held_out:,} held out to "
        f"measure the gain; {' and '.join(missing)}"
    )


def _why_set_aside(checked: Checked) -> str:
    """Return the reason without the codes in it: they are listed below with their lines."""
    reason = checked.reason or str(checked.outcome)
    if not checked.rejected:
        return reason
    found, remedy = halves(reason)
    limit = ", more than data.max_rejected_fraction allows" if checked.report.rows_accepted else ""
    return f"{found.partition(': ')[0]}{limit}{f'; {remedy}' if remedy else ''}"


def table(checked: Checked, about: Circumstances) -> list[str]:
    """
    Return the figures of a file of JSON lines, one line each.
    """
    found = checked.report.as_dict()
    rows = [
        ("base", f"{about.base}, with {_settings(about)}"),
        ("rows", f"{found['rows_accepted']:,} accepted, {found['rows_rejected']:,} rejected"),
        ("formats", _counts(found["formats"])),
        ("length", _lengths(checked, about)),
        ("trained", f"{found['supervised_share']:.1%} of {found['tokens']:,} tokens"),
        ("unused keys", _counts(checked.report.unused_keys, of=checked.report.rows_accepted)),
        *_labelled("repeats", _repeats(checked)),
        *_labelled("known", _seen(checked)),
    ]
    if not found["rows_accepted"]:
        rows = rows[:2]
    elif checked.no_heldout_because is not None:
        rows.append(("held out", f"none: {checked.no_heldout_because}"))
    return [f"  {label:12}{printable(text)}".rstrip() for label, text in rows if text]


def rejected(checked: Checked) -> list[str]:
    """
    Return the reasons for which lines are rejected, with the numbers of the first lines.
    """
    lines = []
    for code, kind in checked.rejected.items():
        numbers = ", ".join(map(str, kind.lines))
        more = ", ..." if kind.rows > len(kind.lines) else ""
        word = "line" if kind.rows == 1 else "lines"
        lines.append(f"  {kind.rows:,} {code}: {word} {numbers}{more}")
        first = f"line {kind.lines[0]}: " if kind.rows > 1 else ""
        lines.append(f"      {first}{printable(kind.reason)}")
        if code in TO_DO:
            lines.append(f"      {TO_DO[code]}")
    return lines


def asked(checked: Checked, lines: Iterable[int]) -> list[str]:
    """
    Return, of the lines that somebody asked for, those that are not trained, each with its reason.
    """
    found = []
    shown = {row.line for row in checked.shown}
    refused = {rejected.line: rejected for rejected in checked.asked}
    for line in sorted(set(lines) - shown):
        if line in refused:
            kind = refused[line]
            found += ["", f"line {line}: rejected, {kind.code}: {printable(kind.reason)}"]
            found.append(f"  it begins with: {visible(kind.text)}")
        else:
            found += ["", f"line {line}: there is no row"]
    return found


def shortened(text: str) -> str:
    """
    Return *text* as a terminal may show it, without the middle of a long one.
    """
    text = visible(text)
    if len(text) <= PIECE_CHARACTERS:
        return text
    half = PIECE_CHARACTERS // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]} [... {left_out:,} characters ...] {text[-half:]}"


def marked(pieces: Sequence[Piece], marks: tuple[str, str]) -> str:
    """
    Return pieces as one text, with *marks* around what is trained.
    """
    begin, end = marks
    return "".join(f"{begin}{p.text}{end}" if p.trained else p.text for p in pieces)


def _settings(about: Circumstances) -> str:
    if about.root is None:
        return "the default settings, as there is no root"
    return f"the settings of {about.root}"


def _counts(counts: dict[str, int], *, of: int | None = None) -> str:
    share = "" if of is None else f" of {of:,} rows"
    return ", ".join(
        f"{name} in {n:,}{share}" if of is not None else f"{name} {n:,}"
        for name, n in counts.items()
    )


def _lengths(checked: Checked, about: Circumstances) -> str:
    lengths = checked.report.as_dict()["length_tokens"]
    if lengths is None or checked.longest is None:
        return ""
    allowed = f"{about.max_length:,} are allowed ({about.limited_by})"
    if lengths["min"] == lengths["max"]:
        return f"{lengths['max']:,} tokens; {allowed}"
    return (
        f"{lengths['min']:,} to {lengths['max']:,} tokens (line {checked.longest[1]:,} is the "
        f"longest); half at most {lengths['p50']:,}, 90% at most {lengths['p90']:,}, 99% at most "
        f"{lengths['p99']:,}; {allowed}"
    )


def _labelled(label: str, texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return a row of the table for each text; the first has the label."""
    return [(label if i == 0 else "", text) for i, text in enumerate(texts)]


def _rows(n: int, verb: str, plural: str) -> str:
    """Return a count of rows with the verb that fits it."""
    return f"1 row {verb}" if n == 1 else f"{n:,} rows {plural}"


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def _repeats(checked: Checked) -> Iterator[str]:
    repeats = checked.repeats
    if repeats.rows:
        pairs = ", ".join(f"line {line:,} is line {first:,}" for line, first in repeats.examples)
        count = _rows(repeats.rows, "repeats", "repeat")
        more = ", ..." if repeats.rows > len(repeats.examples) else ""
        yield f"{count} an earlier row of the file ({pairs}{more})"
    if repeats.other_answers:
        count = _rows(repeats.other_answers, "asks", "ask")
        yield f"{count} what an earlier row of the file asks, with another answer"


def _seen(checked: Checked) -> Iterator[str]:
    seen = checked.seen
    if n := seen.trained:
        yield f"{_rows(n, 'asks', 'ask')} what earlier files of this root trained"
    if n := seen.held_out:
        yield f"{_rows(n, 'asks', 'ask')} what earlier files hold out, which {_is(n)} never trained"
    for name, n in seen.suites.items():
        yield f"{_rows(n, 'asks', 'ask')} what the suite {name} asks, which {_is(n)} never trained"
    for problem in seen.unreadable_suites:
        yield f"not compared with a suite: {problem}"
    if n := checked.rows_of[RESERVED]:
        yield (
            f"{_rows(n, 'is', 'are')} left out: others are held out already, and more would not "
            "be asked"
        )


def used(checked: Checked) -> dict[str, int]:
    """
    Return how many rows are trained, held out and left out.
    """
    counts = checked.rows_of
    return {"train": counts[TRAIN], "held_out": counts[HELD_OUT], "left_out": counts[RESERVED]}
