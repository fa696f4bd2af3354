"""
Held versions do not pile up on the disk, and nothing that they learnt is lost.
"""

import sys
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.registry.pins import pin
from finetuned.registry.trash import list_trash
from finetuned.registry.versions import list_versions
from finetuned.supervisor.old_heads import OldHeads
from finetuned.supervisor.verdict.follow import follow_journal
from support.desk import configure
from support.journals import release
from support.versions import commit


@pytest.fixture
def heads(context):
    """
    v0001, the release, and five held versions on top of it, each on the one before.
    """
    configure(context, "registry", backup=False)
    journal = context.journal
    parent = commit(context.layout)
    journal.versions.add(parent, "promoted", parent=None)
    release(journal, parent, PromotionCause.GATE)
    for _ in range(5):
        name = commit(context.layout, parent, verdict="held", release="v0001")
        journal.versions.add(name, "held", parent=parent)
        journal.heads.add(name, HeadCause.HELD)
        parent = name
    follow_journal(context)
    return OldHeads(context)


_opened: list[set[str]] = []
"""The innermost is told the name of every file that this process opens."""

sys.addaudithook(
    lambda event, args: _opened[-1].add(str(args[0])) if event == "open" and _opened else None
)


@contextmanager
def weights_read():
    """
    Yield the paths of weights that are opened in the block.
    """
    _opened.append(set())
    found = []
    try:
        yield found
    finally:
        found += [path for path in _opened.pop() if path.endswith(".safetensors")]


def in_trash(context):
    return [name[:5] for name in list_trash(context.layout)]


def test_the_newest_few_stay_and_older_ones_go_to_the_trash(context, heads):
    """
    The release stays, whatever its age. It is done once for each head.
    """
    heads.look()
    assert ["v0001", "v0004", "v0005", "v0006"] == list_versions(context.layout)
    assert ["v0002", "v0003"] == in_trash(context)
    configure(context, "registry", keep_heads=1)
    heads.look()
    assert 4 == len(list_versions(context.layout))
    context.journal.heads.add("v0006", HeadCause.HELD)
    heads.look()

    assert ["v0001", "v0006"] == list_versions(context.layout)


def test_above_the_budget_the_oldest_are_deleted_for_good(context, heads):
    """
    The head was trained on top of them. Head and newest held version stay.
    """
    configure(context, "registry", held_trash_bytes=0)
    aside = commit(context.layout, "v0001", verdict="held", release="v0001")
    context.journal.versions.add(aside, "held", parent="v0001")
    configure(context, "registry", keep_heads=1)
    heads.look()

    assert ["v0001", "v0006", aside] == list_versions(context.layout)
    assert [] == in_trash(context)


def test_heads_that_training_left_are_neither_counted_nor_read(context, heads):
    """
    Only a person deletes them: nothing has learnt what they learnt. However many there are, a
    new head that nothing has to go for costs no reading of weights.
    """
    configure(context, "registry", keep_heads=1, held_trash_bytes=0)
    journal, left = context.journal, [f"v{n:04d}" for n in range(2, 7)]
    journal.heads.add("v0001", HeadCause.ROLLBACK)
    for parent in ("v0001", "v0007", "v0008"):
        name = commit(context.layout, parent, verdict="held", release="v0001")
        journal.versions.add(name, "held", parent=parent)
    journal.heads.add("v0008", HeadCause.HELD)
    follow_journal(context)
    with weights_read() as read:
        heads.look()

    assert read
    assert ["v0001", "v0008", "v0009"] == list_versions(context.layout)
    assert left == in_trash(context)
    pin(context.layout, "v0008", "so that one more than keep_heads stays")
    journal.heads.add("v0009", HeadCause.HELD)
    follow_journal(context)
    with weights_read() as read:
        heads.look()

    assert [] == read
    assert left == in_trash(context)


def test_what_a_killed_look_left_in_the_trash_goes_with_the_next_start(context, heads):
    """
    It had moved old heads there and had not deleted them, or had deleted half of one.
    """
    heads.look()
    configure(context, "registry", held_trash_bytes=0)
    (context.layout.trash / ".removing-v0001-x" / "inside").mkdir(parents=True)
    OldHeads(context).look()

    assert ["v0001", "v0004", "v0005", "v0006"] == list_versions(context.layout)
    assert [] == list(context.layout.trash.iterdir())


def test_while_a_manifest_is_damaged_nothing_is_moved(context, heads):
    """
    What it needs is not known. It is said once, and the other rounds go on.
    """
    manifest = context.layout.versions / "v0003" / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text("{")
    with capture_logs() as logs:
        heads.look()
        heads.look()

    assert ["old_heads_kept"] == [entry["event"] for entry in logs]
    assert 6 == len(list_versions(context.layout))
