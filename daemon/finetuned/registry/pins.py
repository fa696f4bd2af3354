"""
Versions that a person wants kept whatever their age, with the reason: models/pins.json.

Does not know what would delete a version. Code that deletes reads the pins first
and deletes nothing while they cannot be read.
"""

from __future__ import annotations

import orjson
import structlog

from finetuned.errors import RegistryError
from finetuned.files.atomic import write_atomic
from finetuned.files.run import utc_now
from finetuned.layout import Layout
from finetuned.registry.versions import read_version, registry_lock

log = structlog.get_logger()

PINS = "pins.json"
"""In models/: version -> the reason and the time of its pin."""


def read_pins(layout: Layout) -> dict[str, dict[str, str]]:
    """
    Return the pinned versions, each with ``reason`` and ``pinned_at``.

    Raises:
        RegistryError: The file is damaged. Nothing may be pruned then.
    """
    path = layout.models / PINS
    try:
        pins = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError as error:
        raise RegistryError(f"{path}: not JSON ({error}); repair or remove it") from None
    if not isinstance(pins, dict) or not all(map(_is_pin, pins.values())):
        raise RegistryError(
            f"{path}: not a table of version -> {{reason, pinned_at}}; repair or remove it"
        )
    return pins


def _is_pin(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("reason"), str)


def pin(layout: Layout, name: str, reason: str) -> None:
    """
    Keep version *name* from being pruned, whatever its age.

    Raises:
        RegistryError: There is no such version, or the pins are unreadable.
    """
    with registry_lock(layout):
        read_version(layout, name)
        pins = read_pins(layout)
        pins[name] = {"reason": reason, "pinned_at": utc_now()}
        _write_pins(layout, pins)
    log.info("version_pinned", version=name, reason=reason)


def unpin(layout: Layout, name: str) -> None:
    """
    Let version *name* be pruned again.

    Raises:
        RegistryError: It is not pinned.
    """
    with registry_lock(layout):
        pins = read_pins(layout)
        if pins.pop(name, None) is None:
            raise RegistryError(f"{name} is not pinned")
        _write_pins(layout, pins)
    log.info("version_unpinned", version=name)


def _write_pins(layout: Layout, pins: dict[str, dict[str, str]]) -> None:
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    write_atomic(layout.models / PINS, orjson.dumps(pins, option=options))
