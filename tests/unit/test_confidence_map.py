"""
confidence.json in a version's folder: what the evaluation found, written once and read to serve.
"""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from finetuned.core.confidence.calibration import ConfidenceMap
from finetuned.core.record import from_json
from finetuned.errors import ModelError
from finetuned.files.confidence_map import CONFIDENCE, map_bytes, read_map
from support.eval_reports import make_confidence

FOUND = make_confidence()["map"]


def test_a_version_is_served_with_the_map_of_its_report(tmp_path: Path) -> None:
    """
    The same map, and the version whose answers it was fitted on.
    """
    (tmp_path / CONFIDENCE).write_bytes(map_bytes("v0007", FOUND))
    kept = read_map(tmp_path)
    assert kept is not None
    assert "v0007" == kept.version
    assert from_json(ConfidenceMap, FOUND, source="report") == kept.map


def test_a_version_without_a_map_has_none(tmp_path: Path) -> None:
    """
    Those of earlier releases, and those with too little evidence.
    """
    assert read_map(tmp_path) is None


@pytest.mark.parametrize("damage", [b"{", b"{}", b"null", None])
def test_a_map_that_cannot_be_used_is_said_to_be_none(tmp_path: Path, damage: bytes | None) -> None:
    """
    A damaged one, and one that reads signs that are not computed any more.
    """
    old = orjson.dumps({"version": "v0001", "map": {**FOUND, "signs": ["age"]}})
    (tmp_path / CONFIDENCE).write_bytes(old if damage is None else damage)
    with pytest.raises(ModelError, match=r"confidence\.json"):
        read_map(tmp_path)
    with pytest.raises(ModelError, match="damaged"):
        map_bytes("v0001", {"n": 3})
