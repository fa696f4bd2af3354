"""
JSON lines that were made to fine-tune a model of OpenAI: ``messages``, perhaps ``tools``.

Rows stay as they are; what training cannot honour is refused by the reader of all rows. Preference
pairs are refused: training learns every answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing

from finetuned.sources.conversion.text import open_text, telling_damage
from finetuned.sources.imports.found import Found, FoundRow, Refusal, Source
from finetuned.sources.imports.json_values import objects_of

_OWN = ("confidence", "verified")
"""Keys that say how surely a row is right; they become part of its provenance."""


def read(source: Source) -> Iterator[Found]:
    """
    Yield what becomes of each line.

    Raises:
        CannotImport: The last line breaks off.
        CannotConvert: Its compression or its JSON is damaged.
    """
    with source.path.open("rb") as raw, telling_damage(), closing(open_text(raw)) as text:
        values = objects_of(text, source.path.name, source.max_bytes)
        for n, (place, value, wrong) in enumerate(values, start=1):
            if n % 256 == 0:
                source.on_progress(raw.tell())
            if value is None:
                yield Refusal(place, "bad_row", wrong)
                continue
            try:
                yield FoundRow(
                    place=place,
                    row={key: item for key, item in value.items() if key not in _OWN},
                    confidence=confidence_of(value),
                    verified=value.get("verified") is True,
                )
            except ValueError as error:
                yield Refusal(place, "bad_value", str(error))


def confidence_of(row: Mapping[str, object]) -> float | None:
    """
    Return the confidence that a row gives, None if it gives none.

    Raises:
        ValueError: It is no number of 0 to 1.
    """
    value = row.get("confidence")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"confidence is {str(value)[:20]!r}, expected 0 to 1")
    return float(value)
