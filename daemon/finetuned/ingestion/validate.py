"""
The first pass over a file: every line parsed, rendered, written, or rejected with its reason.

Knows lines; does not know what is made of them, the split, or where the file came from.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

from finetuned.core.phase import Phase
from finetuned.core.text import printable
from finetuned.data import chat_template
from finetuned.data.examples import Example, prompt_hash
from finetuned.data.reader import ReadRow, UnknownKeys, read_line
from finetuned.data.render import Renderer
from finetuned.data.row_family import family_of
from finetuned.data.strict_json import Oversized, iter_lines
from finetuned.data.training_sequence import TrainingSequence
from finetuned.errors import MalformedExample
from finetuned.files.line_mark import LineRange
from finetuned.ingestion.rejects import Rejects
from finetuned.ingestion.report import RejectedLine, Report
from finetuned.ingestion.source import Line, SourceUnreadable, Tick, guarded

BATCH_ROWS: Final = 256
BATCH_BYTES: Final = 1 << 20

MOST_SLOW_ROWS: Final = 10
"""Lines of one file that may each take longer than the chat template may; then it is set aside."""

UNSHOWN_NAMES: Final = "messages[].name (the chat template shows no names)"
"""Among the unused keys: who speaks is told to the template, which leaves it out."""

_SHOWN_CHARACTERS: Final = 200
"""Longest part of a rejected line that is shown."""

_READ_FOR_SECRETS: Final = 16_384
"""Bytes of a rejected line in which passwords are looked for; a reason may quote any of them."""

_PASSWORD: Final = re.compile(r'password\w*\\*"\s*:\s*\\*"([^"\\]+)')


class Rows(Protocol):
    """
    What is told of every accepted row; the arguments are those of DatasetWriter.add.
    """

    def add(
        self,
        *,
        line: int,
        offset: int,
        n_bytes: int,
        prompt_hash: int,
        family: int,
        sequences: list[TrainingSequence],
    ) -> None:
        """
        Take one accepted row.
        """


@dataclass(slots=True)
class FirstPass:
    """
    The parts of one file's first pass.
    """

    renderer: Renderer
    max_line_bytes: int
    unknown_keys: UnknownKeys
    writer: Rows
    """Is given the accepted rows."""
    report: Report
    """Counts every line."""
    rejects: Rejects
    """Is given the rejected lines."""
    reading: Callable[[int, int], None] | None = None
    """Told the first and the last line that are worked on from now on; 0 and 0 for none."""
    stuck: Sequence[LineRange] = ()
    """Lines in which earlier tries never got on: one is rejected, several are read one by one."""
    _n_slow: int = field(default=0, init=False)

    def run(self, fd: int, tick: Tick) -> str:
        """
        Validate, render and write every line.

        Args:
            fd: The open source; it is read from its beginning.
            tick: Called between batches; may raise Interrupted.

        Returns:
            The SHA-256 of the bytes read, as 64 hex digits.

        Raises:
            SourceUnreadable: The disk refused to read the source.
            OSError: The disk refused to write.
        """
        digest = sha256()
        n_bytes = 0

        def on_bytes(chunk: bytes) -> None:
            nonlocal n_bytes
            digest.update(chunk)
            n_bytes += len(chunk)
            tick(Phase.VALIDATING, self.report.rows_read, n_bytes)

        os.lseek(fd, 0, os.SEEK_SET)
        lines = guarded(iter_lines(fd, self.max_line_bytes, on_bytes=on_bytes))
        for batch in _batches(lines, self.stuck):
            self._validate(batch, lambda: tick(Phase.VALIDATING, self.report.rows_read, n_bytes))
            tick(Phase.VALIDATING, self.report.rows_read, n_bytes)
        self._say_reading(0, 0)
        return digest.hexdigest()

    def _say_reading(self, first: int, last: int) -> None:
        if self.reading is not None:
            self.reading(first, last)

    def _validate(self, batch: list[Line], go_on: Callable[[], None]) -> None:
        parsed = []
        for number, _, line in batch:
            self._say_reading(number, number)
            parsed.append(self._parse(number, line))
        rendered = iter(self.renderer.render_many(self._examples(batch, parsed, go_on)))
        for (number, offset, line), row in zip(batch, parsed, strict=True):
            if isinstance(row, MalformedExample):
                self._reject(number, row, line)
                continue
            assert isinstance(line, bytes)  # noqa: S101 - an Oversized one is no example
            outcome = next(rendered)
            if isinstance(outcome, MalformedExample):
                self._reject(number, outcome, line)
            else:
                self._accept(number, offset, len(line), row, outcome)

    def _examples(
        self,
        batch: list[Line],
        parsed: list[ReadRow | MalformedExample],
        go_on: Callable[[], None],
    ) -> Iterator[Example]:
        """Yield the examples to render; between two, which may each take long, look around."""
        for (number, _, _), row in zip(batch, parsed, strict=True):
            if isinstance(row, MalformedExample):
                continue
            go_on()
            self._say_reading(number, number)
            began = time.monotonic()
            yield row.example
            self._n_slow += time.monotonic() - began >= chat_template.RENDER_SECONDS
            if self._n_slow > MOST_SLOW_ROWS:
                raise SourceUnreadable(
                    f"the chat template did not finish within {chat_template.RENDER_SECONDS:g} s "
                    f"on more than {MOST_SLOW_ROWS} lines, the last of them line {number}; shorten "
                    "them, or use a base model whose chat template ends"
                )
        self._say_reading(batch[0][0], batch[-1][0])  # their texts are tokenised together

    def _parse(self, number: int, line: bytes | Oversized) -> ReadRow | MalformedExample:
        if any(number == lines.first == lines.last for lines in self.stuck):
            return MalformedExample(
                "too_slow",
                "the validation made no progress on this line, until it was killed after "
                "supervisor.worker_stuck_seconds",
                hint="Shorten it, or use another base",
            )
        if isinstance(line, Oversized):
            return MalformedExample(
                "line_too_long",
                f"the line has {line.n_bytes} bytes, at most {self.max_line_bytes} are allowed "
                "(data.max_line_bytes)",
            )
        return read_line(line, unknown_keys=self.unknown_keys)

    def _accept(
        self,
        number: int,
        offset: int,
        n_bytes: int,
        row: ReadRow,
        sequences: list[TrainingSequence],
    ) -> None:
        unused = row.unused
        if not self.renderer.shows_names and any(
            "name" in m and m["role"] != "tool" for m in row.example.messages
        ):
            unused = (*unused, UNSHOWN_NAMES)
        self.report.count_accepted(row.example.format, sequences, unused)
        self.writer.add(
            line=number,
            offset=offset,
            n_bytes=n_bytes,
            prompt_hash=prompt_hash(row.example),
            family=family_of(row.example),
            sequences=sequences,
        )

    def _reject(self, number: int, error: MalformedExample, line: bytes | Oversized) -> None:
        reason = f"{error.reason}. {error.hint}" if error.hint else error.reason
        head = line.head if isinstance(line, Oversized) else line[:_READ_FOR_SECRETS]
        text = head.decode("utf-8", "backslashreplace")
        for secret in set(_PASSWORD.findall(text)):
            text, reason = text.replace(secret, "***"), reason.replace(secret, "***")
        shown = printable(text)[:_SHOWN_CHARACTERS]
        rejected = RejectedLine(number, error.code, printable(reason), shown)
        self.report.count_rejected(rejected)
        self.rejects.add(rejected)


def _batches(lines: Iterator[Line], stuck: Sequence[LineRange] = ()) -> Iterator[list[Line]]:
    """Yield *lines* in batches; those of *stuck* one by one."""
    batch: list[Line] = []
    n_bytes = 0
    for entry in lines:
        alone = any(entry[0] in lines_of for lines_of in stuck)
        if alone and batch:
            yield batch
            batch, n_bytes = [], 0
        batch.append(entry)
        n_bytes += len(entry[2]) if isinstance(entry[2], bytes) else 0
        if alone or len(batch) >= BATCH_ROWS or n_bytes >= BATCH_BYTES:
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch
