"""
families.json of a version: which families of files it has learnt, and the adapter of each.

The one reader and writer. A version without this file has one adapter for all that it has
learnt. Does not know how a family is told, nor what is in the folder of an adapter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.core.family_choice import BINS, FamilyChoice, Profile
from finetuned.errors import ModelError
from finetuned.layout import FAMILIES, FAMILY_LIST

SCHEMA_VERSION: Final = 1

OWN: Final = "."
"""The folder of the family whose adapter is that of the version itself."""

MAX_BYTES: Final = 256 * 2**20
"""A longer list is taken for damage."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DECIMALS: Final = 5


@dataclass(frozen=True, slots=True)
class FamilyFile:
    """
    One file that a family has learnt.
    """

    dataset_id: str
    name: str
    """Its name in the inbox; empty if it is not known."""


@dataclass(frozen=True, slots=True)
class Family:
    """
    One family of files, and its adapter.
    """

    name: str
    """The id of one of its files: it stays for the life of the lineage."""
    folder: str
    """Of its adapter, below the version; OWN is the version itself."""
    files: tuple[FamilyFile, ...]
    profile: Profile
    """What its prompts look like; a question goes to the nearest."""

    def path(self, version: Path) -> Path:
        """
        Return the folder of its adapter in *version*.
        """
        return version if self.folder == OWN else version / self.folder


def folder_of(family: str) -> str:
    """
    Return the folder of a family whose adapter is not that of the version itself.
    """
    return f"{FAMILIES}/{family}"


def choice_of(families: Sequence[Family]) -> FamilyChoice:
    """
    Return what tells the family of a question.
    """
    return FamilyChoice({family.name: family.profile for family in families})


def read_families(version: Path | None) -> tuple[Family, ...]:
    """
    Return the families of *version*, its own adapter's first; none if it has one adapter for all.

    Raises:
        ModelError: families.json cannot be read, or does not say what it must.
    """
    path = None if version is None else version / FAMILY_LIST
    if path is None or not path.is_file():
        return ()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
        return _parse(orjson.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: no list of families ({error}); restore the version from its backup: "
            "finetuned versions restore"
        ) from error


def own_datasets(version: Path) -> frozenset[str] | None:
    """
    Return the ids of the datasets that a version's own adapter has learnt; None if that is all.

    Raises:
        ModelError: As read_families.
    """
    listed = read_families(version)
    if len(listed) < 2:
        return None
    return frozenset(f.dataset_id for one in listed if one.folder == OWN for f in one.files)


def several_adapters(name: str, version: Path | None) -> str:
    """
    Return what a refusal says of a version with an adapter for each family; empty if it has one.

    Args:
        name: Of the version, for people.
        version: Its folder; None is the base model.

    Raises:
        ModelError: As read_families.
    """
    n = len(read_families(version))
    if n < 2:
        return ""
    return f"{name} has an adapter for each of {n} families of files (training.adapters)"


def write_families(building: Path, families: Sequence[Family]) -> None:
    """
    Write families.json into a version that is being built; not durable by itself.

    Args:
        building: The folder, which no reader looks into yet.
        families: Exactly one is OWN.

    Raises:
        ValueError: They could not be read back.
        OSError: The file system refused.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "families": [
            _to_json(f) for f in sorted(families, key=lambda f: (f.folder != OWN, f.name))
        ],
    }
    data = orjson.dumps(document)
    _parse(orjson.loads(data))
    (building / FAMILY_LIST).write_bytes(data)


def _to_json(family: Family) -> dict[str, Any]:
    one = family.profile
    return {
        "name": family.name,
        "folder": family.folder,
        "files": [{"dataset_id": f.dataset_id, "name": f.name} for f in family.files],
        "profile": {
            "prompts": one.prompts,
            "bins": [
                [place, one.having[place], round(one.sums[place], _DECIMALS)]
                for place in sorted(one.having)
            ],
        },
    }


def _parse(document: Any) -> tuple[Family, ...]:
    if document["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {document['schema_version']!r}, not {SCHEMA_VERSION}")
    families = tuple(_family(entry) for entry in document["families"])
    if len({f.name for f in families}) != len(families):
        raise ValueError("a family is listed twice")
    if [f.folder for f in families].count(OWN) != 1:
        raise ValueError(f"not exactly one family has the folder {OWN!r}")
    return families


def _family(entry: Any) -> Family:
    name, folder = entry["name"], entry["folder"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r:.80} is no name of a family")
    if folder not in (OWN, folder_of(name)):
        raise ValueError(f"{folder!r:.80} is no folder of family {name}")
    files = tuple(FamilyFile(_text(f["dataset_id"]), _text(f["name"])) for f in entry["files"])
    return Family(name, folder, files, _profile(entry["profile"]))


def _profile(entry: Any) -> Profile:
    prompts = _count(entry["prompts"], 0)
    having, sums = dict[int, int](), dict[int, float]()
    for place, n, total in entry["bins"]:
        if not 0 <= _count(place, 0) < BINS or place in having or _count(n, 1) > prompts:
            raise ValueError(f"bin {place!r:.40} of a profile is out of range or twice")
        if not isinstance(total, int | float) or not 0 <= total < math.inf:
            raise ValueError(f"bin {place} of a profile has the sum {total!r:.40}")
        having[place], sums[place] = n, float(total)
    return Profile(prompts, having, sums)


def _count(value: Any, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{value!r:.40} is no count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value
