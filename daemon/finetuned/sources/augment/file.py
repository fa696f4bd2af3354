"""
A file of rows, written again with the children of its rows.

The file is read twice: once for what its rows show together, once to write each row as it stands
and its children behind it. Knows files; does not know the daemon.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from finetuned.data.examples import Example, prompt_hash
from finetuned.data.reader import ReadRow, read_line
from finetuned.data.strict_json import Oversized, iter_lines
from finetuned.errors import DatasetError
from finetuned.files.atomic import fsync_dir
from finetuned.sources.augment.children import ChildMaker, Counts, Known, as_row
from finetuned.sources.augment.exchange import exchange_of
from finetuned.sources.augment.facts import FileFacts
from finetuned.sources.augment.kept_out import KeptOut
from finetuned.sources.augment.transform import Transform

EMPTY = "the file has no row that can be trained"


@dataclass(frozen=True, slots=True)
class Augmented:
    """
    What came of a file.
    """

    counts: Counts
    rows_written: int
    """Rows of the file and children together."""


def augment(
    source: Path,
    target: Path,
    *,
    kept_out: KeptOut,
    transforms: Sequence[Transform],
    times: int,
    seed: int,
    max_bytes: int,
) -> Augmented:
    """
    Write the rows of *source* with their children into *target*, whole or not at all.

    Args:
        source: JSON lines.
        target: Must not exist.
        kept_out: What no child may say.
        transforms: To draw from.
        times: Rows for each row, itself included.
        seed: Another seed gives other children; the same one the same.
        max_bytes: Longest line that is read.

    Raises:
        DatasetError: No line is a row, one is too long, there is a *target* already, or the
            file changed while it was read.
        OSError: The disk refused.
    """
    if target.exists():
        raise DatasetError(f"{target} exists already, and no file is overwritten: name another")
    status = source.stat()
    facts, known = _first_look(source, max_bytes)
    maker = ChildMaker(facts, kept_out, known, transforms, times, seed, source=source.name)
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("wb") as f:
            n_written = _write(source, f, maker, max_bytes)
            f.flush()
            os.fsync(f.fileno())
        after = source.stat()
        if (after.st_size, after.st_mtime_ns) != (status.st_size, status.st_mtime_ns):
            raise DatasetError(f"{source} changed while it was read; run the command again")
        os.link(part, target)  # unlike a rename, this never replaces a file
    finally:
        part.unlink(missing_ok=True)
    fsync_dir(target.parent)
    return Augmented(maker.counts, n_written)


def _lines(source: Path, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for number, _, line in iter_lines(fd, max_bytes):
            if isinstance(line, Oversized):
                raise DatasetError(
                    f"{source}: line {number} has {line.n_bytes} bytes, and at most {max_bytes} "
                    "are read (data.max_line_bytes); shorten or remove it"
                )
            yield number, line
    finally:
        os.close(fd)


def _example(line: bytes) -> Example | str:
    """Return the example of a line, or the code of its refusal."""
    read = read_line(line)
    return read.example if isinstance(read, ReadRow) else read.code


def _first_look(source: Path, max_bytes: int) -> tuple[FileFacts, Known]:
    facts, known = FileFacts(), Known()
    n_rows = 0
    for _, line in _lines(source, max_bytes):
        example = _example(line)
        if isinstance(example, str):
            continue
        n_rows += 1
        known.add(prompt_hash(example))
        exchange = exchange_of(example)
        if not isinstance(exchange, str):
            facts.add(exchange)
    if not n_rows:
        raise DatasetError(f"{source}: {EMPTY}; finetuned check says why")
    return facts, known


def _write(source: Path, f: IO[bytes], maker: ChildMaker, max_bytes: int) -> int:
    n_written = 0
    for number, line in _lines(source, max_bytes):
        example = _example(line)
        f.write(line.removesuffix(b"\r") + b"\n")
        n_written += 1
        if isinstance(example, str):
            maker.refuse(example)
            continue
        for child in maker.children(example, number):
            f.write(orjson.dumps(as_row(child.example)) + b"\n")
            n_written += 1
    return n_written
