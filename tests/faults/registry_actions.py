"""
What the crash test's children do: one action by name, or all of them for ever.

The latter is a program: registry_actions.py ROOT PREFIX, of the names of the candidates.
"""

import itertools
import sys
from pathlib import Path

from finetuned.errors import RegistryError
from finetuned.layout import Layout
from finetuned.registry.backup import backup, last_verified_backup, restore
from finetuned.registry.commit import commit_version
from finetuned.registry.current_model import promote, rollback
from finetuned.registry.delete import delete, delete_backup
from finetuned.registry.head import move_head
from finetuned.registry.prune import prune
from finetuned.registry.trash import empty_trash, list_trash
from finetuned.registry.versions import list_versions
from finetuned.telemetry.log import configure


def commit(layout: Layout, run_id: str) -> str:
    """
    Publish the run's candidate on top of v0002.
    """
    facts = {"run_id": run_id, "parent": "v0002"}
    return commit_version(layout, layout.runs / run_id, facts)


def prune_all(layout: Layout) -> None:
    """
    Throw away all that is not protected.
    """
    prune(layout, keep_last=0, last_backup=last_verified_backup(layout), apply=True)


def delete_unused(layout: Layout) -> None:
    """
    Throw away, by name, each version that nothing needs, newest first.
    """
    for name in reversed(list_versions(layout)):
        try:
            delete(layout, name, confirm=name)
        except RegistryError:
            pass  # it is needed; that is the point
        try:
            delete_backup(layout, name, confirm=name)
        except RegistryError:
            pass


def act(layout: Layout, action: str) -> None:
    """
    Do one action, from the state that the test's fixture makes.
    """
    match action:
        case "commit":
            commit(layout, "r-new")
        case "promote":
            promote(layout, "v0003")
        case "rollback":
            rollback(layout, "v0001")
        case "move-head":
            move_head(layout, "v0003")
        case "leave-head":
            move_head(layout, None)
        case "backup":
            backup(layout, "v0002")
        case "restore":
            restore(layout, "v0001")
        case "restore-incumbent":
            restore(layout, "v0002")
        case "prune":
            prune_all(layout)
        case "empty-trash":
            empty_trash(layout, confirm=list_trash(layout), apply=True)
        case "empty-trash-of-copies":
            empty_trash(layout, apply=True)
        case "delete":
            delete(layout, "v0003", confirm="v0003")
        case "delete-backup":
            delete_backup(layout, "v0003", confirm="v0003")
        case _:
            raise ValueError(action)


def act_for_ever(layout: Layout, prefix: str) -> None:
    """
    Go round all of them until somebody kills us or the candidates run out.
    """
    for n in itertools.count(1, 2):
        promote(layout, commit(layout, f"{prefix}-{n}"))
        backup(layout, "v0002")
        rollback(layout, "v0002")
        backup(layout, commit(layout, f"{prefix}-{n + 1}"))
        delete_unused(layout)
        prune_all(layout)
        empty_trash(layout, confirm=list_trash(layout)[:1], apply=True)


if __name__ == "__main__":
    configure(None, console=False)
    act_for_ever(Layout(Path(sys.argv[1])), sys.argv[2])
