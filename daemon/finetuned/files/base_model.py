"""
Where a base model lies on this machine.

Looks only at local folders; nothing here or elsewhere in the daemon downloads.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseName:
    """
    A base model as the adapters on it name it, on every machine alike.
    """

    name: str
    """A path from the root, or a hub id."""
    revision: str | None = None
    """The commit of a hub model; None for a folder."""


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
    places = _places(layout, name)
    place = _first(places)
    if place is None:
        raise BaseModelMissing(name, list(dict.fromkeys(places)), layout.bases)
    return place.resolve()


def portable_name(layout: Layout, name: str, version: str | None) -> BaseName:
    """
    Return how an adapter names its base: never by a path of this machine.

    Libraries look a path up from the working directory, so that the path from the root
    works for whoever stands in the root. ``models/base/NAME`` has two slashes, so it is
    never taken for the id of a stranger's model on the hub.

    Args:
        layout: The root.
        name: ``model.base``.
        version: The version that the base is; None for the configured base.
    """
    if version is not None:
        return BaseName(name=(layout.versions / version).relative_to(layout.root).as_posix())
    in_bases = (layout.bases / Path(name).name).relative_to(layout.root).as_posix()
    if Path(name).is_absolute():
        return BaseName(name=in_bases)
    place = _first(_places(layout, name))
    snapshot = _hub_snapshot(name)
    if snapshot is not None and place == snapshot:
        return BaseName(name=name, revision=snapshot.name)
    if place == layout.root / name:
        return BaseName(name=Path(name).as_posix())
    return BaseName(name=(layout.bases / name).relative_to(layout.root).as_posix())


def _places(layout: Layout, name: str) -> list[Path]:
    """Return where the base *name* may lie, in the order in which it is looked for."""
    places = [layout.bases / name, shipped().bases / name, layout.root / name]
    snapshot = _hub_snapshot(name)
    return places if snapshot is None else [*places, snapshot]


def _first(places: list[Path]) -> Path | None:
    """Return the first of *places* that holds a model."""
    return next((place for place in places if (place / "config.json").is_file()), None)
