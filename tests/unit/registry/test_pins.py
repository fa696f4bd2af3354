"""
Pins: what a person wants kept, with the reason.
"""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuned.errors import RegistryError
from finetuned.files.manifest import write_manifest
from finetuned.layout import Layout
from finetuned.registry.folder import sealed
from finetuned.registry.pins import PINS, pin, read_pins, unpin

NAMES = ["v0001", "v0002", "v0003"]


def layout_at(root: Path) -> Layout:
    layout = Layout(root)
    for name in NAMES:
        folder = layout.versions / name
        if not folder.is_dir():
            folder.mkdir(parents=True)
            write_manifest(folder, sealed({"run_id": name, "version": name}))
    (layout.models / PINS).unlink(missing_ok=True)
    return layout


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(NAMES), st.text(max_size=20)), max_size=8))
def test_the_pins_are_those_that_were_not_taken_away(
    tmp_path_factory, steps: list[tuple[bool, str, str]]
) -> None:
    """
    After any pins and unpins each version has the reason given last, and the others none.
    """
    layout = layout_at(tmp_path_factory.getbasetemp() / "pins")
    expected: dict[str, str] = {}
    for adds, name, text in steps:
        reason = text.encode("utf-8", "replace").decode()
        if adds:
            pin(layout, name, reason)
            expected[name] = reason
        elif name in expected:
            unpin(layout, name)
            del expected[name]

    assert expected == {name: found["reason"] for name, found in read_pins(layout).items()}


def test_a_pin_says_when_it_was_set(tmp_path: Path) -> None:
    """
    In UTC, as every time that the registry writes.
    """
    layout = layout_at(tmp_path)
    pin(layout, "v0002", "the release of May")

    assert read_pins(layout)["v0002"]["pinned_at"].endswith("Z")


def test_what_is_not_there_can_neither_be_pinned_nor_unpinned(tmp_path: Path) -> None:
    """
    A typing error is an error, and writes no file.
    """
    layout = layout_at(tmp_path)
    with pytest.raises(RegistryError, match="no version v0009"):
        pin(layout, "v0009", "typed wrongly")
    with pytest.raises(RegistryError, match="v0001 is not pinned"):
        unpin(layout, "v0001")

    assert not (layout.models / PINS).exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"v0001": "a reason"}', '{"v0001": {}}', '{"v0001": {"reason": 7}}', "\udcff"],
)
def test_damaged_pins_are_an_error_and_never_no_pins(tmp_path: Path, text: str) -> None:
    """
    Code that deletes would take an empty table for a permission. The file stays as it is.
    """
    layout = layout_at(tmp_path)
    damaged = text.encode("utf-8", "surrogateescape")
    (layout.models / PINS).write_bytes(damaged)

    with pytest.raises(RegistryError, match="repair or remove"):
        read_pins(layout)
    with pytest.raises(RegistryError, match="repair or remove"):
        pin(layout, "v0001", "kept")
    assert damaged == (layout.models / PINS).read_bytes()


def test_the_file_is_one_that_a_person_can_repair(tmp_path: Path) -> None:
    """
    Indented and in the order of versions.
    """
    layout = layout_at(tmp_path)
    for name in reversed(NAMES):
        pin(layout, name, f"because of {name}")
    lines = (layout.models / PINS).read_text().splitlines()

    assert len(lines) > len(NAMES)
    assert NAMES == list(orjson.loads("\n".join(lines)))
