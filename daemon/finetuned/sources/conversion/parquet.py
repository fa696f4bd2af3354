"""
A Parquet file, read as rows. Needs the package pyarrow, which finetuned[parquet] installs.

A value that is missing is left out: a column has no other way to say that a row lacks a key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import IO, Any, Final

import orjson

from finetuned.sources.conversion.row import CannotConvert, RefusedRow, Row

_ROWS_AT_ONCE: Final = 256


def rows_of(stream: IO[bytes]) -> Iterator[Row | RefusedRow]:
    """
    Yield the rows of an open Parquet file, numbered from 1.

    Raises:
        CannotConvert: pyarrow is not installed, or it cannot read the file.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise CannotConvert(
            "reading Parquet needs the package pyarrow, which is not installed: "
            "pip install 'finetuned[parquet]', or pip install pyarrow"
        ) from None
    number = 0
    try:
        for batch in ParquetFile(stream).iter_batches(batch_size=_ROWS_AT_ONCE):
            for value in batch.to_pylist():
                number += 1
                yield _row(number, value)
    except (ArrowException, OSError) as error:
        raise CannotConvert(f"pyarrow cannot read it after row {number}: {error}") from error


def _row(number: int, value: dict[str, Any]) -> Row | RefusedRow:
    for column, cell in value.items():
        if (what := _not_json(cell)) is not None:
            return RefusedRow(number, f"column {column} holds {what}, which JSON cannot say")
    return Row(number, orjson.dumps(_present(value), default=str))


def _not_json(cell: object) -> str | None:
    """Return what a value holds that would be lost in JSON, None if nothing."""
    if isinstance(cell, bytes):
        return "bytes"
    if isinstance(cell, float) and not math.isfinite(cell):
        return str(cell)
    inner = (
        cell.values() if isinstance(cell, dict) else cell if isinstance(cell, list | tuple) else ()
    )
    return next((what for c in inner if (what := _not_json(c)) is not None), None)


def _present(value: Any) -> Any:
    """Return a value without the keys that its row lacks."""
    if isinstance(value, dict):
        return {k: _present(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_present(v) for v in value]
    return value
