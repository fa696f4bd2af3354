"""
models/serving/key_use.json: when each key was last used; author: the gateway, now and then.

Apart from the keys themselves, so that checking a key writes nothing. Does not know secrets.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from finetuned.files.atomic import write_atomic
from finetuned.files.keys import TIME, time_text
from finetuned.layout import Layout


def read_last_use(layout: Layout) -> dict[str, str]:
    """
    Return when each key was last used, by id; empty if that is not known.
    """
    try:
        found = orjson.loads((layout.serving / "key_use.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, str) and TIME.fullmatch(v)}


def write_last_use(layout: Layout, used: Mapping[str, float]) -> None:
    """
    Note when keys were last used; the later of two notes stays. Need not survive a power cut.

    Args:
        layout: Of the root.
        used: Seconds since 1970, by id.

    Raises:
        OSError: The disk refused.
    """
    notes = read_last_use(layout)
    for key_id, seconds in used.items():
        notes[key_id] = max(notes.get(key_id, ""), time_text(seconds))
    path = layout.serving / "key_use.json"
    write_atomic(path, orjson.dumps(notes), durable=False, mode=0o600)
