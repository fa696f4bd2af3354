"""
Where a base model lies on this machine.

Looks only at local folders; nothing here or elsewhere in the daemon downloads.
"""

from __future__ import annotations

import os
from pathlib import Path

from finetuned.errors import BaseModelMissing
from finetuned.files.run import read_json
from finetuned.files.shipped import shipped
from finetuned.layout import Layout


def _hub_snapshot(name: str) -> Path | None:
    """Return the newest complete snapshot of a hub id in the local cache."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    repo = home / "hub" / f"models--{name.replace('/', '--')}"
    try:
        revision = (repo / "refs" / "main").read_text().strip()
    except OSError:
        return None
    return repo / "snapshots" / revision


def position_limit(base: Path) -> int | None:
    """
    Return how many positions the model in *base* was made for, None if it does not say.
    """
    config = read_json(base / "config.json") or {}
    limit = config.get("max_position_embeddings") or config.get("n_positions")
    return int(limit) if isinstance(limit, int) else None


def find_base(layout: Layout, name: str) -> Path:
    """
    Return the directory of the base model *name*.

    The root's own models come first, then the one that comes with the program,
    then a directory, then the hub's local cache.

    Args:
        layout: The root; relative directories are taken from it.
        name: A name under models/base/, a directory, or a downloaded hub id.

    Raises:
        BaseModelMissing: None of the places holds a config.json; the message says
            where it looked and how to get the model.
    """
    places = [layout.bases / name, shipped().bases / name, layout.root / name]
    snapshot = _hub_snapshot(name)
    if snapshot is not None:
        places.append(snapshot)
    for place in places:
        if (place / "config.json").is_file():
            return place.resolve()
    raise BaseModelMissing(name, list(dict.fromkeys(places)), layout.bases)
