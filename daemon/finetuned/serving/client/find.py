"""
The service that runs on a root, found by what it writes of itself.

Whoever may read models/serving/state.json may ask: its key is in there.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

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

    What a killed service left behind is no service: its process is gone.
    """
    try:
        state = json.loads(layout.serving_state.read_bytes())
        pid, (url, *_), key, name = state["pid"], state["addresses"], state["key"], state["name"]
        held = tuple(str(model) for model in state.get("held", ()))
        os.kill(int(pid), 0)
    except PermissionError as error:
        # EPERM of kill(): the process lives and is another user's. Of the file: it is not for us.
        if error.filename is not None:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return RunningService(
        url=str(url), key=str(key), name=str(name), held=held, config=layout.config
    )
