"""
Ansible playbooks and the task files of roles: a file, or a folder of them.

Each task becomes its description and its parameters (playbook_tasks.py), with the path of the
task in its play. How surely a description and its parameters belong together is not known: every
row goes to a person, unless somebody vouches for the whole import.

Knows files and the structure of plays; runs nothing and looks up no variable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from finetuned.errors import CannotImport
from finetuned.sources.imports.ansible_words import LISTS_OF_TASKS
from finetuned.sources.imports.found import Found, FoundRow, Place, Refusal, Source
from finetuned.sources.imports.playbook_tasks import NoRow, TaskRow, row_of
from finetuned.sources.imports.yaml_values import (
    MAX_BYTES,
    BadYaml,
    documents,
    line_of,
    need_ruamel,
)

_ENDS: Final = (".yml", ".yaml")
_NO_TASKS: Final = frozenset(("vars", "defaults", "meta", "group_vars", "host_vars", "inventory"))
"""Folders of a role or a project whose YAML holds values and no tasks."""
_DEEPEST: Final = 20
"""Blocks inside one another that are looked into."""


def read(source: Source) -> Iterator[Found]:
    """
    Yield what becomes of each task.

    Raises:
        CannotImport: ruamel.yaml is not installed, or there is no YAML file.
    """
    need_ruamel()
    files = playbooks_in(source.path)
    n_bytes = 0
    for path in files:
        name = path.name if path == source.path else str(path.relative_to(source.path))
        n_bytes += path.stat().st_size
        yield from _tasks_of_file(path, name)
        source.on_progress(n_bytes)


def playbooks_in(path: Path) -> list[Path]:
    """
    Return *path* if it is a file, else the YAML files below it that may hold tasks, sorted.

    Hidden folders, links, and folders of variables are left out.

    Raises:
        CannotImport: There is none.
    """
    if path.is_file():
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in _NO_TASKS]
        found += [Path(folder, name) for name in names if name.endswith(_ENDS)]
    found = sorted(f for f in found if f.is_file() and not f.is_symlink())
    if not found:
        raise CannotImport(f"{path} has no file that ends in .yml or .yaml")
    return found


def _tasks_of_file(path: Path, name: str) -> Iterator[Found]:
    size = path.stat().st_size
    if size > MAX_BYTES:
        yield Refusal(Place(name, 1), "bad_file", f"it has {size} bytes, at most {MAX_BYTES}")
        return
    data = path.read_bytes()
    if data.lstrip().startswith(b"$ANSIBLE_VAULT"):
        yield Refusal(
            Place(name, 1),
            "encrypted",
            "the file is encrypted: ansible-vault decrypt makes it text",
        )
        return
    try:
        found = documents(data)
    except BadYaml as error:
        yield Refusal(Place(name, 1), "bad_file", f"it is no YAML that can be read: {error}")
        return
    for document in found:
        if isinstance(document, list):
            yield from _items(document, name, "", 0)
        elif document is not None:
            yield Refusal(
                Place(name, line_of(document)), "no_tasks", "it is no list of plays or tasks"
            )


def _items(items: list[Any], name: str, path: str, depth: int) -> Iterator[Found]:
    """Yield what becomes of a list of plays, or of tasks."""
    for number, item in enumerate(items, start=1):
        here = f"{path}[{number}]"
        place = Place(name, line_of(item), here)
        if not isinstance(item, Mapping):
            yield Refusal(place, "no_tasks", "found something that is no play and no task")
        elif depth > _DEEPEST:
            yield Refusal(place, "bad_yaml", "blocks are nested too deeply, or hold themselves")
        elif "hosts" in item or any(key in item for key in ("block", "tasks", "pre_tasks")):
            for key in LISTS_OF_TASKS:
                if isinstance(below := item.get(key), list):
                    yield from _items(below, name, f"{path}[{number}].{key}".lstrip("."), depth + 1)
                elif below is not None:
                    yield Refusal(place, "no_tasks", f"its {key} is no list")
        else:
            yield _found(item, place)


def _found(task: Mapping[Any, Any], place: Place) -> Found:
    try:
        row = row_of(task)
    except NoRow as error:
        return Refusal(place, error.reason, error.detail)
    return FoundRow(
        place=place, row=_messages(row), facts={"module": row.module}, had_secrets=row.vaulted > 0
    )


def _messages(row: TaskRow) -> dict[str, object]:
    answer = orjson.dumps({"module": row.module, "args": row.args}).decode()
    return {
        "messages": [
            {"role": "user", "content": row.description},
            {"role": "assistant", "content": answer},
        ]
    }
