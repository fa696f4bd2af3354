"""
confidence.json in a version's folder: how its answers' probabilities become confidences.

Written by the registry when the version is made, before its manifest, and never changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from finetuned.core.confidence.calibration import ConfidenceMap
from finetuned.core.record import from_json, to_json
from finetuned.errors import ModelError, RecordError

CONFIDENCE: Final = "confidence.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptMap:
    """
    What the file holds.
    """

    version: str
    """The version whose answers the map was fitted on."""
    map: ConfidenceMap


def map_bytes(version: str, found: object) -> bytes:
    """
    Return the bytes of the file.

    Args:
        version: The version's name.
        found: ``confidence.map`` of its eval report.

    Raises:
        ModelError: The report holds something else.
    """
    try:
        kept = KeptMap(version=version, map=from_json(ConfidenceMap, found, source="confidence"))
    except RecordError as error:
        raise ModelError(f"the eval report's confidence map is damaged: {error}") from error
    return orjson.dumps(to_json(kept), option=orjson.OPT_INDENT_2)


def read_map(folder: Path) -> KeptMap | None:
    """
    Return the map of the version in *folder*; None if it has none.

    Raises:
        ModelError: The file cannot be read, or its map reads signs of another release.
    """
    path = folder / CONFIDENCE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    try:
        kept = from_json(KeptMap, orjson.loads(data), source=path)
    except (RecordError, orjson.JSONDecodeError) as error:
        raise ModelError(f"{path} is no confidence map: {error}") from error
    if not kept.map.is_usable:
        raise ModelError(
            f"{path} reads {', '.join(kept.map.signs)}: it is of another release of finetuned"
        )
    return kept
