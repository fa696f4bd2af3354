"""
The service that runs on a root, found by what it writes of itself.

Whoever may read models/serving/state.json may ask: its key is in there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from finetuned.files.lock import is_locked
from finetuned.layout import Layout


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningService:
    """
    Where a service answers, and what it is called.
    """

    url: str
    """Such as http://127.0.0.1:9000."""
    key: str = field(repr=False)
    """For commands on this machine, new at each start of the service."""
    name: str
    """``serving.name``: the model that is the version in use."""
    held: tuple[str, ...] = ()
    """Models that are loaded, such as v0007."""
    config: Path | None = None
    """The root's config.toml, which names the certificate of a service with TLS."""


def find_service(layout: Layout) -> RunningService | None:
    """
    Return the service of a root, None if none runs that this user may ask.

    A running service holds the lock beside its state: what a killed one left behind is no
    service, and nothing is sent to whoever has its port now.
    """
    try:
        state = json.loads(layout.serving_state.read_bytes())
        (url, *_), key, name = state["addresses"], state["key"], state["name"]
        held = tuple(str(model) for model in state.get("held", ()))
        if not is_locked(layout.serving / ".lock"):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return RunningService(
        url=str(url), key=str(key), name=str(name), held=held, config=layout.config
    )
